//! Ordinary memory in place of shared pages, for tests, fuzzers and benchmarks on any side of the protocol.

use core::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use crate::{PAGE_BYTES, SharedMemory};

/// Zeroed memory whose clones are the same memory: one for each end. Accesses out of range fail in the way that
/// [`SharedMemory`] requires.
#[derive(Debug, Clone)]
pub struct Pages(Rc<RefCell<Vec<u8>>>);

impl Pages {
    /// Makes this many whole pages.
    #[must_use]
    pub fn new(pages: usize) -> Self {
        Self::of_bytes(pages.saturating_mul(PAGE_BYTES))
    }

    /// Makes memory of this many bytes.
    #[must_use]
    pub fn of_bytes(bytes: usize) -> Self {
        Self(Rc::new(RefCell::new(std::vec![0; bytes])))
    }

    /// Returns a copy of all bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }

    /// Returns a copy of page `index`; zeroes if there is no such page.
    #[must_use]
    pub fn page(&self, index: usize) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        self.read(index.saturating_mul(PAGE_BYTES), &mut page);
        page
    }
}

impl SharedMemory for Pages {
    fn len(&self) -> usize {
        self.0.borrow().len()
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
        let memory = self.0.borrow();
        match offset.checked_add(into.len()).and_then(|end| memory.get(offset..end)) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                true
            }
            None => {
                into.fill(0);
                false
            }
        }
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        let mut memory = self.0.borrow_mut();
        match offset.checked_add(from.len()).and_then(|end| memory.get_mut(offset..end)) {
            Some(bytes) => {
                bytes.copy_from_slice(from);
                true
            }
            None => false,
        }
    }
}
