//! The host's side of a stream: its sink or source, its gain, its log. The same for every protocol.

use backend::{Frames, Geometry, Pace};
use host_audio::{HostDevice, Notice, Pacing, Sink, Source, StreamLabel, StreamSpec};
use pcm::Gain;
use sndif::store::Direction;
use tracing::{debug, info, warn};

use crate::limiter::LogLimiter;
use crate::stream::Turn;

enum Device {
    Closed,
    Sink(Box<dyn Sink>),
    Source(Box<dyn Source>),
}

/// A stream as the host has it.
pub(crate) struct HostSide {
    label: StreamLabel,
    device: Device,
    /// Whether it was opened since it was closed last; it may have failed meanwhile.
    opened: bool,
    gain: Option<Gain>,
    log: LogLimiter,
}

/// Why a host device cannot be opened; the log has more.
pub(crate) struct NotOpened {
    /// The device itself is fine: this machine is out of something.
    pub(crate) no_resources: bool,
}

impl HostSide {
    pub(crate) fn new(label: StreamLabel) -> Self {
        Self { label, device: Device::Closed, opened: false, gain: None, log: LogLimiter::default() }
    }

    /// Opens a device and says who keeps the time.
    pub(crate) fn open(
        &mut self,
        device: &dyn HostDevice,
        direction: Direction,
        geometry: &Geometry,
        turn: &Turn<'_>,
    ) -> Result<Pace, NotOpened> {
        let spec = StreamSpec {
            format: geometry.format,
            rate_hz: geometry.rate_hz,
            channels: geometry.channels,
            period_frames: geometry.period_frames(),
            buffer_frames: geometry.ring_frames(),
        };
        let opened = match direction {
            Direction::Playback => device.open_sink(&self.label, &spec).map(Device::Sink),
            Direction::Capture => device.open_source(&self.label, &spec).map(Device::Source),
        };
        self.device = opened.map_err(|error| {
            self.warn(turn.now_ns, &format!("OPEN refused: {error}"));
            NotOpened { no_resources: false }
        })?;
        let pacing = match &self.device {
            Device::Sink(sink) => sink.pacing(),
            Device::Source(source) => source.pacing(),
            Device::Closed => Pacing::Caller,
        };
        let pace = match pacing {
            Pacing::Caller => Pace::Clock,
            Pacing::Device(fd) => {
                if let Err(error) = turn.poller.add_level(fd, turn.device_token) {
                    warn!(stream = %self.label, "cannot wait for the host device: {error}");
                    self.device = Device::Closed;
                    return Err(NotOpened { no_resources: true });
                }
                Pace::Device
            }
        };
        self.gain = None;
        self.opened = true;
        debug!(stream = %self.label, "open: {spec}, period {} frames, buffer {} frames", spec.period_frames, spec.buffer_frames);
        Ok(pace)
    }

    /// After the device's descriptor became readable.
    pub(crate) fn device_woke(&mut self, core: &mut impl Frames, turn: &Turn<'_>) {
        let result = match &mut self.device {
            Device::Closed => Ok(()),
            Device::Sink(sink) => sink.acknowledge(),
            Device::Source(source) => source.acknowledge(),
        };
        self.device_result(result, core, turn);
        self.tell_notices(turn);
    }

    /// Logs what became of the host device.
    fn tell_notices(&mut self, turn: &Turn<'_>) {
        loop {
            let notice = match &mut self.device {
                Device::Closed => None,
                Device::Sink(sink) => sink.notice(),
                Device::Source(source) => source.notice(),
            };
            match notice {
                None => return,
                Some(Notice::Lost(error)) => {
                    self.warn(turn.now_ns, &format!("{error}; going on silently, it is tried again"));
                }
                Some(Notice::Back) => {
                    if self.log.pass(turn.now_ns).is_some() {
                        info!(stream = %self.label, "the host device is back and in use");
                    }
                }
            }
        }
    }

    /// Starts, holds or stops the device.
    pub(crate) fn steer(
        &mut self,
        core: &mut impl Frames,
        turn: &Turn<'_>,
        sink: impl FnOnce(&mut dyn Sink) -> Result<(), host_audio::Error>,
        source: impl FnOnce(&mut dyn Source) -> Result<(), host_audio::Error>,
    ) {
        let result = match &mut self.device {
            Device::Closed => Ok(()),
            Device::Sink(open) => sink(open.as_mut()),
            Device::Source(open) => source(open.as_mut()),
        };
        self.device_result(result, core, turn);
    }

    /// The device failed: the guest plays on into nothing, its positions run by the clock.
    fn device_result<T>(&mut self, result: Result<T, host_audio::Error>, core: &mut impl Frames, turn: &Turn<'_>) {
        let Err(error) = result else { return };
        self.warn(turn.now_ns, &format!("{error}; going on silently"));
        self.device = Device::Closed;
        core.pace_by_clock(turn.now_ns);
    }

    /// Hands a gain to the device, or keeps it for scaling in software.
    pub(crate) fn set_gain(&mut self, gain: Gain) {
        let in_device = match &mut self.device {
            Device::Sink(sink) => sink.set_gain(&gain),
            _ => false,
        };
        self.gain = (!in_device && !gain.is_identity()).then_some(gain);
    }

    /// Moves the frames that are due.
    pub(crate) fn move_frames(&mut self, core: &mut impl Frames, turn: &mut Turn<'_>) {
        let Some(&geometry) = core.geometry() else { return };
        let frame_bytes = geometry.frame_bytes as usize;
        let mut result = Ok(());
        match &mut self.device {
            // A stream whose device failed goes on at its own pace.
            Device::Closed if core.direction() == Some(Direction::Playback) => {
                while let Some(frames) = core.frames_to_play(turn.now_ns, usize::MAX) {
                    let octets = frames.len();
                    core.played(octets);
                }
            }
            Device::Closed => {
                while let Some(room) = core.room_to_capture(turn.now_ns, usize::MAX) {
                    let octets = room.len();
                    pcm::fill_silence(geometry.format, room);
                    core.captured(octets);
                }
            }
            Device::Sink(sink) => {
                while let Some(frames) = core.frames_to_play(turn.now_ns, sink.room_frames()) {
                    let written = match &self.gain {
                        None => sink.write(frames),
                        Some(gain) => {
                            turn.scratch.clear();
                            turn.scratch.extend_from_slice(frames);
                            gain.apply(geometry.format, geometry.channels, turn.scratch);
                            sink.write(turn.scratch)
                        }
                    };
                    match written {
                        Ok(0) => break,
                        Ok(frames) => core.played(frames * frame_bytes),
                        Err(error) => {
                            result = Err(error);
                            break;
                        }
                    }
                }
                core.set_queued_frames(sink.queued_frames());
            }
            Device::Source(source) => {
                while let Some(room) = core.room_to_capture(turn.now_ns, source.available_frames()) {
                    match source.read(room) {
                        Ok(0) => break,
                        Ok(frames) => {
                            let octets = frames * frame_bytes;
                            if let (Some(gain), Some(filled)) = (&self.gain, room.get_mut(..octets)) {
                                gain.apply(geometry.format, geometry.channels, filled);
                            }
                            core.captured(octets);
                        }
                        Err(error) => {
                            result = Err(error);
                            break;
                        }
                    }
                }
            }
        }
        self.device_result(result, core, turn);
    }

    /// Closes the device, with a report for the log.
    pub(crate) fn close(&mut self, now_ns: u64, report: std::fmt::Arguments<'_>) {
        if std::mem::take(&mut self.opened) && self.log.pass(now_ns).is_some() {
            info!(stream = %self.label, "closed: {report}");
        }
        self.device = Device::Closed;
    }

    /// A log line about the guest's fault, rate-limited.
    pub(crate) fn warn(&mut self, now_ns: u64, message: &str) {
        if let Some(suppressed) = self.log.pass(now_ns) {
            if suppressed > 0 {
                warn!(stream = %self.label, "{message} ({suppressed} more like this were not logged)");
            } else {
                warn!(stream = %self.label, "{message}");
            }
        }
    }
}
