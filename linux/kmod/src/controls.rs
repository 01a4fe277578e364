// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Entries of ALSA's controls and of the view in /proc.

use core::ffi::{c_int, c_long};
use core::mem::MaybeUninit;

use driver::{Error, Knob, Substream};
use sndif::text::Sink;

use crate::sound::{Sound, direction};
use crate::{Kernel, ffi, log};

type Stream = Substream<Kernel>;

// C's pointers to streams and sounds are references here, like in `sound.rs`.

/// # Safety
/// `values` is the start of `count` values, which nobody else uses during the call.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_get_control(
    stream: &Stream,
    capture: bool,
    switch: bool,
    values: *mut c_long,
    count: u32,
) {
    let knob = Knob { direction: direction(capture), switch };
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: `count` values start there, with C's alignment, in one structure of ALSA; they may be uninitialised; and
    // the caller guarantees that nobody else uses them meanwhile.
    let values = unsafe { core::slice::from_raw_parts_mut(values.cast::<MaybeUninit<c_long>>(), count) };
    for (channel, place) in values.iter_mut().enumerate() {
        place.write(stream.value(knob, channel).into());
    }
}

/// # Safety
/// `values` is the start of `count` values, which nobody writes during the call.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_put_control(
    stream: &Stream,
    capture: bool,
    switch: bool,
    values: *const c_long,
    count: u32,
) -> c_int {
    let knob = Knob { direction: direction(capture), switch };
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: `count` values that ALSA has copied from the application start there, in one structure, with C's
    // alignment; and the caller guarantees that nobody writes them meanwhile.
    let values = unsafe { core::slice::from_raw_parts(values, count) };
    let changed = stream.set_values(knob, values);
    changed.map_or_else(|error| error.number().saturating_neg(), c_int::from)
}

/// A file of /proc that is being read.
struct Shown<'a>(&'a mut ffi::InfoBuffer);

impl Sink for Shown<'_> {
    fn text(&mut self, text: &str) {
        // SAFETY: the buffer is ALSA's, through a reference, and the text has this length; C copies it.
        unsafe { ffi::vsnd_show(self.0, text.as_ptr(), text.len()) };
    }
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_sound_show(sound: &Sound, buffer: &mut ffi::InfoBuffer) {
    for stream in sound.streams.iter() {
        stream.show(&mut Shown(buffer));
    }
}

/// # Safety
/// `text` is the start of `size` initialised bytes, which nobody else uses during the call.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_show_limits(sound: &Sound, text: *mut u8, size: usize) -> usize {
    // SAFETY: `size` bytes of one allocation start there, zeroed by `kzalloc`, and the caller guarantees that nobody
    // else uses them meanwhile.
    let mut cursor = log::Cursor::new(unsafe { core::slice::from_raw_parts_mut(text, size) });
    for stream in sound.streams.iter() {
        if let Substream::V0(stream) = stream {
            stream.show_hardware(&mut cursor);
        }
    }
    cursor.len
}

/// # Safety
/// `text` is the start of `length` bytes, which nobody writes during the call.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_set_limits(sound: &Sound, text: *const u8, length: usize) -> c_int {
    // SAFETY: `length` bytes start there, which `memdup_user` has copied from the application (its pointer is not null
    // even for none), and the caller guarantees that nobody writes them meanwhile.
    let bytes = unsafe { core::slice::from_raw_parts(text, length) };
    let Ok(text) = core::str::from_utf8(bytes) else {
        log::problem(&[&"virtualcard_pcm: this is no text"]);
        return ffi::status(Err(Error::Invalid));
    };
    for stream in sound.streams.iter() {
        if let Substream::V0(stream) = stream
            && let Err(bad) = stream.set_hardware(text)
        {
            log::problem(&[&"virtualcard_pcm: ", &bad]);
            return ffi::status(Err(Error::Invalid));
        }
    }
    0
}
