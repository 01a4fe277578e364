// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Entries through which people look at a stream and turn its knobs: controls and the view in /proc.

use core::ffi::{c_int, c_long};
use core::fmt;

use driver::{Error, Knob, Substream};

use crate::sound::{Sound, direction};
use crate::{Kernel, ffi, log};

type Stream = Substream<Kernel>;

/// # Safety
/// `stream` lives; `count` values can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_get_control(
    stream: *const Stream,
    capture: bool,
    switch: bool,
    values: *mut c_long,
    count: u32,
) {
    // SAFETY: the contract.
    let stream = unsafe { &*stream };
    let knob = Knob { direction: direction(capture), switch };
    for channel in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: below `count`.
        let place = unsafe { values.add(channel) };
        // SAFETY: as above.
        unsafe { place.write(stream.value(knob, channel).into()) };
    }
}

/// # Safety
/// `stream` lives; there are `count` values.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_put_control(
    stream: *const Stream,
    capture: bool,
    switch: bool,
    values: *const c_long,
    count: u32,
) -> c_int {
    let knob = Knob { direction: direction(capture), switch };
    // SAFETY: the contract; nobody writes them meanwhile.
    let values = unsafe { core::slice::from_raw_parts(values, usize::try_from(count).unwrap_or(0)) };
    // SAFETY: the contract.
    let changed = unsafe { &*stream }.set_values(knob, values);
    changed.map_or_else(|error| error.number().saturating_neg(), c_int::from)
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

/// # Safety
/// `sound` lives; `size` octets are there and can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_show_limits(sound: *const Sound, text: *mut u8, size: usize) -> usize {
    // SAFETY: the contract; nobody else has them.
    let mut cursor = log::Cursor::new(unsafe { core::slice::from_raw_parts_mut(text, size) });
    // SAFETY: the contract.
    for stream in unsafe { &*sound }.streams.iter() {
        if let Substream::V0(stream) = stream {
            // Never fails.
            let _ = stream.show_hardware(&mut cursor);
        }
    }
    cursor.len
}

/// # Safety
/// `sound` lives; the text has this length.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_set_limits(sound: *const Sound, text: *const u8, length: usize) -> c_int {
    // SAFETY: the contract; nobody writes it meanwhile.
    let octets = unsafe { core::slice::from_raw_parts(text, length) };
    let Ok(text) = core::str::from_utf8(octets) else {
        log::problem(format_args!("virtualcard_pcm: this is no text"));
        return ffi::status(Err(Error::Invalid));
    };
    // SAFETY: the contract.
    for stream in unsafe { &*sound }.streams.iter() {
        if let Substream::V0(stream) = stream
            && let Err(bad) = stream.set_hardware(text)
        {
            log::problem(format_args!("virtualcard_pcm: {bad}"));
            return ffi::status(Err(Error::Invalid));
        }
    }
    0
}
