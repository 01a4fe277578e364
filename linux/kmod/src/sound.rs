// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The streams of a card that ALSA knows, and the entries for ALSA's operations.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

use driver::{Error, Space, Substream};
use sndif::store::Direction;
use sndif::v2::{HwParams, Interval, Trigger};
use sndif::{Format, FormatSet};

use crate::ffi::{self, HardwareC, SpaceC, status};
use crate::memory::{KArc, KVec};
use crate::{Kernel, pages::KernelPages};

type Stream = Substream<Kernel>;

/// State shared by a card and its connection.
pub(crate) struct Sound {
    pub(crate) streams: KVec<Stream>,
    /// Substreams that applications have open.
    open: AtomicU32,
}

impl Sound {
    pub(crate) fn new(streams: KVec<Stream>) -> Self {
        Self { streams, open: AtomicU32::new(0) }
    }

    /// Returns true if an application has a substream open.
    pub(crate) fn is_held(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

pub(crate) const fn direction(capture: bool) -> Direction {
    if capture { Direction::Capture } else { Direction::Playback }
}

// ALSA's operations may come from any thread.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<KArc<Sound>>();
};

// `vsnd.h` says what C passes: streams and sounds of a card that has not been freed, and room for results that nobody
// else uses during the call. So the entries take references. (A reference is passed like a pointer, which is all that C
// has.)

/// # Safety
/// `sound` is a reference that C was given by [`KArc::into_raw`], and is not used any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_put(sound: *const Sound) {
    // SAFETY: the caller guarantees that the pointer came from `into_raw` and that C gives each reference back once.
    drop(unsafe { KArc::from_raw(sound) });
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_sound_stream(sound: &Sound, device: u32, capture: bool, substream: u32) -> *const Stream {
    let direction = direction(capture);
    let found = sound.streams.iter().find(|stream| {
        stream.serves(direction) && u32::from(stream.pcm()) == device && u32::from(stream.number()) == substream
    });
    found.map_or(core::ptr::null(), core::ptr::from_ref)
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_sound_hold(sound: &Sound, hold: bool) -> bool {
    if hold {
        sound.open.fetch_add(1, Ordering::Relaxed);
    } else {
        sound.open.fetch_sub(1, Ordering::Relaxed);
    }
    sound.is_held()
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_listener(stream: &Stream) -> *mut ffi::Listener {
    stream.listener().as_ptr()
}

/// Sets `list` to rates that live as long as the stream.
#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_rates(stream: &Stream, list: &mut MaybeUninit<*const u32>) -> u32 {
    let rates = stream.rates();
    list.write(rates.as_ptr());
    u32::try_from(rates.len()).unwrap_or(0)
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_open(stream: &Stream, capture: bool, hardware: &mut MaybeUninit<HardwareC>) -> c_int {
    let opened = stream.open(direction(capture));
    status(opened.map(|space| {
        hardware.write(hardware_to_c(&space));
    }))
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_refine(stream: &Stream, space: &mut SpaceC) -> c_int {
    let params = from_c(space);
    let refined = stream.refine(&params);
    status(refined.map(|refined| *space = to_c(&refined)))
}

const fn ends(interval: Interval) -> [u32; 2] {
    [interval.min, interval.max]
}

fn hardware_to_c(space: &Space) -> HardwareC {
    HardwareC {
        space: to_c(&space.params),
        rates: space.rates,
        buffer_bytes_max: space.buffer_bytes_max,
        period_bytes: ends(space.period_bytes),
        periods: ends(space.periods),
        pauses: space.pauses,
        batches: space.batches,
        wakes_always: space.wakes_always,
    }
}

fn to_c(params: &HwParams) -> SpaceC {
    SpaceC {
        formats: params.formats.bits(),
        rate: ends(params.rates_hz),
        channels: ends(params.channels),
        buffer: ends(params.buffer_frames),
        period: ends(params.period_frames),
    }
}

fn from_c(space: &SpaceC) -> HwParams {
    let interval = |[min, max]: [u32; 2]| Interval::new(min, max);
    HwParams {
        // The numbers of ALSA's formats are those of the protocol.
        formats: FormatSet::from_bits(space.formats),
        rates_hz: interval(space.rate),
        channels: interval(space.channels),
        buffer_frames: interval(space.buffer),
        period_frames: interval(space.period),
    }
}

/// Sets `area` to memory that is valid until the next call of this function or of [`vsnd_stream_hw_free`].
#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_hw_params(
    stream: &Stream,
    format: u32,
    channels: u32,
    rate: u32,
    period_frames: u32,
    buffer_frames: u32,
    attended: bool,
    area: &mut MaybeUninit<*mut c_void>,
) -> c_int {
    let set = || {
        let format = u8::try_from(format).ok().and_then(|code| Format::from_code(code).ok()).ok_or(Error::Invalid)?;
        let channels = u8::try_from(channels).map_err(|_| Error::Invalid)?;
        stream.hw_params(format, channels, rate, period_frames, buffer_frames)?;
        stream.set_attended(attended);
        stream.with_buffer(KernelPages::address).ok_or(Error::NoMemory)
    };
    status(set().map(|address| {
        area.write(address);
    }))
}

/// Frees the buffer, which nobody uses any more.
#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_hw_free(stream: &Stream) {
    stream.hw_free();
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_prepare(stream: &Stream) -> c_int {
    status(stream.prepare())
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_trigger(stream: &Stream, trigger: u32) -> c_int {
    status(match trigger {
        ffi::VSND_START => stream.trigger(Trigger::Start),
        ffi::VSND_PAUSE => stream.trigger(Trigger::Pause),
        ffi::VSND_STOP => stream.trigger(Trigger::Stop),
        ffi::VSND_RESUME => stream.trigger(Trigger::Resume),
        ffi::VSND_DRAIN => stream.drain(),
        _ => Err(Error::Invalid),
    })
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_ack(stream: &Stream, appl_frames: u64, boundary_frames: u64) -> c_int {
    status(stream.ack(appl_frames, boundary_frames))
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_pointer(stream: &Stream, delay_frames: &mut MaybeUninit<u32>) -> u32 {
    let pointer = stream.pointer();
    delay_frames.write(pointer.delay_frames);
    pointer.frames
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_on_ring(stream: &Stream) -> bool {
    stream.on_ring()
}

#[unsafe(no_mangle)]
extern "C" fn vsnd_stream_on_events(stream: &Stream) -> bool {
    stream.on_events()
}
