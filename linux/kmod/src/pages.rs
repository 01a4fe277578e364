// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Pages that the backend can read and write at any moment, and ordinary ones, which have the same accessors.

use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering, fence};

use driver::{Error, Pages};
use sndif::{GrantRef, PAGE_BYTES, SharedMemory};

use crate::ffi;

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// Pages, granted or ordinary; no reference to their contents exists, except to atomics.
pub struct KernelPages(NonNull<ffi::Pages>);

// SAFETY: the pages belong to no thread: the C half allocates them, and frees them in the thread that drops this value.
unsafe impl Send for KernelPages {}
// SAFETY: `&self` gives out no reference to the contents but one to an atomic; everything else copies, word by word and
// volatile, as with memory that a device changes. Two threads that write the same bytes leave some bytes there, all of
// which are valid; in the driver the stream's lock keeps the threads apart.
unsafe impl Sync for KernelPages {}

impl KernelPages {
    /// Address of the pages in the kernel.
    pub(crate) fn address(&self) -> *mut c_void {
        // SAFETY: `vsnd_pages_new` or `vsnd_pages_ordinary` made the structure, which lives until `self` is dropped; it
        // is no part of the pages, and C changes it only in calls with `&mut self`.
        unsafe { self.0.as_ref() }.address
    }

    fn count(&self) -> usize {
        // SAFETY: C made the structure, which lives until `self` is dropped and changes only through `&mut self`.
        unsafe { self.0.as_ref() }.count
    }

    fn word(&self, offset: usize) -> Option<&AtomicU32> {
        if !offset.is_multiple_of(4) || offset.checked_add(4)? > self.len() {
            return None;
        }
        // SAFETY: `offset` and the four bytes behind it lie within the pages, which are one range of the kernel's
        // addresses.
        let word = unsafe { self.address().byte_add(offset) };
        // SAFETY: a page's start is aligned, and `offset` is a multiple of 4; the word is mapped until `self` is
        // dropped, which outlives the borrow; and this kernel reaches the words that it uses as atomics in no other way
        // meanwhile, since indices and data lie apart. Stores of the other domain, of any size, happen outside of this
        // program: a load may see any of them, or a part, and any such value is a u32.
        Some(unsafe { AtomicU32::from_ptr(word.cast()) })
    }

    fn range(&self, offset: usize, len: usize) -> Option<*mut u8> {
        if offset.checked_add(len)? > self.len() {
            return None;
        }
        // SAFETY: `offset` and `len` bytes behind it lie within the pages, which are one range of the kernel's
        // addresses.
        Some(unsafe { self.address().byte_add(offset) }.cast())
    }
}

impl Pages for KernelPages {
    fn new(backend: u16, pages: usize) -> Result<Self, Error> {
        // SAFETY: any number of pages may be asked for, since C checks their size for overflow; the function allocates,
        // in a thread that may sleep.
        let made = unsafe { ffi::vsnd_pages_new(backend.into(), pages) };
        NonNull::new(made).map(Self).ok_or(Error::NoMemory)
    }

    fn ordinary(pages: usize) -> Result<Self, Error> {
        // SAFETY: any number of pages may be asked for, since C checks their size for overflow; the thread may sleep.
        let made = unsafe { ffi::vsnd_pages_ordinary(pages) };
        NonNull::new(made).map(Self).ok_or(Error::NoMemory)
    }

    fn kept() -> usize {
        // SAFETY: any thread that may sleep may call the function; this is process context, with no lock that it takes.
        unsafe { ffi::vsnd_pages_kept() }
    }

    fn refs(&self) -> &[GrantRef] {
        // SAFETY: C made the structure, which lives until `self` is dropped and changes only through `&mut self`.
        let granted = unsafe { self.0.as_ref() }.granted;
        // SAFETY: the pointer is to a structure that lives; only the address of its last field is taken, and nothing is
        // read.
        let refs = unsafe { &raw const (*self.0.as_ptr()).refs };
        // SAFETY: the structure was allocated with room for a reference of each page behind it, and C has written
        // `granted` of them, which only `grant_again` changes, with `&mut self`; a `GrantRef` is a u32
        // (`repr(transparent)`).
        unsafe { core::slice::from_raw_parts(refs.cast(), granted) }
    }

    fn grant_again(&mut self, backend: u16) -> Result<(), Error> {
        // SAFETY: the structure lives, and `self` is borrowed mutably: no slice of its references is alive.
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

    // Accesses are volatile, since the other domain may access the same bytes, and by words, of which packets consist.

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        let Some(from) = self.range(offset, into.len()) else {
            into.fill(0);
            return false;
        };
        let (words, rest) = if offset.is_multiple_of(WORD) { into.as_chunks_mut() } else { (&mut [][..], into) };
        let copied = words.len().saturating_mul(WORD);
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: `index` words from `from` on lie within the range that was checked.
            let at = unsafe { from.cast::<u64>().add(index) };
            // SAFETY: the word is mapped and readable, and aligned, since pages are and `offset` is a multiple of 8;
            // any bytes are a u64.
            *word = unsafe { at.read_volatile() }.to_ne_bytes();
        }
        for (index, byte) in (copied..).zip(rest) {
            // SAFETY: `index` bytes from `from` on lie within the range that was checked.
            let at = unsafe { from.add(index) };
            // SAFETY: the byte is mapped and readable; it needs no alignment, and any is a u8.
            *byte = unsafe { at.read_volatile() };
        }
        true
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        let Some(into) = self.range(offset, from.len()) else { return false };
        let (words, rest) = if offset.is_multiple_of(WORD) { from.as_chunks() } else { (&[][..], from) };
        let copied = words.len().saturating_mul(WORD);
        for (index, &word) in words.iter().enumerate() {
            // SAFETY: `index` words from `into` on lie within the range that was checked.
            let at = unsafe { into.cast::<u64>().add(index) };
            // SAFETY: the word is mapped and writable, and aligned, since pages are and `offset` is a multiple of 8;
            // there is no reference to it.
            unsafe { at.write_volatile(u64::from_ne_bytes(word)) };
        }
        for (index, &byte) in (copied..).zip(rest) {
            // SAFETY: `index` bytes from `into` on lie within the range that was checked.
            let at = unsafe { into.add(index) };
            // SAFETY: the byte is mapped and writable; it needs no alignment, and there is no reference to it.
            unsafe { at.write_volatile(byte) };
        }
        true
    }
}

impl Drop for KernelPages {
    fn drop(&mut self) {
        // SAFETY: C's functions for pages made the structure, and this is its last use: references and addresses that
        // were given out are borrowed from `self`, or ALSA's until `hw_free`, which drops `self`.
        unsafe { ffi::vsnd_pages_free(self.0.as_ptr()) };
    }
}
