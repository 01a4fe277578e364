// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The streams of a card that ALSA knows, and the entries through which ALSA's operations come.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU32, Ordering};

use driver::{Error, Space, Substream};
use sndif::store::Direction;
use sndif::v2::{HwParams, Interval, Trigger};
use sndif::{Format, FormatSet};

use crate::ffi::{self, HardwareC, SpaceC, status};
use crate::memory::{KArc, KVec};
use crate::{Kernel, pages::KernelPages};

type Stream = Substream<Kernel>;

/// What a card and its connection share.
pub(crate) struct Sound {
    pub(crate) streams: KVec<Stream>,
    /// Substreams that applications have open.
    open: AtomicU32,
}

impl Sound {
    pub(crate) fn new(streams: KVec<Stream>) -> Self {
        Self { streams, open: AtomicU32::new(0) }
    }

    /// Whether an application has a substream open.
    pub(crate) fn is_held(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

pub(crate) const fn direction(capture: bool) -> Direction {
    if capture { Direction::Capture } else { Direction::Playback }
}

// ALSA's operations come from any thread.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<KArc<Sound>>();
};

/// # Safety
/// `sound` is the reference that C was given; the last use of it.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_put(sound: *const Sound) {
    // SAFETY: the contract.
    drop(unsafe { KArc::from_raw(sound) });
}

/// # Safety
/// `sound` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_stream(
    sound: *const Sound,
    device: u32,
    capture: bool,
    substream: u32,
) -> *const Stream {
    // SAFETY: the contract.
    let sound = unsafe { &*sound };
    let direction = direction(capture);
    let found = sound.streams.iter().find(|stream| {
        stream.serves(direction) && u32::from(stream.pcm()) == device && u32::from(stream.number()) == substream
    });
    found.map_or(core::ptr::null(), core::ptr::from_ref)
}

/// # Safety
/// `sound` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_sound_hold(sound: *const Sound, hold: bool) -> bool {
    // SAFETY: the contract.
    let sound = unsafe { &*sound };
    if hold {
        sound.open.fetch_add(1, Ordering::Relaxed);
    } else {
        sound.open.fetch_sub(1, Ordering::Relaxed);
    }
    sound.is_held()
}

/// # Safety
/// `stream` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_listener(stream: *const Stream) -> *mut ffi::Listener {
    // SAFETY: the contract.
    unsafe { &*stream }.listener().as_ptr()
}

/// # Safety
/// `stream` lives; `list` can be written. What it is set to lives as long as the stream.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_rates(stream: *const Stream, list: *mut *const u32) -> u32 {
    // SAFETY: the contract.
    let rates = unsafe { &*stream }.rates();
    // SAFETY: the contract.
    unsafe { list.write(rates.as_ptr()) };
    u32::try_from(rates.len()).unwrap_or(0)
}

/// # Safety
/// `stream` lives; `hardware` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_open(stream: *const Stream, capture: bool, hardware: *mut HardwareC) -> c_int {
    // SAFETY: the contract.
    let opened = unsafe { &*stream }.open(direction(capture));
    // SAFETY: the contract.
    status(opened.map(|space| unsafe { hardware.write(hardware_to_c(&space)) }))
}

/// # Safety
/// `stream` lives; `space` is a space.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_refine(stream: *const Stream, space: *mut SpaceC) -> c_int {
    // SAFETY: the contract.
    let params = from_c(unsafe { &*space });
    // SAFETY: the contract.
    let refined = unsafe { &*stream }.refine(&params);
    status(refined.map(|refined| {
        // SAFETY: the contract.
        unsafe { space.write(to_c(&refined)) };
    }))
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

/// # Safety
/// `stream` lives; `area` can be written. What it is set to is valid until the next call of this or of
/// [`vsnd_stream_hw_free`].
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_hw_params(
    stream: *const Stream,
    format: u32,
    channels: u32,
    rate: u32,
    period_frames: u32,
    buffer_frames: u32,
    area: *mut *mut c_void,
) -> c_int {
    // SAFETY: the contract.
    let stream = unsafe { &*stream };
    let set = || {
        let format = u8::try_from(format).ok().and_then(|code| Format::from_code(code).ok()).ok_or(Error::Invalid)?;
        let channels = u8::try_from(channels).map_err(|_| Error::Invalid)?;
        stream.hw_params(format, channels, rate, period_frames, buffer_frames)?;
        stream.with_buffer(KernelPages::address).ok_or(Error::NoMemory)
    };
    // SAFETY: the contract.
    status(set().map(|address| unsafe { area.write(address) }))
}

/// # Safety
/// `stream` lives, and nobody uses its buffer any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_hw_free(stream: *const Stream) {
    // SAFETY: the contract.
    unsafe { &*stream }.hw_free();
}

/// # Safety
/// `stream` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_prepare(stream: *const Stream) -> c_int {
    // SAFETY: the contract.
    status(unsafe { &*stream }.prepare())
}

/// # Safety
/// `stream` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_sync_stop(stream: *const Stream) {
    // SAFETY: the contract.
    unsafe { &*stream }.sync_stop();
}

/// # Safety
/// `stream` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_trigger(stream: *const Stream, trigger: u32) -> c_int {
    // SAFETY: the contract.
    let stream = unsafe { &*stream };
    // The order of `enum vsnd_trigger`.
    status(match trigger {
        0 => stream.trigger(Trigger::Start),
        1 => stream.trigger(Trigger::Pause),
        2 => stream.trigger(Trigger::Stop),
        3 => stream.trigger(Trigger::Resume),
        4 => stream.drain(),
        _ => Err(Error::Invalid),
    })
}

/// # Safety
/// `stream` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_ack(stream: *const Stream, appl_frames: u64, boundary_frames: u64) -> c_int {
    // SAFETY: the contract.
    status(unsafe { &*stream }.ack(appl_frames, boundary_frames))
}

/// # Safety
/// `stream` lives; `delay_frames` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_pointer(stream: *const Stream, delay_frames: *mut u32) -> u32 {
    // SAFETY: the contract.
    let pointer = unsafe { &*stream }.pointer();
    // SAFETY: the contract.
    unsafe { delay_frames.write(pointer.delay_frames) };
    pointer.frames
}

/// # Safety
/// `stream` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_on_ring(stream: *const Stream) -> bool {
    // SAFETY: the contract.
    unsafe { &*stream }.on_ring()
}

/// # Safety
/// `stream` lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsnd_stream_on_events(stream: *const Stream) -> bool {
    // SAFETY: the contract.
    unsafe { &*stream }.on_events()
}
