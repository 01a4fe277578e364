//! Access to memory shared with another domain.

/// Memory that the other side may change at any moment.
///
/// There is no `&[u8]` behind it: a reference would promise the compiler that nobody else writes. Implementations
/// access words atomically (or volatile) and copy bytes. A copy may be torn when the other side writes meanwhile, so it
/// is validated after the copy, and the shared original is not read again (XSA-155).
///
/// Every method is total: an access outside the memory reads zeroes and writes nothing, and returns `false` (or 0 for a
/// load). Callers check ranges first; this is the second barrier.
pub trait SharedMemory {
    /// Size of the memory in bytes.
    fn len(&self) -> usize;

    /// Returns true if there is no memory at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads the little-endian word at `offset` (a multiple of 4); later accesses stay behind it (Acquire).
    fn load_acquire(&self, offset: usize) -> u32;

    /// Stores the word at `offset` (a multiple of 4); earlier accesses stay before it (Release).
    fn store_release(&self, offset: usize, value: u32);

    /// Orders every earlier access before every later one (Xen's `mb()`).
    fn full_fence(&self);

    /// Copies `[offset, offset + into.len())` out of the memory. On `false` the range was not within the memory,
    /// and `into` has zeroes.
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
