// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! ALSA's side of a substream.

use core::ptr::NonNull;

use driver::{Error, Listener, Stop};

use crate::{ffi, log};

/// Whoever has a substream open.
pub struct KernelListener(NonNull<ffi::Listener>);

// SAFETY: nothing of a listener belongs to a thread: the C half allocates it, locks it with a mutex, and frees it in whichever
// thread drops this.
unsafe impl Send for KernelListener {}
// SAFETY: all that `&self` reaches are C's functions, which take the listener's mutex.
unsafe impl Sync for KernelListener {}

impl KernelListener {
    pub(crate) fn as_ptr(&self) -> *mut ffi::Listener {
        self.0.as_ptr()
    }
}

impl Listener for KernelListener {
    fn new() -> Result<Self, Error> {
        // SAFETY: it allocates, and wants a thread that may sleep, which whoever makes streams is.
        let listener = unsafe { ffi::vsnd_listener_new() };
        NonNull::new(listener).map(Self).ok_or(Error::NoMemory)
    }

    fn elapsed(&self) {
        // SAFETY: the listener lives until we are dropped, and no lock of ours is held, which ALSA could want in the call.
        unsafe { ffi::vsnd_listener_elapsed(self.as_ptr()) };
    }

    fn stop(&self, stop: Stop) {
        match stop {
            Stop::Failed(Error::Broken(violation)) => log::problem(&[&"stream stopped: ", &violation]),
            Stop::Failed(error) => log::problem(&[&"stream stopped: error ", &error.number()]),
            Stop::Xrun => {}
        }
        // SAFETY: as for `vsnd_listener_elapsed` in `elapsed`: the listener lives, and no lock of ours is held.
        unsafe { ffi::vsnd_listener_stop(self.as_ptr(), stop == Stop::Xrun) };
    }

    fn volume_changed(&self) {
        // SAFETY: as for `vsnd_listener_elapsed` in `elapsed`: the listener lives, and no lock of ours is held.
        unsafe { ffi::vsnd_listener_volume_changed(self.as_ptr()) };
    }
}

impl Drop for KernelListener {
    fn drop(&mut self) {
        // SAFETY: made by `vsnd_listener_new` and freed once, here. Whoever calls us back (a substream that is open) holds a
        // reference to the sound that we are part of, and our channels are closed.
        unsafe { ffi::vsnd_listener_free(self.as_ptr()) };
    }
}
