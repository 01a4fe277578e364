// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Allocations: one value, a counted value, a list of fixed capacity. Each may fail, and none moves afterwards.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use driver::{Boxed, Error};

use crate::ffi;

/// Alignment that kmalloc guarantees for every size.
const KMALLOC_ALIGN: usize = 8;

fn allocate<T>(count: usize) -> Result<NonNull<T>, Error> {
    const { assert!(align_of::<T>() <= KMALLOC_ALIGN) };
    // C is never asked for 0 bytes: an allocation of no size gets one byte.
    let bytes = size_of::<T>().checked_mul(count).ok_or(Error::NoMemory)?.max(1);
    // SAFETY: any size may be asked for.
    let memory = unsafe { ffi::vsnd_alloc(bytes) };
    NonNull::new(memory.cast()).ok_or(Error::NoMemory)
}

/// # Safety
/// `memory` came from [`allocate`], and nobody uses it any more.
unsafe fn free<T>(memory: NonNull<T>) {
    // SAFETY: `allocate` got the memory from `vsnd_alloc`, and the caller guarantees that it is not used any more.
    unsafe { ffi::vsnd_free(memory.as_ptr().cast()) }
}

/// A value in an allocation of its own.
pub struct KBox<T>(NonNull<T>);

// SAFETY: the box owns its value, as a variable would.
unsafe impl<T: Send> Send for KBox<T> {}
// SAFETY: `&KBox` gives out `&T`, and nothing else.
unsafe impl<T: Sync> Sync for KBox<T> {}

impl<T> KBox<T> {
    /// Gives the value to C, until [`from_raw`](Self::from_raw).
    pub(crate) fn into_raw(self) -> *mut T {
        let value = self.0.as_ptr();
        core::mem::forget(self);
        value
    }

    /// Makes the same value usable in turns. (The value is made without a cell around it, in its place.)
    pub(crate) fn into_cell(self) -> KBox<UnsafeCell<T>> {
        let cell = KBox(self.0.cast());
        core::mem::forget(self);
        cell
    }

    /// Takes the value back from C.
    ///
    /// # Safety
    /// `value` came from [`into_raw`](Self::into_raw), and this is its last use.
    pub(crate) unsafe fn from_raw(value: *mut T) -> Option<Self> {
        NonNull::new(value).map(Self)
    }
}

impl<T> Boxed<T> for KBox<T> {
    fn new(make: impl FnOnce() -> T) -> Result<Self, Error> {
        let place = allocate::<T>(1)?;
        // SAFETY: `allocate` gave room for a T, aligned, that nobody else knows.
        unsafe { place.write(make()) };
        Ok(Self(place))
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is aligned, initialised by `new`, and alive until `drop`; changing it takes a `&mut self`.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the value is aligned, initialised by `new`, and alive until `drop`; `self` is borrowed mutably, and
        // nobody else has the pointer, so there is no other reference.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for KBox<T> {
    fn drop(&mut self) {
        // SAFETY: the value is aligned, initialised by `new`, and dropped once, here; nobody else has it.
        unsafe { self.0.drop_in_place() };
        // SAFETY: the memory came from `allocate`, and the value is dropped.
        unsafe { free(self.0) };
    }
}

/// A value with its count of references.
struct Counted<T> {
    references: AtomicUsize,
    value: T,
}

/// A counted reference to a shared value.
pub struct KArc<T>(NonNull<Counted<T>>);

// SAFETY: several threads may have references to one value (so it has to be `Sync`), and the one that drops the last
// drops the value (so it has to be `Send`). The count is atomic.
unsafe impl<T: Send + Sync> Send for KArc<T> {}
// SAFETY: a thread with a `&KArc` may clone it and so gets a `KArc`: the conditions are those of `Send`.
unsafe impl<T: Send + Sync> Sync for KArc<T> {}

impl<T> KArc<T> {
    pub(crate) fn new(make: impl FnOnce() -> T) -> Result<Self, Error> {
        let counted = KBox::new(|| Counted { references: AtomicUsize::new(1), value: make() })?;
        NonNull::new(counted.into_raw()).map(Self).ok_or(Error::NoMemory)
    }

    /// Gives a reference to C, until [`from_raw`](Self::from_raw).
    pub(crate) fn into_raw(self) -> *const T {
        // SAFETY: the pointer is to a `Counted` that lives as long as this reference, which is not dropped here; only
        // the address of a field is taken, and nothing is read.
        let value = unsafe { &raw const (*self.0.as_ptr()).value };
        core::mem::forget(self);
        value
    }

    /// Takes a reference back from C.
    ///
    /// # Safety
    /// `value` came from [`into_raw`](Self::into_raw); each is taken back once.
    pub(crate) unsafe fn from_raw(value: *const T) -> Option<Self> {
        if value.is_null() {
            return None;
        }
        let offset = core::mem::offset_of!(Counted<T>, value);
        // SAFETY: the caller guarantees that `value` came from `into_raw`: it is that field of a `Counted`, in whose
        // allocation the result stays.
        let counted = unsafe { value.byte_sub(offset) };
        NonNull::new(counted.cast_mut().cast()).map(Self)
    }
}

impl<T> Clone for KArc<T> {
    fn clone(&self) -> Self {
        // SAFETY: the `Counted` is aligned, initialised by `new`, and alive while `self` is.
        let before = unsafe { self.0.as_ref() }.references.fetch_add(1, Ordering::Relaxed);
        // Memory has no room for that many references: each is as large as the count, and `into_raw` gives one to each
        // card.
        debug_assert!(before < usize::MAX / 2);
        Self(self.0)
    }
}

impl<T> Deref for KArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the `Counted` is aligned, initialised by `new`, alive while `self` is, and only ever shared.
        &unsafe { self.0.as_ref() }.value
    }
}

impl<T> Drop for KArc<T> {
    fn drop(&mut self) {
        // SAFETY: the `Counted` is aligned, initialised by `new`, and alive: this reference is still counted.
        if unsafe { self.0.as_ref() }.references.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: `new` took the pointer out of a `KBox` with `into_raw`. The dropped reference was the last, and
            // the fence orders all uses through the others before this one.
            drop(unsafe { KBox::from_raw(self.0.as_ptr()) });
        }
    }
}

/// A list whose capacity is fixed when it is made, so that its values never move.
pub struct KVec<T> {
    values: NonNull<T>,
    len: usize,
    capacity: usize,
}

// SAFETY: the list owns its values, as separate variables would.
unsafe impl<T: Send> Send for KVec<T> {}
// SAFETY: `&KVec` gives out `&[T]`, and nothing else.
unsafe impl<T: Sync> Sync for KVec<T> {}

impl<T> KVec<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Result<Self, Error> {
        Ok(Self { values: allocate::<T>(capacity)?, len: 0, capacity })
    }

    /// Appends a value; fails when the capacity is used up.
    pub(crate) fn push(&mut self, value: T) -> Result<(), Error> {
        if self.len == self.capacity {
            return Err(Error::NoMemory);
        }
        // SAFETY: `len` is below the capacity, for which there is room in one allocation.
        let place = unsafe { self.values.add(self.len) };
        // SAFETY: the place is aligned, since the allocation is and places lie a T's size apart; it holds no value yet.
        unsafe { place.write(value) };
        self.len = self.len.saturating_add(1);
        Ok(())
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values are written there, consecutive in one allocation and aligned; writing more takes a `&mut
        // self`.
        unsafe { core::slice::from_raw_parts(self.values.as_ptr(), self.len) }
    }
}

impl<T> Drop for KVec<T> {
    fn drop(&mut self) {
        let values = core::ptr::slice_from_raw_parts_mut(self.values.as_ptr(), self.len);
        // SAFETY: `len` values are written there, aligned; the list owns them, and drops them once, here.
        unsafe { values.drop_in_place() };
        // SAFETY: the memory came from `allocate`, and the values are dropped.
        unsafe { free(self.values) };
    }
}
