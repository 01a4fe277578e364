// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! ALSA's side of a substream.

use core::ptr::NonNull;

use driver::{Error, Listener, Stop};

use crate::{ffi, log};

/// Whoever has a substream open.
pub struct KernelListener(NonNull<ffi::Listener>);

// SAFETY: C's functions for listeners may be called by any thread.
unsafe impl Send for KernelListener {}
// SAFETY: as above.
unsafe impl Sync for KernelListener {}

impl KernelListener {
    pub(crate) fn as_ptr(&self) -> *mut ffi::Listener {
        self.0.as_ptr()
    }
}

impl Listener for KernelListener {
    fn new() -> Result<Self, Error> {
        // SAFETY: no condition.
        let listener = unsafe { ffi::vsnd_listener_new() };
        NonNull::new(listener).map(Self).ok_or(Error::NoMemory)
    }

    fn elapsed(&self) {
        // SAFETY: it lives as long as we do; no lock of ours is held.
        unsafe { ffi::vsnd_listener_elapsed(self.as_ptr()) };
    }

    fn stop(&self, stop: Stop) {
        match stop {
            Stop::Failed(Error::Broken(violation)) => log::problem(format_args!("stream stopped: {violation}")),
            Stop::Failed(error) => log::problem(format_args!("stream stopped: error {}", error.number())),
            Stop::Xrun => {}
        }
        // SAFETY: as above.
        unsafe { ffi::vsnd_listener_stop(self.as_ptr(), stop == Stop::Xrun) };
    }

    fn volume_changed(&self) {
        // SAFETY: as above.
        unsafe { ffi::vsnd_listener_volume_changed(self.as_ptr()) };
    }
}

impl Drop for KernelListener {
    fn drop(&mut self) {
        // SAFETY: ours, and the last use.
        unsafe { ffi::vsnd_listener_free(self.as_ptr()) };
    }
}
