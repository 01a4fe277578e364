//! `memory.rs` unchanged, over the heap, with stand-ins for the system calls that miri does not know. miri finds every
//! access that leaves the mapping, is not aligned, or reads uninitialised bytes. The stand-ins do not model mappings of
//! a real file (two mappings of one file are not the same memory here), nor concurrent accesses of another process.

#![cfg(miri)]
#![expect(missing_docs, reason = "stand-ins for what is documented elsewhere")]

extern crate self as rustix;

#[path = "../src/memory.rs"]
#[expect(dead_code, reason = "only a part of the module is used by its own tests")]
mod memory;

/// Stand-in for `rustix::io`.
pub mod io {
    pub type Result<T> = std::io::Result<T>;
}

/// Stand-in for `rustix::fs`: files that have a size and seals, but no contents.
pub mod fs {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::ops::BitOr;
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};

    #[derive(Clone, Copy, Default, PartialEq)]
    pub struct SealFlags(u32);

    impl SealFlags {
        pub const SEAL: Self = Self(1);
        pub const SHRINK: Self = Self(2);
        pub const GROW: Self = Self(4);

        pub fn contains(self, other: Self) -> bool {
            self.0 & other.0 == other.0
        }
    }

    impl BitOr for SealFlags {
        type Output = Self;
        fn bitor(self, other: Self) -> Self {
            Self(self.0 | other.0)
        }
    }

    #[derive(Clone, Copy)]
    pub struct MemfdFlags;

    impl MemfdFlags {
        pub const CLOEXEC: Self = Self;
        pub const ALLOW_SEALING: Self = Self;
    }

    impl BitOr for MemfdFlags {
        type Output = Self;
        fn bitor(self, _: Self) -> Self {
            self
        }
    }

    #[derive(Clone, Copy, Default)]
    pub struct Stat {
        pub st_size: i64,
    }

    thread_local! {
        static FILES: RefCell<BTreeMap<i32, (Stat, SealFlags)>> = const { RefCell::new(BTreeMap::new()) };
    }

    fn with<R>(file: impl AsFd, access: impl FnOnce(&mut (Stat, SealFlags)) -> R) -> R {
        FILES.with(|files| access(files.borrow_mut().entry(file.as_fd().as_raw_fd()).or_default()))
    }

    pub fn memfd_create(_: &str, _: MemfdFlags) -> super::io::Result<OwnedFd> {
        let file = OwnedFd::from(File::open("/dev/null")?);
        with(&file, |file| *file = (Stat::default(), SealFlags::default()));
        Ok(file)
    }

    pub fn ftruncate(file: impl AsFd, size: u64) -> super::io::Result<()> {
        with(file, |file| file.0.st_size = size as i64);
        Ok(())
    }

    pub fn fstat(file: impl AsFd) -> super::io::Result<Stat> {
        Ok(with(file, |file| file.0))
    }

    pub fn fcntl_add_seals(file: impl AsFd, seals: SealFlags) -> super::io::Result<()> {
        with(file, |file| file.1 = seals);
        Ok(())
    }

    pub fn fcntl_get_seals(file: impl AsFd) -> super::io::Result<SealFlags> {
        Ok(with(file, |file| file.1))
    }
}

/// Stand-in for `rustix::mm`: a mapping is a piece of the heap, and mapping over it zeroes the bytes.
pub mod mm {
    use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
    use std::ffi::c_void;
    use std::ops::BitOr;
    use std::os::fd::AsFd;

    #[derive(Clone, Copy, PartialEq)]
    pub struct ProtFlags(u32);

    impl ProtFlags {
        pub const READ: Self = Self(1);
        pub const WRITE: Self = Self(2);

        pub fn empty() -> Self {
            Self(0)
        }
    }

    impl BitOr for ProtFlags {
        type Output = Self;
        fn bitor(self, other: Self) -> Self {
            Self(self.0 | other.0)
        }
    }

    #[derive(Clone, Copy, PartialEq)]
    pub struct MapFlags(u32);

    impl MapFlags {
        pub const SHARED: Self = Self(1);
        pub const PRIVATE: Self = Self(2);
        pub const FIXED: Self = Self(4);
    }

    impl BitOr for MapFlags {
        type Output = Self;
        fn bitor(self, other: Self) -> Self {
            Self(self.0 | other.0)
        }
    }

    fn layout(length: usize) -> Layout {
        Layout::from_size_align(length, 4096).expect("as mmap was asked")
    }

    /// # Safety
    /// The conditions of mmap; `length` is not 0.
    pub unsafe fn mmap_anonymous(
        _: *mut c_void,
        length: usize,
        _: ProtFlags,
        _: MapFlags,
    ) -> super::io::Result<*mut c_void> {
        // SAFETY: the size is not 0. Nothing may be read before a file is mapped over it, so it is left uninitialised.
        Ok(unsafe { alloc(layout(length)) }.cast())
    }

    /// # Safety
    /// The conditions of mmap; `length` is not 0.
    pub unsafe fn mmap(
        at: *mut c_void,
        length: usize,
        _: ProtFlags,
        flags: MapFlags,
        _: impl AsFd,
        _: u64,
    ) -> super::io::Result<*mut c_void> {
        if flags == MapFlags::SHARED {
            // SAFETY: the size is not 0.
            return Ok(unsafe { alloc_zeroed(layout(length)) }.cast());
        }
        // SAFETY: the caller's mapping has at least this length; miri checks that.
        unsafe { at.cast::<u8>().write_bytes(0, length) };
        Ok(at)
    }

    /// # Safety
    /// The conditions of munmap: a whole mapping that is no longer used.
    pub unsafe fn munmap(at: *mut c_void, length: usize) -> super::io::Result<()> {
        // SAFETY: the memory was allocated with this layout, since mappings are unmapped as a whole; miri checks that.
        unsafe { dealloc(at.cast(), layout(length)) };
        Ok(())
    }
}
