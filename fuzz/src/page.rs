//! Shared memory as an input describes it: octets that change at every look, or pages of zeroes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sndif::SharedMemory;

/// A buffer of the other side that holds something else at every look. Looking beyond its end is a failure.
#[derive(Debug)]
pub(crate) struct Restless {
    octets: usize,
    noise: Cell<u32>,
}

impl Restless {
    pub(crate) fn new(octets: u32, noise: u32) -> Self {
        Self { octets: octets as usize, noise: Cell::new(noise | 1) }
    }
}

impl SharedMemory for Restless {
    fn len(&self) -> usize {
        self.octets
    }

    fn load_acquire(&self, _: usize) -> u32 {
        unreachable!("a stream's buffer holds no indices")
    }

    fn store_release(&self, _: usize, _: u32) {
        unreachable!("a stream's buffer holds no indices")
    }

    fn full_fence(&self) {}

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        assert!(offset + into.len() <= self.octets, "read past the buffer");
        into.fill_with(|| {
            self.noise.set(self.noise.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            self.noise.get().to_be_bytes()[0]
        });
        !self.noise.get().is_multiple_of(64)
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        assert!(offset + from.len() <= self.octets, "wrote past the buffer");
        true
    }
}

/// A page that both sides hold.
#[derive(Debug, Clone)]
pub(crate) struct Page(Rc<RefCell<Vec<u8>>>);

impl Page {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; sndif::PAGE_BYTES])))
    }
}

impl SharedMemory for Page {
    fn len(&self) -> usize {
        sndif::PAGE_BYTES
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        let mut word = [0; 4];
        self.read(offset, &mut word);
        u32::from_le_bytes(word)
    }

    fn store_release(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }

    fn full_fence(&self) {}

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
        true
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
        true
    }
}
