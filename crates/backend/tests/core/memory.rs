//! The shared buffer of a guest that changes it all the time.

use std::cell::Cell;
use std::rc::Rc;

use sndif::SharedMemory;

/// A buffer that changes between any two reads, may be shorter than promised, and fails the test at an access beyond
/// the promised size.
#[derive(Debug, Clone)]
pub struct Hostile {
    promised: usize,
    there: usize,
    noise: Rc<Cell<u32>>,
}

impl Hostile {
    /// Makes a buffer that OPEN said to be `promised` bytes long and of which `there` can be reached.
    pub fn new(promised: u32, there: u32, noise: u32) -> Self {
        Self { promised: promised as usize, there: there as usize, noise: Rc::new(Cell::new(noise | 1)) }
    }
}

impl SharedMemory for Hostile {
    fn len(&self) -> usize {
        self.there
    }

    fn load_acquire(&self, _: usize) -> u32 {
        panic!("a stream's buffer holds no indices");
    }

    fn store_release(&self, _: usize, _: u32) {
        panic!("a stream's buffer holds no indices");
    }

    fn full_fence(&self) {}

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        assert!(offset + into.len() <= self.promised, "read past the buffer");
        let there = offset + into.len() <= self.there;
        into.fill_with(|| {
            self.noise.set(self.noise.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            if there { self.noise.get().to_be_bytes()[0] } else { 0 }
        });
        there
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        assert!(offset + from.len() <= self.promised, "wrote past the buffer");
        offset + from.len() <= self.there
    }
}
