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

// SAFETY: the mutex gives the value to one thread at a time.
unsafe impl<T: Send> Send for KernelLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for KernelLock<T> {}

impl<T> KernelLock<T> {
    /// Lends the value to `access` and unlocks the mutex.
    ///
    /// # Safety
    /// This thread has locked the mutex.
    unsafe fn access_locked<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the value is initialised and lives as long as we do. No other reference to it exists: each is made here, by
        // the thread that holds the mutex, and ends with `access`, which takes it for any lifetime and so cannot keep it.
        let result = access(unsafe { &mut *self.value.get() });
        // SAFETY: the mutex lives as long as we do, and this thread holds it, says the caller.
        unsafe { ffi::vsnd_mutex_unlock(self.mutex.as_ptr()) };
        result
    }
}

impl<T> Lock<T> for KernelLock<T> {
    fn new(class: LockClass, make: impl FnOnce() -> T) -> Result<Self, Error> {
        let value = KBox::new(make)?.into_cell();
        let class = match class {
            LockClass::Asking => 0,
            LockClass::State => 1,
        };
        // SAFETY: a class of `vsnd.h`.
        let mutex = unsafe { ffi::vsnd_mutex_new(class) };
        Ok(Self { mutex: NonNull::new(mutex).ok_or(Error::NoMemory)?, value })
    }

    fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the mutex lives as long as we do; we are in process context and may sleep.
        unsafe { ffi::vsnd_mutex_lock(self.mutex.as_ptr()) };
        // SAFETY: locked above.
        unsafe { self.access_locked(access) }
    }

    fn with_unless_killed<R>(&self, access: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
        // SAFETY: the mutex lives as long as we do; we are in process context and may sleep.
        if unsafe { ffi::vsnd_mutex_lock_killable(self.mutex.as_ptr()) } != 0 {
            return Err(Error::Killed);
        }
        // SAFETY: locked above.
        Ok(unsafe { self.access_locked(access) })
    }
}

impl<T> Drop for KernelLock<T> {
    fn drop(&mut self) {
        // SAFETY: nobody can hold it: we are owned.
        unsafe { ffi::vsnd_mutex_free(self.mutex.as_ptr()) };
    }
}

/// A completion.
pub struct KernelSignal(NonNull<ffi::Completion>);

// SAFETY: completions are made for use by several threads.
unsafe impl Send for KernelSignal {}
// SAFETY: as above.
unsafe impl Sync for KernelSignal {}

impl Signal for KernelSignal {
    fn new() -> Result<Self, Error> {
        // SAFETY: no condition.
        let signal = unsafe { ffi::vsnd_signal_new() };
        NonNull::new(signal).map(Self).ok_or(Error::NoMemory)
    }

    fn reset(&self) {
        // SAFETY: it lives as long as we do.
        unsafe { ffi::vsnd_signal_reset(self.0.as_ptr()) };
    }

    fn raise(&self) {
        // SAFETY: as above.
        unsafe { ffi::vsnd_signal_raise(self.0.as_ptr()) };
    }

    fn wait(&self, ms: u32) -> Result<(), Error> {
        // SAFETY: the completion lives as long as we do; we are in process context and may sleep.
        let killed = unsafe { ffi::vsnd_signal_wait(self.0.as_ptr(), ms) };
        if killed { Err(Error::Killed) } else { Ok(()) }
    }

    fn now_ms() -> u32 {
        // SAFETY: it only reads a clock, which any context may.
        unsafe { ffi::vsnd_now_ms() }
    }
}

impl Drop for KernelSignal {
    fn drop(&mut self) {
        // SAFETY: nobody can wait for it: we are owned.
        unsafe { ffi::vsnd_signal_free(self.0.as_ptr()) };
    }
}
