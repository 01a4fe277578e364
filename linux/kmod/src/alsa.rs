// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! ALSA's side of a substream.

use core::ptr::NonNull;

use driver::{Error, Listener, Stop};

use crate::{ffi, log};

/// ALSA's side of a substream: the application that has it open, if there is one.
pub struct KernelListener(NonNull<ffi::Listener>);

// SAFETY: a listener belongs to no thread: the C half allocates it, locks it with a mutex, and frees it in the thread
// that drops this value.
unsafe impl Send for KernelListener {}
// SAFETY: `&self` reaches only C's functions, which take the listener's mutex.
unsafe impl Sync for KernelListener {}

impl KernelListener {
    pub(crate) fn as_ptr(&self) -> *mut ffi::Listener {
        self.0.as_ptr()
    }
}

impl Listener for KernelListener {
    fn new() -> Result<Self, Error> {
        // SAFETY: the function allocates, and needs a thread that may sleep; the thread that creates streams may.
        let listener = unsafe { ffi::vsnd_listener_new() };
        NonNull::new(listener).map(Self).ok_or(Error::NoMemory)
    }

    fn elapsed(&self) {
        // SAFETY: the listener lives until `self` is dropped, and none of our locks is held, which ALSA could need in
        // the call.
        unsafe { ffi::vsnd_listener_elapsed(self.as_ptr()) };
    }

    fn stop(&self, stop: Stop) {
        match stop {
            Stop::Failed(Error::Broken(violation)) => log::problem(&[&"stream stopped: ", &violation]),
            Stop::Failed(error) => log::problem(&[&"stream stopped: error ", &error.number()]),
            Stop::Xrun => {}
        }
        // SAFETY: the listener lives until `self` is dropped, and none of our locks is held, which ALSA could need in
        // the call.
        unsafe { ffi::vsnd_listener_stop(self.as_ptr(), stop == Stop::Xrun) };
    }

    fn volume_changed(&self) {
        // SAFETY: the listener lives until `self` is dropped, and none of our locks is held, which ALSA could need in
        // the call.
        unsafe { ffi::vsnd_listener_volume_changed(self.as_ptr()) };
    }
}

impl Drop for KernelListener {
    fn drop(&mut self) {
        // SAFETY: `vsnd_listener_new` made the listener, which is freed once, here. An open substream, which uses it,
        // holds a reference to the sound that `self` is part of; and the stream's channels are closed.
        unsafe { ffi::vsnd_listener_free(self.as_ptr()) };
    }
}
