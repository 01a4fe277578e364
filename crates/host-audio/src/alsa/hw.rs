//! Opening a PCM, asking what it can do, and setting it up.

use super::behind::Behind;
use super::chmap;
use crate::speakers::Order;
use crate::{Capabilities, Direction, Error, Minimums, StreamSpec};
use alsa::pcm::{Access, Format as AlsaFormat, Frames, HwParams, PCM};
use alsa::{Output, ValueOr};
use sndif::Format;
use std::ffi::CString;
use std::io;

/// Bounds of a device period, as parts of a second: 1 ms and 50 ms.
const SHORTEST_PERIOD: u32 = 1_000;
const LONGEST_PERIOD: u32 = 20;
/// Default device period, as a part of a second: 20 ms.
const USUAL_PERIOD: u32 = 50;

/// An open PCM and its parameters; sizes in frames.
pub(super) struct Device {
    pub pcm: PCM,
    pub period: u64,
    pub buffer: u64,
    /// The device wakes its thread when it has this much room (playback) or data (capture).
    pub avail_min: u64,
    pub can_pause: bool,
    /// True if calls may wait for another program: the PCM is behind a plugin.
    pub may_wait: bool,
    /// True if frames go straight into the PCM's ring, or come straight from it.
    pub mapped: bool,
    /// The room of that ring, where a card plays it.
    pub behind: Option<Behind>,
    /// Positions of the wire's channels in a frame of the PCM.
    pub order: Order,
    pub poll_fds: Vec<alsa::poll::pollfd>,
}

fn direction_of(direction: Direction) -> alsa::Direction {
    match direction {
        Direction::Playback => alsa::Direction::Playback,
        Direction::Capture => alsa::Direction::Capture,
    }
}

/// Name of a PCM in errors.
pub(super) fn title(name: &str, direction: Direction) -> String {
    format!("ALSA {direction} PCM `{name}`")
}

/// Converts ALSA's error to the system's.
pub(super) fn io_error(error: alsa::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno().abs())
}

fn open_pcm(name: &str, direction: Direction) -> Result<PCM, Error> {
    // alsa-lib prints to standard error by default; the error below says enough.
    let said = Output::local_error_handler();
    let failed = |reason: io::Error| {
        let said = said.as_ref().map(|said| said.borrow().to_string()).unwrap_or_default();
        if let Some(library) = not_mapped(&said) {
            return Error::unusable(
                title(name, direction),
                format_args!("the library `{library}` was not loaded before the sandbox was entered"),
                "start the daemon again (`systemctl restart vsndd`) if the library is new; without a sandbox \
                 (`--sandbox off`) any library can be loaded at any time",
            );
        }
        let hint = match (reason.kind(), direction) {
            (io::ErrorKind::ResourceBusy, _) => {
                "another program holds it (`fuser -v /dev/snd/*` says which): stop that, or use a PCM that mixes"
            }
            (io::ErrorKind::PermissionDenied, _) => "the user of this program must be in the group `audio`",
            (_, Direction::Playback) => "`aplay -L` lists what there is",
            (_, Direction::Capture) => "`arecord -L` lists what there is",
        };
        Error::unusable(title(name, direction), reason, hint)
    };
    let c_name = CString::new(name).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
    PCM::open(&c_name, direction_of(direction), true).map_err(|error| failed(io_error(error)))
}

/// The library that a sandbox did not let alsa-lib load, if its messages name one.
fn not_mapped(said: &str) -> Option<&str> {
    let line = said.lines().find(|line| line.contains("failed to map segment"))?;
    let mut paths = line.split(|sign: char| sign.is_whitespace() || "():,".contains(sign));
    paths.rfind(|word| word.contains(".so"))
}

/// Opens the PCM for a moment and asks for its capabilities.
pub(super) fn capabilities(name: &str, direction: Direction) -> Result<Capabilities, Error> {
    let pcm = open_pcm(name, direction)?;
    let failed = |what: &str, error| setup_error(name, direction, what, error);
    let params = HwParams::any(&pcm).map_err(|error| failed("to say what it can do", error))?;
    set_access(&params, name, direction).map_err(|error| failed("interleaved samples", error))?;
    let formats = Format::all()
        .filter(|&format| format_of(format).is_some_and(|format| params.test_format(format).is_ok()))
        .collect();
    let ask = || {
        Ok(Capabilities {
            formats,
            rates_hz: params.get_rate_min()?.max(1)..=params.get_rate_max()?,
            channels: params.get_channels_min()?.max(1)..=params.get_channels_max()?.min(255),
        })
    };
    ask().map_err(|error| failed("to say what it can do", error))
}

/// Opens the PCM for a moment and asks for the minimum period and buffer of a stream.
pub(super) fn minimums(name: &str, direction: Direction, spec: &StreamSpec) -> Result<Minimums, Error> {
    let pcm = open_pcm(name, direction)?;
    let params = params_for(&pcm, name, direction, spec)?;
    let ask = || {
        let period = params.get_period_size_min()?.max(1);
        // One period is played while the other is filled.
        let buffer = params.get_buffer_size_min()?.max(period.saturating_mul(2));
        let frames = |frames| u32::try_from(frames).unwrap_or(u32::MAX);
        Ok(Minimums { period_frames: frames(period), buffer_frames: frames(buffer) })
    };
    ask().map_err(|error| setup_error(name, direction, "to say what it can do", error))
}

/// Frames go straight into the PCM's ring where possible: silence behind the last frame needs that. They come straight
/// from the ring of a card itself, which saves a system call; that of a plugin may be memory that nobody has written.
fn set_access(params: &HwParams<'_>, name: &str, direction: Direction) -> alsa::Result<()> {
    let wanted = direction == Direction::Playback || name.starts_with("hw:");
    if wanted && params.set_access(Access::MMapInterleaved).is_ok() {
        return Ok(());
    }
    params.set_access(Access::RWInterleaved)
}

/// Parameters that the PCM offers for a stream's format, rate and channels.
fn params_for<'a>(pcm: &'a PCM, name: &str, direction: Direction, spec: &StreamSpec) -> Result<HwParams<'a>, Error> {
    let unsupported = |reason: &str| Error::unsupported(format_args!("`alsa:{name}`"), spec, reason);
    let format = format_of(spec.format).ok_or_else(|| unsupported("ALSA has no such samples"))?;
    if spec.frame_bytes() == 0 || spec.rate_hz == 0 {
        return Err(unsupported("a stream has at least one channel and 1 Hz"));
    }
    let failed = |what: &str, error| setup_error(name, direction, what, error);
    let params = HwParams::any(pcm).map_err(|error| failed("to be set up", error))?;
    set_access(&params, name, direction).map_err(|error| failed("interleaved samples", error))?;
    params.set_format(format).map_err(|error| failed(&format!("the format {}", spec.format), error))?;
    params
        .set_channels(spec.channels.into())
        .map_err(|error| failed(&format!("{} channel(s)", spec.channels), error))?;
    params
        .set_rate(spec.rate_hz, ValueOr::Nearest)
        .map_err(|error| failed(&format!("a rate of {} Hz", spec.rate_hz), error))?;
    Ok(params)
}

/// Opens the PCM and sets it up for a stream.
pub(super) fn open(name: &str, direction: Direction, spec: &StreamSpec) -> Result<Device, Error> {
    let pcm = open_pcm(name, direction)?;
    let failed = |what: &str, error| setup_error(name, direction, what, error);
    let (period, buffer, can_pause, mapped) = {
        let params = params_for(&pcm, name, direction, spec)?;
        let period = wanted_period(spec);
        let period = params
            .set_period_size_near(Frames::from(period), ValueOr::Nearest)
            .map_err(|error| failed(&format!("a period of {period} frames"), error))?;
        let buffer = params
            .set_buffer_size_near(period * 4)
            .map_err(|error| failed(&format!("a buffer of {} frames", period * 4), error))?;
        pcm.hw_params(&params).map_err(|error| failed("these parameters together", error))?;
        let mapped = params.get_access().is_ok_and(|access| access == Access::MMapInterleaved);
        (period, buffer, params.can_pause(), mapped)
    };
    // Playback wakes when the queue is down to a period. Two periods are queued, or more where that is too short.
    let avail_min = match direction {
        Direction::Playback => (buffer - period).clamp(1, buffer.max(1)),
        Direction::Capture => period.max(1),
    };
    // Read while the PCM is prepared: some PCMs do not know their map otherwise.
    let order = chmap::order(&pcm, spec.channels);
    let set_up = || {
        let params = pcm.sw_params_current()?;
        // The PCM is started by hand as soon as there is something to play, so any threshold works. The plugin for
        // PulseAudio uses the threshold as the amount to queue before it plays, and none where that is too large for
        // it: its server then skips what was not there in time, from when the PCM was prepared.
        params.set_start_threshold(period.max(1))?;
        params.set_stop_threshold(buffer)?;
        params.set_avail_min(avail_min)?;
        pcm.sw_params(&params)?;
        // The PCM is prepared again when it is needed.
        pcm.drop()?;
        alsa::poll::Descriptors::get(&pcm)
    };
    // A PCM of a card names the card, and `null` waits for nobody: any other is behind a plugin.
    let may_wait = pcm.info().map_or(true, |info| info.get_card() < 0 && info.get_id() != Ok("null"));
    let poll_fds = set_up().map_err(|error| failed("to be set up", error))?;
    let behind =
        (mapped && !may_wait && direction == Direction::Playback).then(|| Behind::new(&pcm, spec, buffer.max(1)));
    let period = period.max(1).cast_unsigned();
    let (buffer, avail_min) = (buffer.max(1).cast_unsigned(), avail_min.cast_unsigned());
    Ok(Device { order, pcm, period, buffer, avail_min, can_pause, may_wait, mapped, behind, poll_fds })
}

fn wanted_period(spec: &StreamSpec) -> u32 {
    let shortest = (spec.rate_hz / SHORTEST_PERIOD).max(1);
    let longest = (spec.rate_hz / LONGEST_PERIOD).max(shortest);
    let wish = if spec.period_frames == 0 { spec.rate_hz / USUAL_PERIOD } else { spec.period_frames };
    let wish = if spec.buffer_frames == 0 { wish } else { wish.min(spec.buffer_frames / 2) };
    wish.clamp(shortest, longest)
}

fn setup_error(name: &str, direction: Direction, what: &str, error: alsa::Error) -> Error {
    let hint = format!("`plug:{name}` converts what the device cannot do");
    Error::setup(title(name, direction), what, io_error(error), &hint)
}

/// ALSA's name for a format; `None` for compressed streams, which a PCM cannot count in frames.
fn format_of(format: Format) -> Option<AlsaFormat> {
    Some(match format {
        Format::S8 => AlsaFormat::S8,
        Format::U8 => AlsaFormat::U8,
        Format::S16Le => AlsaFormat::S16LE,
        Format::S16Be => AlsaFormat::S16BE,
        Format::U16Le => AlsaFormat::U16LE,
        Format::U16Be => AlsaFormat::U16BE,
        Format::S24Le => AlsaFormat::S24LE,
        Format::S24Be => AlsaFormat::S24BE,
        Format::U24Le => AlsaFormat::U24LE,
        Format::U24Be => AlsaFormat::U24BE,
        Format::S32Le => AlsaFormat::S32LE,
        Format::S32Be => AlsaFormat::S32BE,
        Format::U32Le => AlsaFormat::U32LE,
        Format::U32Be => AlsaFormat::U32BE,
        Format::F32Le => AlsaFormat::FloatLE,
        Format::F32Be => AlsaFormat::FloatBE,
        Format::F64Le => AlsaFormat::Float64LE,
        Format::F64Be => AlsaFormat::Float64BE,
        Format::Iec958SubframeLe => AlsaFormat::IEC958SubframeLE,
        Format::Iec958SubframeBe => AlsaFormat::IEC958SubframeBE,
        Format::MuLaw => AlsaFormat::MuLaw,
        Format::ALaw => AlsaFormat::ALaw,
        Format::ImaAdpcm | Format::Mpeg | Format::Gsm => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_as_wide_for_alsa_as_for_the_protocol() {
        for format in Format::all() {
            if let Some(alsa) = format_of(format) {
                let bytes = format.frame_bytes(1).unwrap();
                assert_eq!(alsa.physical_width().unwrap(), bytes.cast_signed() * 8, "{format}");
            }
        }
    }

    #[test]
    fn a_library_that_cannot_be_mapped_is_named() {
        let said = "snd_dlobj_cache_get0: Cannot open shared library libasound_module_pcm_x.so \
                    (/lib/alsa-lib/libasound_module_pcm_x.so: failed to map segment from shared object)\n";
        assert_eq!(not_mapped(said), Some("/lib/alsa-lib/libasound_module_pcm_x.so"));
        assert_eq!(not_mapped(&format!("snd_ctl_open: no such card\n{said}")), not_mapped(said));
        assert_eq!(not_mapped("Cannot open shared library x.so (x.so: cannot open shared object file)"), None);
    }

    #[test]
    fn a_guests_period_is_kept_within_what_a_host_can_do() {
        let period = |period_frames, buffer_frames| {
            let spec = StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames, buffer_frames };
            wanted_period(&spec)
        };
        assert_eq!(period(480, 4_800), 480);
        assert_eq!(period(240, 4_800), 240);
        assert_eq!(period(1, 4_800), 48);
        assert_eq!(period(48_000, 96_000), 2_400);
        assert_eq!(period(0, 0), 960);
        assert_eq!(period(1_000, 1_000), 500);
    }
}
