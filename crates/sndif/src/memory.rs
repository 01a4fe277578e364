//! How memory shared with another domain is reached.

/// Memory that the other side may change at any moment.
///
/// There is no `&[u8]` behind it: a reference would promise the compiler that nobody else writes.
/// Implementations access words atomically (or volatile) and copy octets; what a copy yields may be
/// torn when the other side writes meanwhile, so it is validated after the copy and the shared
/// original is not looked at again (XSA-155).
///
/// Every method is total: an access outside the memory reads zeroes and writes nothing, and says so
/// by returning `false` (or 0 for a load). Callers check ranges first; this is the second fence.
pub trait SharedMemory {
    /// Size of the memory in octets.
    fn len(&self) -> usize;

    /// Whether there is no memory at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads the little-endian word at `offset` (a multiple of 4); later accesses stay behind it (Acquire).
    fn load_acquire(&self, offset: usize) -> u32;

    /// Stores the word at `offset` (a multiple of 4); earlier accesses stay before it (Release).
    fn store_release(&self, offset: usize, value: u32);

    /// Orders every earlier access before every later one (Xen's `mb()`).
    fn full_fence(&self);

    /// Copies `[offset, offset + into.len())` out of the memory. On `false` nothing was in range and
    /// `into` holds zeroes.
    fn read(&self, offset: usize, into: &mut [u8]) -> bool;

    /// Copies `from` to `[offset, offset + from.len())`. On `false` nothing was written.
    fn write(&self, offset: usize, from: &[u8]) -> bool;
}

impl<M: SharedMemory + ?Sized> SharedMemory for &M {
    fn len(&self) -> usize {
        (**self).len()
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        (**self).load_acquire(offset)
    }
    fn store_release(&self, offset: usize, value: u32) {
        (**self).store_release(offset, value);
    }
    fn full_fence(&self) {
        (**self).full_fence();
    }
    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        (**self).read(offset, into)
    }
    fn write(&self, offset: usize, from: &[u8]) -> bool {
        (**self).write(offset, from)
    }
}

#[cfg(test)]
pub(crate) mod test_page {
    //! A page of ordinary memory for tests.

    use core::cell::RefCell;

    use super::SharedMemory;
    use crate::PAGE_BYTES;

    #[derive(Debug)]
    pub(crate) struct TestPage(RefCell<std::vec::Vec<u8>>);

    impl TestPage {
        pub(crate) fn new() -> Self {
            Self::of_pages(1)
        }

        pub(crate) fn of_pages(pages: usize) -> Self {
            Self(RefCell::new(std::vec![0; pages * PAGE_BYTES]))
        }
    }

    impl SharedMemory for TestPage {
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
            into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
            true
        }
        fn write(&self, offset: usize, from: &[u8]) -> bool {
            self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
            true
        }
    }
}
