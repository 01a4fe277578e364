//! Pages shared with another domain: mapping, unmapping, and every access to them.
//!
//! All of this crate's work with raw memory is in this module. The pages come from `mmap`, so they
//! lie outside every Rust allocation, and no reference to them is ever made: another domain may
//! change them at any moment, and a `&[u8]` would promise that this cannot happen. Words are accessed with
//! atomics, bulk data with volatile copies into and out of private buffers.

use std::ffi::c_void;
use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering, fence};

use rustix::fs::SealFlags;
use rustix::mm::{MapFlags, ProtFlags};
use sndif::{PAGE_BYTES, SharedMemory};

/// Bytes of one machine word, by which the rest of a bulk copy is copied.
const WORD: usize = size_of::<u64>();
/// Register of a bulk copy: the compiler does not join volatile accesses to words.
#[cfg(target_arch = "x86_64")]
type Lane = std::arch::x86_64::__m128i;
#[cfg(not(target_arch = "x86_64"))]
type Lane = u64;
/// Bytes of a register.
const LANE: usize = size_of::<Lane>();
/// Bytes copied by one iteration of the bulk loop.
const STRIDE: usize = 64;
type Stride = [Lane; STRIDE / LANE];

/// Right of the holder of shared pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Loads and copies out.
    ReadOnly,
    /// Loads, stores, copies both ways.
    ReadWrite,
}

impl Access {
    /// Returns true if this right includes `wanted`.
    pub(crate) fn covers(self, wanted: Access) -> bool {
        self == Access::ReadWrite || wanted == Access::ReadOnly
    }

    fn protection(self) -> ProtFlags {
        match self {
            Access::ReadOnly => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        }
    }
}

/// Consecutive pages of one file to be mapped into a [`SharedPages`].
pub(crate) struct Run<'fd> {
    pub file: BorrowedFd<'fd>,
    /// First page within the file.
    pub page: u64,
    /// Number of pages from there.
    pub pages: usize,
}

/// A contiguous range of our address space that maps pages which another domain may change.
///
/// # Invariants
///
/// * `base` is page-aligned and `[base, base + len)` is one or several whole mappings that this value
///   owns: nothing else unmaps or remaps them while it lives.
/// * The whole range is readable, and writable if `access` is [`Access::ReadWrite`].
/// * `len` is at most `isize::MAX` (a property of every `mmap`).
/// * The pages cannot vanish: a memfd behind them has its size sealed, a device keeps them for the
///   lifetime of the mapping.
pub(crate) struct SharedPages {
    base: NonNull<u8>,
    len: usize,
    access: Access,
}

// SAFETY: the mapping belongs to the process and not to a thread, and `SharedPages` owns it, so
// any thread that drops it may unmap it.
unsafe impl Send for SharedPages {}
// SAFETY: `&SharedPages` gives out no reference to the memory but one to an atomic. Everything else is
// copied by volatile accesses, as with memory that a device changes: any bytes are valid, so concurrent
// stores by anyone do no harm.
unsafe impl Sync for SharedPages {}

impl SharedPages {
    /// Maps `pages` pages of a device file at `offset` (bytes), shared.
    ///
    /// The caller keeps the device's allocation for this offset until the value is dropped.
    pub fn map_device(file: BorrowedFd<'_>, offset: u64, pages: usize, access: Access) -> io::Result<Self> {
        let len = bytes(pages)?;
        let protection = access.protection();
        // SAFETY: the address is chosen by the kernel (null hint, no MAP_FIXED), so no existing
        // mapping is touched.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, file, offset)? };
        Ok(Self { base: non_null(base)?, len, access })
    }

    /// Maps `runs` one after another into one contiguous range.
    ///
    /// Every file must be a memfd whose size is sealed and covers the run: otherwise its owner could
    /// shrink the file, and our next access would end the process with SIGBUS.
    pub fn map_memfds(runs: &[Run<'_>], access: Access) -> io::Result<Self> {
        runs.iter().try_for_each(check_sealed)?;
        Self::map_runs(runs, access)
    }

    /// Like [`map_memfds`](Self::map_memfds), with files of `/dev/xen/gntdev`. Each run is the whole range that one
    /// call made mappable. The driver keeps the pages while they are mapped, even after the file is closed.
    pub fn map_grants(runs: &[Run<'_>], access: Access) -> io::Result<Self> {
        Self::map_runs(runs, access)
    }

    fn map_runs(runs: &[Run<'_>], access: Access) -> io::Result<Self> {
        let mut total = 0_usize;
        for run in runs {
            total = total.checked_add(run.pages).ok_or_else(too_large)?;
        }
        let len = bytes(total)?;
        let none = ProtFlags::empty();
        // SAFETY: the address is chosen by the kernel (null hint, no MAP_FIXED), so no existing
        // mapping is touched.
        let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, none, MapFlags::PRIVATE)? };
        // From here on the range is owned, and is unmapped when `pages` is dropped on an error.
        let pages = Self { base: non_null(base)?, len, access };
        let mut at = 0_usize;
        for run in runs {
            let size = bytes(run.pages)?;
            // SAFETY: `at` plus this run's size is at most `len` (the sum of all runs), so the result
            // stays inside the reservation.
            let place = unsafe { pages.base.add(at) };
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            let start = run.page * PAGE_BYTES as u64;
            // SAFETY: MAP_FIXED replaces only `[place, place + size)`, which lies in the reservation
            // that `pages` owns and that nobody has accessed yet.
            unsafe { rustix::mm::mmap(place.as_ptr().cast(), size, access.protection(), flags, run.file, start)? };
            at += size;
        }
        Ok(pages)
    }

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.len / PAGE_BYTES
    }

    /// The word at `offset` as an atomic, if it lies inside the range and is aligned.
    fn word(&self, offset: usize) -> Option<&AtomicU32> {
        let end = offset.checked_add(size_of::<u32>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<AtomicU32>()) {
            return None;
        }
        // SAFETY: `offset + 4 <= len`, so the pointer stays inside the mapping.
        let place = unsafe { self.base.add(offset) };
        // SAFETY: the pointer is aligned (the base is page-aligned, `offset` a multiple of 4) and valid
        // for the life of `self`. This process accesses words that it uses as atomics in no other way at
        // the same time, since indices lie apart from packets and data. Stores of another process or
        // domain, of any size, are outside of this program: a load sees some of their bytes, and any bytes
        // are a u32. For a read-only mapping the caller only loads, which a 32-bit atomic does without
        // writing.
        Some(unsafe { AtomicU32::from_ptr(place.as_ptr().cast()) })
    }

    /// Returns true if `[offset, offset + count)` lies inside the range.
    fn contains(&self, offset: usize, count: usize) -> bool {
        offset.checked_add(count).is_some_and(|end| end <= self.len)
    }

    /// A pointer to the byte at `offset`, which must be at most `len`.
    fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset <= self.len);
        self.base.as_ptr().wrapping_add(offset)
    }

    fn copy_out_bytes(&self, offset: usize, into: &mut [u8]) {
        debug_assert!(self.contains(offset, into.len()));
        for (index, byte) in into.iter_mut().enumerate() {
            let from = self.at(offset + index);
            // SAFETY: the range was checked to lie inside the mapping, which is readable; a byte
            // needs no alignment, and any bit pattern is a `u8`.
            *byte = unsafe { from.read_volatile() };
        }
    }

    fn copy_in_bytes(&self, offset: usize, from: &[u8]) {
        debug_assert!(self.contains(offset, from.len()));
        for (index, byte) in from.iter().enumerate() {
            let to = self.at(offset + index);
            // SAFETY: the range was checked to lie inside the mapping, which is writable (checked by
            // `write`); a byte needs no alignment.
            unsafe { to.write_volatile(*byte) };
        }
    }
}

/// Bytes before the next boundary of a register on the shared side, at most `count`.
fn head(offset: usize, count: usize) -> usize {
    (offset.wrapping_neg() % LANE).min(count)
}

impl SharedMemory for SharedPages {
    fn len(&self) -> usize {
        self.len
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.word(offset).map_or(0, |word| u32::from_le(word.load(Ordering::Acquire)))
    }

    fn store_release(&self, offset: usize, value: u32) {
        if self.access != Access::ReadWrite {
            return;
        }
        if let Some(word) = self.word(offset) {
            word.store(value.to_le(), Ordering::Release);
        }
    }

    fn full_fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        if !self.contains(offset, into.len()) {
            into.fill(0);
            return false;
        }
        let (first, aligned) = into.split_at_mut(head(offset, into.len()));
        self.copy_out_bytes(offset, first);
        let mut at = offset + first.len();
        let (strides, rest) = aligned.as_chunks_mut::<STRIDE>();
        for stride in strides {
            let from = self.at(at).cast::<Stride>();
            // SAFETY: `[at, at + STRIDE)` was checked to lie inside the readable mapping; `at` is a
            // multiple of a register's size and so is the base, which is the array's alignment; any bit
            // pattern is such an array.
            let lanes = unsafe { from.read_volatile() };
            // SAFETY: both are as long, a register has no padding, and any bytes are bytes.
            *stride = unsafe { mem::transmute::<Stride, [u8; STRIDE]>(lanes) };
            at += STRIDE;
        }
        let mut words = rest.chunks_exact_mut(WORD);
        for bytes in &mut words {
            let from = self.at(at).cast::<u64>();
            // SAFETY: `[at, at + 8)` was checked to lie inside the readable mapping and `at` is a
            // multiple of 8, as is the base; any bit pattern is a `u64`.
            let word = unsafe { from.read_volatile() };
            bytes.copy_from_slice(&word.to_ne_bytes());
            at += WORD;
        }
        self.copy_out_bytes(at, words.into_remainder());
        true
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        if self.access != Access::ReadWrite || !self.contains(offset, from.len()) {
            return false;
        }
        let (first, aligned) = from.split_at(head(offset, from.len()));
        self.copy_in_bytes(offset, first);
        let mut at = offset + first.len();
        let (strides, rest) = aligned.as_chunks::<STRIDE>();
        for stride in strides {
            // SAFETY: both are as long, a register has no padding, and any bit pattern is one.
            let lanes = unsafe { mem::transmute::<[u8; STRIDE], Stride>(*stride) };
            let to = self.at(at).cast::<Stride>();
            // SAFETY: `[at, at + STRIDE)` was checked to lie inside the mapping, which is writable
            // (checked above); `at` is a multiple of a register's size and so is the base, which is the
            // array's alignment.
            unsafe { to.write_volatile(lanes) };
            at += STRIDE;
        }
        let (words, last) = rest.as_chunks::<WORD>();
        for bytes in words {
            let to = self.at(at).cast::<u64>();
            // SAFETY: `[at, at + 8)` was checked to lie inside the mapping, which is writable; `at`
            // is a multiple of 8, as is the base.
            unsafe { to.write_volatile(u64::from_ne_bytes(*bytes)) };
            at += WORD;
        }
        self.copy_in_bytes(at, last);
        true
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        // SAFETY: `[base, base + len)` is mapped and owned by this value (invariant), nobody holds a
        // pointer into it any more, and it is not used after this.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of an owned range cannot fail");
    }
}

fn bytes(pages: usize) -> io::Result<usize> {
    match pages.checked_mul(PAGE_BYTES) {
        Some(len) if len > 0 && isize::try_from(len).is_ok() => Ok(len),
        _ => Err(too_large()),
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no pages, or more than an address space holds")
}

fn non_null(address: *mut c_void) -> io::Result<NonNull<u8>> {
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap chose address 0"))
}

fn check_sealed(run: &Run<'_>) -> io::Result<()> {
    let wanted = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    if !rustix::fs::fcntl_get_seals(run.file)?.contains(wanted) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory whose size is not sealed"));
    }
    let size = u64::try_from(rustix::fs::fstat(run.file)?.st_size).unwrap_or(0);
    let end = run.page.checked_add(run.pages as u64).and_then(|pages| pages.checked_mul(PAGE_BYTES as u64));
    match end {
        Some(end) if end <= size => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a page behind the end of the shared memory")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::fs::MemfdFlags;

    use super::*;

    fn memfd(pages: usize, seal: bool) -> OwnedFd {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&file, (pages * PAGE_BYTES) as u64).unwrap();
        if seal {
            let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
            rustix::fs::fcntl_add_seals(&file, seals).unwrap();
        }
        file
    }

    fn run(file: &OwnedFd, page: u64, pages: usize) -> Run<'_> {
        Run { file: file.as_fd(), page, pages }
    }

    #[test]
    fn runs_lie_behind_one_another_in_the_order_given() {
        let (one, two) = (memfd(2, true), memfd(3, true));
        let whole = SharedPages::map_memfds(&[run(&two, 0, 3)], Access::ReadWrite).unwrap();
        for page in 0..3 {
            assert!(whole.write(page * PAGE_BYTES, &[page as u8 + 1]));
        }
        let mixed =
            SharedPages::map_memfds(&[run(&two, 2, 1), run(&one, 0, 2), run(&two, 0, 1)], Access::ReadWrite).unwrap();
        assert_eq!(mixed.pages(), 4);
        let first_bytes: Vec<u8> = (0..4)
            .map(|page| {
                let mut byte = [9];
                assert!(mixed.read(page * PAGE_BYTES, &mut byte));
                byte[0]
            })
            .collect();
        assert_eq!(first_bytes, [3, 0, 0, 1]);
    }

    #[test]
    fn memory_whose_size_can_change_is_refused() {
        assert!(SharedPages::map_memfds(&[run(&memfd(1, false), 0, 1)], Access::ReadWrite).is_err());
        assert!(SharedPages::map_memfds(&[run(&memfd(1, true), 0, 2)], Access::ReadWrite).is_err());
        assert!(SharedPages::map_memfds(&[run(&memfd(1, true), u64::MAX, 1)], Access::ReadWrite).is_err());
        assert!(SharedPages::map_memfds(&[], Access::ReadWrite).is_err());
    }

    #[test]
    fn accesses_outside_read_zeroes_and_write_nothing() {
        let file = memfd(1, true);
        let pages = SharedPages::map_memfds(&[run(&file, 0, 1)], Access::ReadWrite).unwrap();
        assert!(pages.write(0, &[7; PAGE_BYTES]));
        let mut bytes = [1; 8];
        for offset in [PAGE_BYTES - 7, PAGE_BYTES, usize::MAX - 3] {
            bytes.fill(1);
            assert!(!pages.read(offset, &mut bytes));
            assert_eq!(bytes, [0; 8]);
            assert!(!pages.write(offset, &[3; 8]));
        }
        for offset in [1, 2, PAGE_BYTES - 2, PAGE_BYTES, usize::MAX - 3] {
            assert_eq!(pages.load_acquire(offset), 0);
            pages.store_release(offset, 5);
        }
        let mut all = [0; PAGE_BYTES];
        assert!(pages.read(0, &mut all));
        assert_eq!(all, [7; PAGE_BYTES]);
        assert!(pages.read(PAGE_BYTES, &mut []));
    }

    #[test]
    fn a_read_only_mapping_ignores_writes() {
        let file = memfd(1, true);
        let pages = SharedPages::map_memfds(&[run(&file, 0, 1)], Access::ReadOnly).unwrap();
        assert!(!pages.write(0, &[1]));
        pages.store_release(0, 1);
        assert_eq!(pages.load_acquire(0), 0);
    }

    proptest::proptest! {
        #[test]
        fn copies_equal_those_of_a_slice(offset in 0..200_usize, count in 0..600_usize, seed: u8) {
            let file = memfd(1, true);
            let pages = SharedPages::map_memfds(&[run(&file, 0, 1)], Access::ReadWrite).unwrap();
            let mut model = [0_u8; PAGE_BYTES];
            let data: Vec<u8> = (0..count).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            model[offset..offset + count].copy_from_slice(&data);
            assert!(pages.write(offset, &data));
            let mut all = [1; PAGE_BYTES];
            assert!(pages.read(0, &mut all));
            assert_eq!(all, model);
            let mut back = vec![0; count];
            assert!(pages.read(offset, &mut back));
            assert_eq!(back, data);
        }
    }
}
