// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The kernel's mutex and completion.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use driver::{Boxed, Error, Lock, LockClass, Signal};

use crate::ffi;
use crate::memory::KBox;

/// A value behind a mutex.
pub struct KernelLock<T> {
    mutex: NonNull<ffi::Mutex>,
    value: KBox<UnsafeCell<T>>,
}

// SAFETY: the value may go to another thread with its lock, if its type may; the kernel's mutex belongs to no thread
// while nobody holds it, and the owner of `self` has lent it to nobody.
unsafe impl<T: Send> Send for KernelLock<T> {}
// SAFETY: `&self` reaches the value only with the mutex held, so it is with one thread at a time, as if it were sent
// from one to the next.
unsafe impl<T: Send> Sync for KernelLock<T> {}

impl<T> KernelLock<T> {
    /// Lends the value to `access` and unlocks the mutex.
    ///
    /// # Safety
    /// This thread has locked the mutex.
    unsafe fn access_locked<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the value is initialised and lives as long as `self`. No other reference to it exists: each is made
        // here, by the thread that holds the mutex, and ends with `access`, which accepts any lifetime and so cannot
        // keep it.
        let result = access(unsafe { &mut *self.value.get() });
        // SAFETY: the mutex lives as long as `self`, and the caller guarantees that this thread holds it.
        unsafe { ffi::vsnd_mutex_unlock(self.mutex.as_ptr()) };
        result
    }
}

impl<T> Lock<T> for KernelLock<T> {
    fn new(class: LockClass, make: impl FnOnce() -> T) -> Result<Self, Error> {
        let value = KBox::new(make)?.into_cell();
        let class = match class {
            LockClass::Asking => ffi::VSND_MUTEX_ASKING,
            LockClass::State => ffi::VSND_MUTEX_STATE,
        };
        // SAFETY: the function allocates, in a thread that may sleep, and needs a class of `vsnd.h`, which these are.
        let mutex = unsafe { ffi::vsnd_mutex_new(class) };
        Ok(Self { mutex: NonNull::new(mutex).ok_or(Error::NoMemory)?, value })
    }

    fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the mutex lives as long as `self`; this is process context, which may sleep.
        unsafe { ffi::vsnd_mutex_lock(self.mutex.as_ptr()) };
        // SAFETY: this thread has locked the mutex above.
        unsafe { self.access_locked(access) }
    }

    fn with_unless_killed<R>(&self, access: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
        // SAFETY: the mutex lives as long as `self`; this is process context, which may sleep.
        if unsafe { ffi::vsnd_mutex_lock_killable(self.mutex.as_ptr()) } != 0 {
            return Err(Error::Killed);
        }
        // SAFETY: this thread has locked the mutex above.
        Ok(unsafe { self.access_locked(access) })
    }
}

impl<T> Drop for KernelLock<T> {
    fn drop(&mut self) {
        // SAFETY: `vsnd_mutex_new` made the mutex, which is freed once, here. Nobody holds it or waits for it: that
        // takes a `&self`.
        unsafe { ffi::vsnd_mutex_free(self.mutex.as_ptr()) };
    }
}

/// A completion.
pub struct KernelSignal(NonNull<ffi::Completion>);

// SAFETY: a completion belongs to no thread.
unsafe impl Send for KernelSignal {}
// SAFETY: several threads may use a completion at the same time: its own spinlock protects it.
unsafe impl Sync for KernelSignal {}

impl Signal for KernelSignal {
    fn new() -> Result<Self, Error> {
        // SAFETY: the function allocates, and needs a thread that may sleep; the thread that creates streams may.
        let signal = unsafe { ffi::vsnd_signal_new() };
        NonNull::new(signal).map(Self).ok_or(Error::NoMemory)
    }

    fn reset(&self) {
        // SAFETY: the completion lives until `self` is dropped.
        unsafe { ffi::vsnd_signal_reset(self.0.as_ptr()) };
    }

    fn raise(&self) {
        // SAFETY: the completion lives until `self` is dropped.
        unsafe { ffi::vsnd_signal_raise(self.0.as_ptr()) };
    }

    fn wait(&self, ms: u32) -> Result<(), Error> {
        // SAFETY: the completion lives as long as `self`; this is process context, which may sleep.
        let killed = unsafe { ffi::vsnd_signal_wait(self.0.as_ptr(), ms) };
        if killed { Err(Error::Killed) } else { Ok(()) }
    }

    fn now_ms() -> u32 {
        // SAFETY: the function only reads a clock, which any context may.
        unsafe { ffi::vsnd_now_ms() }
    }

    fn now_ns() -> u64 {
        // SAFETY: the function only reads a clock, which any context may.
        unsafe { ffi::vsnd_now_ns() }
    }
}

impl Drop for KernelSignal {
    fn drop(&mut self) {
        // SAFETY: `vsnd_signal_new` made the completion, which is freed once, here. Nobody waits for it or raises it:
        // that takes a `&self`.
        unsafe { ffi::vsnd_signal_free(self.0.as_ptr()) };
    }
}
