// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Entries through which people look at a stream and turn its knobs: controls and the view in /proc.

use core::ffi::c_long;
use core::fmt;

use driver::PcmStream;

use crate::sound::Sound;
use crate::{Kernel, ffi};

type Stream = PcmStream<Kernel>;

/// # Safety
/// `stream` lives; `count` values can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_get_control(stream: *const Stream, switch: bool, values: *mut c_long, count: u32) {
    // SAFETY: the contract.
    let stream = unsafe { &*stream };
    for channel in 0..usize::try_from(count).unwrap_or(0) {
        let value = if switch { i32::from(stream.switch(channel)) } else { stream.volume(channel) };
        // SAFETY: below `count`.
        let place = unsafe { values.add(channel) };
        // SAFETY: as above.
        unsafe { place.write(value.into()) };
    }
}

/// # Safety
/// `stream` lives; there are `count` values.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_put_control(
    stream: *const Stream,
    switch: bool,
    values: *const c_long,
    count: u32,
) -> bool {
    // SAFETY: the contract.
    let stream = unsafe { &*stream };
    let mut changed = false;
    for channel in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: below `count`.
        let place = unsafe { values.add(channel) };
        // SAFETY: as above.
        let value = i32::try_from(unsafe { place.read() }).unwrap_or(0);
        changed |= if switch { stream.set_switch(channel, value != 0) } else { stream.set_volume(channel, value) };
    }
    if changed {
        stream.tell_mixer();
    }
    changed
}

/// A file of /proc that is being read.
struct Shown(*mut ffi::InfoBuffer);

impl fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the buffer lives while the file is read; the text has this length.
        unsafe { ffi::vsnd_show(self.0, text.as_ptr(), text.len()) };
        Ok(())
    }
}

/// # Safety
/// `sound` and `buffer` live.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_show(sound: *const Sound, buffer: *mut ffi::InfoBuffer) {
    // SAFETY: the contract.
    for stream in unsafe { &*sound }.streams.iter() {
        // Never fails.
        let _ = stream.show(&mut Shown(buffer));
    }
}
