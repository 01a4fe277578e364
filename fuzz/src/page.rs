//! A shared buffer whose bytes change at every read.

use std::cell::Cell;

use sndif::SharedMemory;

/// A buffer of the other side that holds other bytes at every read. An access beyond its end is a failure.
#[derive(Debug)]
pub(crate) struct Restless {
    bytes: usize,
    noise: Cell<u32>,
}

impl Restless {
    pub(crate) fn new(bytes: u32, noise: u32) -> Self {
        Self { bytes: bytes as usize, noise: Cell::new(noise | 1) }
    }
}

impl SharedMemory for Restless {
    fn len(&self) -> usize {
        self.bytes
    }

    fn load_acquire(&self, _: usize) -> u32 {
        unreachable!("a stream's buffer holds no indices")
    }

    fn store_release(&self, _: usize, _: u32) {
        unreachable!("a stream's buffer holds no indices")
    }

    fn full_fence(&self) {}

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        assert!(offset + into.len() <= self.bytes, "read past the buffer");
        for part in into.chunks_mut(8) {
            self.noise.set(self.noise.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            let bytes = (u64::from(self.noise.get()) << 29 ^ u64::from(self.noise.get())).to_be_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        }
        !self.noise.get().is_multiple_of(64)
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        assert!(offset + from.len() <= self.bytes, "wrote past the buffer");
        true
    }
}
