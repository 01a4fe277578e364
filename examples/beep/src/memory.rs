//! Memory that others may change: pages of ours that are granted, and pages of Xen's.
//!
//! No reference to such memory exists anywhere. [`Shared`] copies into it and out of it, which is all that the protocol crates ask
//! for ([`SharedMemory`]).
#![expect(unsafe_code, reason = "raw memory")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

use linked_list_allocator::LockedHeap;
use sndif::{PAGE_BYTES, SharedMemory};

use crate::arch;
use crate::error::{Error, Result};
use crate::hypercall::{self, Ring};

/// A page of this guest's memory, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame(pub u64);

impl Frame {
    /// The frame with the byte at this address.
    pub const fn at(address: u64) -> Self {
        Self(address / PAGE_BYTES as u64)
    }

    /// Address of the frame's first byte. Physical and virtual addresses are the same here, see [`arch`].
    pub const fn address(self) -> u64 {
        self.0 * PAGE_BYTES as u64
    }
}

/// A page of our own image that others may change, or that becomes another page altogether.
#[repr(C, align(4096))]
pub struct Page(UnsafeCell<[u8; PAGE_BYTES]>);

// SAFETY: nobody makes a reference to the bytes. They are accessed through raw pointers, by atomic or volatile accesses.
unsafe impl Sync for Page {}

impl Page {
    /// A page of zeroes.
    pub const fn zeroed() -> Self {
        Self(UnsafeCell::new([0; PAGE_BYTES]))
    }

    /// Number of the page.
    pub fn frame(&self) -> Frame {
        Frame::at(self.0.get() as u64)
    }

    /// Access to it.
    pub const fn shared(&'static self) -> Shared {
        Shared { base: self.0.get().cast(), pages: 1 }
    }
}

/// Access to whole pages that others may change.
///
/// # Invariants
/// `base` is the beginning of a page, and `pages` pages from there on are memory for ever, of which nobody has a reference.
#[derive(Debug, Clone, Copy)]
pub struct Shared {
    base: *mut u8,
    pages: usize,
}

/// Pages to be granted.
const POOL_PAGES: usize = 256;

static POOL: [Page; POOL_PAGES] = [const { Page::zeroed() }; POOL_PAGES];

/// Pages that were taken from the pool.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Shared {
    /// Takes zeroed pages from the pool. They never go back: a page that another domain could see is used for nothing else.
    pub fn take(pages: usize) -> Result<Self> {
        let first = TAKEN.fetch_add(pages, Ordering::Relaxed);
        let taken = POOL.get(first..).and_then(|rest| rest.get(..pages)).ok_or(Error::NoMemory)?;
        // The provenance of the whole slice, not that of its first page.
        Ok(Self { base: taken.as_ptr().cast_mut().cast(), pages })
    }

    /// The page of a ring that this guest has from its start.
    pub fn of_ring(ring: Ring) -> Result<Self> {
        let frame = hypercall::ring_frame(ring)?;
        arch::reach(frame)?;
        // SAFETY: Xen has put the page there before the guest was started. It is no part of our image, so nothing else refers to it.
        Ok(unsafe { Self::at(frame) })
    }

    /// A page that is no part of our image.
    ///
    /// # Safety
    /// The page is memory for ever and among the page tables' ([`arch::reach`]). Nobody has a reference to it.
    pub unsafe fn at(frame: Frame) -> Self {
        Self { base: core::ptr::with_exposed_provenance_mut(frame.address() as usize), pages: 1 }
    }

    /// Number of the first page.
    pub fn frame(&self) -> Frame {
        Frame::at(self.base as u64)
    }

    /// Numbers of the pages.
    pub fn frames(&self) -> impl Iterator<Item = Frame> {
        (self.frame().0..).take(self.pages).map(Frame)
    }

    /// The word at `offset`; `None` outside of the memory, or where `offset` is no multiple of 4.
    fn word(&self, offset: usize) -> Option<&AtomicU32> {
        if !offset.is_multiple_of(4) || offset >= self.len() {
            return None;
        }
        // SAFETY: `offset` lies within the pages.
        let place = unsafe { self.base.add(offset) };
        // SAFETY: the word is aligned, lies within the pages, which are memory for ever, and is accessed atomically by all who may
        // access it at the same time.
        Some(unsafe { AtomicU32::from_ptr(place.cast()) })
    }

    /// Clears bits of the word at `offset`, and returns which of them were set.
    pub fn clear_bits(&self, offset: usize, bits: u32) -> u32 {
        self.word(offset).map_or(0, |word| word.fetch_and(!bits, Ordering::AcqRel) & bits)
    }

    /// Writes `new` to the word at `offset` if `current` stands there; returns whether it did.
    pub fn replace(&self, offset: usize, current: u32, new: u32) -> bool {
        let replaced =
            |word: &AtomicU32| word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        self.word(offset).is_some_and(replaced)
    }

    fn range(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        // SAFETY: the end of the range, and so its beginning, lies within the pages.
        (end <= self.len()).then(|| unsafe { self.base.add(offset) })
    }
}

impl SharedMemory for Shared {
    fn len(&self) -> usize {
        self.pages * PAGE_BYTES
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

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        let Some(from) = self.range(offset, into.len()) else {
            into.fill(0);
            return false;
        };
        for (at, byte) in into.iter_mut().enumerate() {
            // SAFETY: `at` lies within the range.
            let place = unsafe { from.add(at) };
            // SAFETY: the byte is memory, and any value of it is valid. Volatile, since another domain may change it.
            *byte = unsafe { place.read_volatile() };
        }
        true
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        let Some(to) = self.range(offset, from.len()) else { return false };
        for (at, byte) in from.iter().enumerate() {
            // SAFETY: `at` lies within the range.
            let place = unsafe { to.add(at) };
            // SAFETY: the byte is memory that nobody has a reference to. Volatile, since another domain reads it.
            unsafe { place.write_volatile(*byte) };
        }
        true
    }
}

const HEAP_BYTES: usize = 128 * 1024;

#[repr(C, align(4096))]
struct HeapMemory(UnsafeCell<[u8; HEAP_BYTES]>);

// SAFETY: the allocator alone accesses it.
unsafe impl Sync for HeapMemory {}

static HEAP_MEMORY: HeapMemory = HeapMemory(UnsafeCell::new([0; HEAP_BYTES]));

/// Allocator behind `alloc`; the codec of the store keeps messages in its memory.
#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Gives the allocator its memory; to be called once, before anything is allocated.
pub fn prepare() {
    // SAFETY: the memory is used for nothing else, lives for ever, and this is called once, by `main`.
    unsafe { HEAP.lock().init(HEAP_MEMORY.0.get().cast(), HEAP_BYTES) };
}
