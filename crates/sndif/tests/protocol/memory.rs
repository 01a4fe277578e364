//! Ordinary memory that plays the shared pages.

use std::cell::RefCell;

use sndif::{PAGE_BYTES, SharedMemory};

/// Pages of ordinary memory; accesses out of range fail as the trait asks for.
#[derive(Debug)]
pub struct Pages(RefCell<Vec<u8>>);

impl Pages {
    /// This many pages of zeroes.
    pub fn new(pages: usize) -> Self {
        Self(RefCell::new(vec![0; pages * PAGE_BYTES]))
    }

    /// A copy of page `index`.
    pub fn page(&self, index: usize) -> [u8; PAGE_BYTES] {
        let start = index * PAGE_BYTES;
        self.0.borrow()[start..start + PAGE_BYTES].try_into().expect("a whole page")
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
        let found = offset.checked_add(into.len()).and_then(|end| memory.get(offset..end));
        match found {
            Some(octets) => into.copy_from_slice(octets),
            None => into.fill(0),
        }
        found.is_some()
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        let mut memory = self.0.borrow_mut();
        let found = offset.checked_add(from.len()).and_then(|end| memory.get_mut(offset..end));
        found.map(|octets| octets.copy_from_slice(from)).is_some()
    }
}
