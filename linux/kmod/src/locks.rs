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

// SAFETY: the value may go to another thread with its lock, if values like it may; the kernel's mutex belongs to none while
// nobody holds it, and who owns us lends us to nobody.
unsafe impl<T: Send> Send for KernelLock<T> {}
// SAFETY: `&self` reaches the value only with the mutex held, so it is with one thread at a time, as if it were sent from one
// to the next.
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
        // SAFETY: it allocates, in a thread that may sleep, and wants a class of `vsnd.h`, which these are.
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
        // SAFETY: made by `vsnd_mutex_new` and freed once, here. Nobody holds it or waits for it: that takes a `&self`.
        unsafe { ffi::vsnd_mutex_free(self.mutex.as_ptr()) };
    }
}

/// A completion.
pub struct KernelSignal(NonNull<ffi::Completion>);

// SAFETY: nothing of a completion belongs to a thread.
unsafe impl Send for KernelSignal {}
// SAFETY: completions are for use by several threads at once: a spinlock of their own protects them.
unsafe impl Sync for KernelSignal {}

impl Signal for KernelSignal {
    fn new() -> Result<Self, Error> {
        // SAFETY: it allocates, and wants a thread that may sleep, which whoever makes streams is.
        let signal = unsafe { ffi::vsnd_signal_new() };
        NonNull::new(signal).map(Self).ok_or(Error::NoMemory)
    }

    fn reset(&self) {
        // SAFETY: the completion lives until we are dropped.
        unsafe { ffi::vsnd_signal_reset(self.0.as_ptr()) };
    }

    fn raise(&self) {
        // SAFETY: the completion lives until we are dropped.
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

    fn now_ns() -> u64 {
        // SAFETY: as for milliseconds: it only reads a clock.
        unsafe { ffi::vsnd_now_ns() }
    }
}

impl Drop for KernelSignal {
    fn drop(&mut self) {
        // SAFETY: made by `vsnd_signal_new` and freed once, here. Nobody waits for it or raises it: that takes a `&self`.
        unsafe { ffi::vsnd_signal_free(self.0.as_ptr()) };
    }
}
