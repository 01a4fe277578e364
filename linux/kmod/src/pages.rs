// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Pages that the backend can read and write at any moment; and ordinary ones, which are reached in the same way.

use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering, fence};

use driver::{Error, Pages};
use sndif::{GrantRef, PAGE_BYTES, SharedMemory};

use crate::ffi;

/// Octets of a word.
const WORD: usize = size_of::<u64>();

/// Pages; no reference to them ever exists.
pub struct KernelPages(NonNull<ffi::Pages>);

// SAFETY: the pages belong to us, and their contents are reached by atomic and volatile accesses.
unsafe impl Send for KernelPages {}
// SAFETY: as above; all accesses take turns with the other domain's anyway.
unsafe impl Sync for KernelPages {}

impl KernelPages {
    /// Where the kernel sees them.
    pub(crate) fn address(&self) -> *mut c_void {
        // SAFETY: made by C, ours until we drop it, changed only through `&mut self`.
        unsafe { self.0.as_ref() }.address
    }

    fn count(&self) -> usize {
        // SAFETY: as above.
        unsafe { self.0.as_ref() }.count
    }

    fn word(&self, offset: usize) -> Option<&AtomicU32> {
        if !offset.is_multiple_of(4) || offset.checked_add(4)? > self.len() {
            return None;
        }
        // SAFETY: within the pages.
        let word = unsafe { self.address().byte_add(offset) };
        // SAFETY: aligned, and the other domain's accesses to it are single words like ours.
        Some(unsafe { AtomicU32::from_ptr(word.cast()) })
    }

    fn range(&self, offset: usize, len: usize) -> Option<*mut u8> {
        if offset.checked_add(len)? > self.len() {
            return None;
        }
        // SAFETY: within the pages.
        Some(unsafe { self.address().byte_add(offset) }.cast())
    }
}

impl Pages for KernelPages {
    fn new(backend: u16, pages: usize) -> Result<Self, Error> {
        // SAFETY: C checks the number.
        let made = unsafe { ffi::vsnd_pages_new(backend.into(), pages) };
        NonNull::new(made).map(Self).ok_or(Error::NoMemory)
    }

    fn ordinary(pages: usize) -> Result<Self, Error> {
        // SAFETY: C checks the number.
        let made = unsafe { ffi::vsnd_pages_ordinary(pages) };
        NonNull::new(made).map(Self).ok_or(Error::NoMemory)
    }

    fn kept() -> usize {
        // SAFETY: any thread that may sleep may call it, and this is called in process context with no lock that it takes.
        unsafe { ffi::vsnd_pages_kept() }
    }

    fn refs(&self) -> &[GrantRef] {
        // SAFETY: as in `address`.
        let granted = unsafe { self.0.as_ref() }.granted;
        // SAFETY: the references follow the structure.
        let refs = unsafe { &raw const (*self.0.as_ptr()).refs };
        // SAFETY: `granted` of them, which only `grant_again` changes; a `GrantRef` is a u32.
        unsafe { core::slice::from_raw_parts(refs.cast(), granted) }
    }

    fn grant_again(&mut self, backend: u16) -> Result<(), Error> {
        // SAFETY: ours, and no slice of the references is alive.
        ffi::check(unsafe { ffi::vsnd_pages_grant_again(self.0.as_ptr(), backend.into()) })
    }
}

impl SharedMemory for KernelPages {
    fn len(&self) -> usize {
        self.count().saturating_mul(PAGE_BYTES)
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.word(offset).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store_release(&self, offset: usize, value: u32) {
        if let Some(word) = self.word(offset) {
            word.store(value, Ordering::Release);
        }
    }

    fn full_fence(&self) {
        fence(Ordering::SeqCst);
    }

    // Volatile, since the other domain may access the same octets; by words, which packets consist of.

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        let Some(from) = self.range(offset, into.len()) else {
            into.fill(0);
            return false;
        };
        let (words, rest) = if offset.is_multiple_of(WORD) { into.as_chunks_mut() } else { (&mut [][..], into) };
        let copied = words.len().saturating_mul(WORD);
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: within the range that was checked, and aligned, as pages are.
            let at = unsafe { from.cast::<u64>().add(index) };
            // SAFETY: as above.
            *word = unsafe { at.read_volatile() }.to_ne_bytes();
        }
        for (index, octet) in (copied..).zip(rest) {
            // SAFETY: within the range that was checked.
            let at = unsafe { from.add(index) };
            // SAFETY: as above.
            *octet = unsafe { at.read_volatile() };
        }
        true
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        let Some(into) = self.range(offset, from.len()) else { return false };
        let (words, rest) = if offset.is_multiple_of(WORD) { from.as_chunks() } else { (&[][..], from) };
        let copied = words.len().saturating_mul(WORD);
        for (index, &word) in words.iter().enumerate() {
            // SAFETY: within the range that was checked, and aligned, as pages are.
            let at = unsafe { into.cast::<u64>().add(index) };
            // SAFETY: as above.
            unsafe { at.write_volatile(u64::from_ne_bytes(word)) };
        }
        for (index, &octet) in (copied..).zip(rest) {
            // SAFETY: within the range that was checked.
            let at = unsafe { into.add(index) };
            // SAFETY: as above.
            unsafe { at.write_volatile(octet) };
        }
        true
    }
}

impl Drop for KernelPages {
    fn drop(&mut self) {
        // SAFETY: ours, and the last use.
        unsafe { ffi::vsnd_pages_free(self.0.as_ptr()) };
    }
}
