//! The host's side of a stream: its sink or source, its gain, its log; the same for every protocol.

use std::fmt::{self, Display};
use std::io;

use backend::{Frames, Geometry, Pace, Run};
use control::EventKind;
use host_audio::{ErrorKind, Fallback, HostStream, Notice, Pacing, StreamAddress, StreamSpec};
use pcm::{Gain, Meter};
use sndif::store::Direction;
use tracing::{Level, debug, info, warn};

use crate::endpoint::{Device, Endpoint};
use crate::flow::{self, Passage};
use crate::gain::{Volumes, decibels};
use crate::limiter::GuestLog;
use crate::policy::{HostVolume, Route};
use crate::poller::{Poller, Watched};
use crate::totals::Violation;
use crate::turn::Turn;

/// The host's side of a stream.
pub(crate) struct HostSide {
    label: StreamAddress,
    device: Device,
    /// Watch of the device's descriptor, if there is one.
    watched: Option<Watched>,
    /// Name under which `device` was opened: a stream that cannot be moved stays there.
    attached: String,
    /// Device that the stream moves to once it is open; until then the stream stays on `device`.
    moving: Option<Moving>,
    /// Direction and format of a stream that is open; its device may have failed meanwhile.
    open: Option<(Direction, StreamSpec)>,
    /// True while `device` is being opened for the guest's OPEN.
    opening: bool,
    /// True if the device went away and the stream goes on silently.
    lost: bool,
    volumes: Volumes,
    /// Peaks of the frames that pass while the stream is open.
    meter: Meter,
    /// Times that devices used before lost sound.
    earlier_xruns: u64,
    log: GuestLog,
}

/// A device that is being opened beside the one in use.
struct Moving {
    device: Device,
    watched: Option<Watched>,
    to: String,
}

/// A host device cannot be opened; the log says why.
pub(crate) struct NotOpened {
    /// True if the device itself is fine, but this machine lacks a resource.
    pub(crate) no_resources: bool,
}

/// Reason why a host device is not opened.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error(transparent)]
    Device(#[from] host_audio::Error),
    #[error("cannot wait for the host device: {0}")]
    Wait(#[from] io::Error),
}

impl NotBegun {
    fn not_opened(&self) -> NotOpened {
        let no_resources = match self {
            Self::Device(error) => *error.kind() == ErrorKind::Resource,
            Self::Wait(_) => true,
        };
        NotOpened { no_resources }
    }
}

impl HostSide {
    pub(crate) fn new(label: StreamAddress, log: GuestLog) -> Self {
        Self {
            label,
            device: Device::Closed,
            watched: None,
            attached: String::new(),
            moving: None,
            open: None,
            opening: false,
            lost: false,
            volumes: Volumes::new(0, 1, HostVolume::default()),
            meter: Meter::new(0),
            earlier_xruns: 0,
            log,
        }
    }

    /// Begins to open a device: [`opened`](Self::opened) tells the result. For a guest that gets silence instead, no
    /// device is opened.
    pub(crate) fn open(
        &mut self,
        endpoint: &Endpoint,
        direction: Direction,
        geometry: &Geometry,
        turn: &mut Turn<'_>,
    ) -> Result<(), NotOpened> {
        let spec = StreamSpec {
            format: geometry.format,
            rate_hz: geometry.rate_hz,
            channels: geometry.channels,
            period_frames: geometry.period_frames(),
            buffer_frames: geometry.ring_frames(),
        };
        let (device, watched) = match endpoint.route().denied {
            Some(Fallback::Silence) => (Device::Closed, None),
            None | Some(Fallback::Refuse) => self.begin(endpoint, direction, &spec, turn).map_err(|error| {
                self.refused(turn, Some(&endpoint.route().device), &error);
                error.not_opened()
            })?,
        };
        (self.device, self.watched) = (device, watched);
        self.attached = endpoint.route().device.to_string();
        self.moving = None;
        self.open = Some((direction, spec));
        self.opening = true;
        self.lost = false;
        self.volumes = Volumes::new(geometry.channels, geometry.rate_hz, endpoint.route().volume);
        self.meter = Meter::new(geometry.channels);
        self.meter.watch(tracing::enabled!(Level::DEBUG));
        Ok(())
    }

    /// Clock of the stream, once the device is open; `None` while it is being opened. Opening does not stop the daemon:
    /// a sound server may take its time.
    pub(crate) fn opened(&mut self, turn: &mut Turn<'_>) -> Option<Result<Pace, NotOpened>> {
        let outcome = self.device.stream().map_or(Some(Ok(())), |stream| stream.opened())?;
        self.opening = false;
        if let Err(error) = outcome {
            self.refused(turn, Some(&self.attached.clone()), &error);
            self.open = None;
            self.drop_device();
            return Some(Err(NotBegun::Device(error).not_opened()));
        }
        if let Some((direction, spec)) = &self.open {
            let StreamSpec { period_frames, buffer_frames, .. } = spec;
            debug!(stream = %self.label, "open: {spec}, period {period_frames} frames, buffer {buffer_frames} frames");
            // A stream that gets silence instead has no device.
            let device = (!self.device.is_closed()).then_some(self.attached.as_str());
            turn.journal.push_of(
                EventKind::Open,
                self.label,
                device,
                format!("{direction}, {spec}, {}", self.in_use()),
            );
        }
        Some(Ok(self.device.pace()))
    }

    /// Begins to open a device, and watches its descriptor.
    fn begin(
        &self,
        endpoint: &Endpoint,
        direction: Direction,
        spec: &StreamSpec,
        turn: &Turn<'_>,
    ) -> Result<(Device, Option<Watched>), NotBegun> {
        let mut device = endpoint.open(&self.label, direction, spec)?;
        let watched = match device.stream().map(|stream| stream.pacing()) {
            Some(Pacing::Device(fd)) => Some(turn.poller.watch_edge(fd, turn.device_token)?),
            _ => None,
        };
        Ok((device, watched))
    }

    /// Applies a changed endpoint, also to a running stream: a stream that is no longer allowed becomes silent, and one
    /// that leads to another device moves there as soon as that is open. If it cannot be opened, the stream stays where
    /// it is.
    pub(crate) fn change(&mut self, endpoint: &Endpoint, core: &mut impl Frames, turn: &mut Turn<'_>) {
        self.volumes.set_host(endpoint.route().volume);
        if let Some((direction, spec)) = self.open
            && core.direction() == Some(direction)
        {
            if endpoint.is_granted() {
                self.lead(endpoint, direction, &spec, core, turn);
            } else {
                self.moving = None;
                if !self.device.is_closed() {
                    self.drop_device();
                    core.set_pace(Pace::Clock, turn.now_ns);
                }
            }
        }
    }

    /// Moves the stream to the device of `endpoint`, unless it is there or on its way.
    fn lead(
        &mut self,
        endpoint: &Endpoint,
        direction: Direction,
        spec: &StreamSpec,
        core: &mut impl Frames,
        turn: &mut Turn<'_>,
    ) {
        let to = endpoint.route().device.to_string();
        if !self.device.is_closed() && self.attached == to {
            self.moving = None;
            return;
        }
        if self.moving.as_ref().is_some_and(|moving| moving.to == to) {
            return;
        }
        match self.begin(endpoint, direction, spec, turn) {
            Ok((device, watched)) if self.opening => {
                (self.device, self.watched, self.attached) = (device, watched, to);
            }
            Ok((device, watched)) => {
                self.moving = Some(Moving { device, watched, to });
                self.arrive(core, turn);
            }
            Err(error) => self.stay(&to, error, turn),
        }
    }

    /// Switches to the device that was opened beside the one in use, once it is open. A device in use is only replaced
    /// by one that is present.
    fn arrive(&mut self, core: &mut impl Frames, turn: &mut Turn<'_>) {
        let Some(stream) = self.moving.as_mut().and_then(|moving| moving.device.stream()) else { return };
        let Some(outcome) = stream.opened() else { return };
        let outcome = match stream.notice().filter(|_| outcome.is_ok() && !self.device.is_closed()) {
            Some(Notice::Lost(error)) => Err(error),
            Some(Notice::Back) | None => outcome,
        };
        let Some(Moving { device, watched, to }) = self.moving.take() else { return };
        if let Err(error) = outcome {
            return self.stay(&to, error, turn);
        }
        self.leave_device();
        (self.device, self.watched, self.attached, self.lost) = (device, watched, to, false);
        core.set_pace(self.device.pace(), turn.now_ns);
        if matches!(core.run(), Run::Running | Run::Paused) {
            self.operate(core, turn, |stream| stream.start());
        }
        if core.run() == Run::Paused {
            self.operate(core, turn, |stream| stream.pause(true));
        }
    }

    /// Reports that a stream was not moved.
    fn stay(&mut self, to: &str, reason: impl Display, turn: &mut Turn<'_>) {
        self.report(turn, EventKind::Refused, format_args!("not moved to {to}: {reason}; it goes on as before"));
    }

    /// Reports that an OPEN is refused.
    pub(crate) fn refuse(&mut self, turn: &mut Turn<'_>, reason: impl Display) {
        self.refused(turn, None, &reason);
    }

    /// Reports that an OPEN is refused; `device` is the host's, if that is the cause.
    fn refused(&mut self, turn: &mut Turn<'_>, device: Option<&dyn Display>, reason: &dyn Display) {
        turn.journal.totals.opens_refused += 1;
        if self.warn(turn.now_ns, format_args!("OPEN refused: {reason}")) {
            let device = device.map(ToString::to_string);
            turn.journal.push_of(EventKind::Refused, self.label, device.as_deref(), reason.to_string());
        }
    }

    /// Reports that the guest broke the protocol.
    pub(crate) fn violation(&mut self, turn: &mut Turn<'_>, kind: Violation, reason: impl Display) {
        turn.journal.totals.violation(kind);
        self.report(turn, EventKind::Violation, reason);
    }

    /// Logs a line, rate-limited, and remembers it as an event if it was written.
    fn report(&mut self, turn: &mut Turn<'_>, kind: EventKind, text: impl Display) {
        if self.warn(turn.now_ns, &text) {
            turn.journal.push(kind, self.label, text.to_string());
        }
    }

    /// Serves the device and the one to move to, after the descriptor of one of them became readable.
    pub(crate) fn device_woke(&mut self, core: &mut impl Frames, turn: &mut Turn<'_>) {
        self.give_turns(core, turn, |stream| stream.acknowledge());
    }

    /// Has the device, and the one to move to, do what is due.
    pub(crate) fn attend(&mut self, core: &mut impl Frames, turn: &mut Turn<'_>) {
        self.give_turns(core, turn, |stream| stream.attend());
    }

    fn give_turns(
        &mut self,
        core: &mut impl Frames,
        turn: &mut Turn<'_>,
        act: impl Fn(&mut dyn HostStream) -> Result<(), host_audio::Error>,
    ) {
        if let Some(moving) = &mut self.moving
            && let Err(error) = moving.device.stream().map_or(Ok(()), &act)
        {
            let to = std::mem::take(&mut moving.to);
            self.moving = None;
            self.stay(&to, error, turn);
        }
        self.operate(core, turn, act);
        self.tell_notices(turn);
        self.arrive(core, turn);
    }

    /// Earliest time at which a device has something to do.
    pub(crate) fn next_wake_ns(&self, poller: &Poller) -> Option<u64> {
        let devices = [Some(&self.device), self.moving.as_ref().map(|moving| &moving.device)];
        let moments = devices.into_iter().flatten().filter_map(|device| device.stream_ref()?.wake_at());
        moments.min().map(|at| poller.ns_of(at))
    }

    /// Logs that the host device went away or came back.
    fn tell_notices(&mut self, turn: &mut Turn<'_>) {
        loop {
            let notice = self.device.stream().and_then(|stream| stream.notice());
            match notice {
                None => return,
                Some(Notice::Lost(error)) => {
                    self.lost = true;
                    turn.journal.totals.devices_lost += 1;
                    if self.warn(turn.now_ns, format_args!("{error}; going on silently, it is tried again")) {
                        turn.journal.push_of(EventKind::Lost, self.label, Some(&self.attached), error.to_string());
                    }
                }
                Some(Notice::Back) => {
                    self.lost = false;
                    turn.journal.totals.devices_back += 1;
                    if self.log.pass_ordinary(turn.now_ns) {
                        info!(stream = %self.label, "the host device is back and in use");
                        turn.journal.push_of(
                            EventKind::Back,
                            self.label,
                            Some(&self.attached),
                            "the host device is back and in use",
                        );
                    }
                }
            }
        }
    }

    /// Calls `act` on the device, if there is one.
    pub(crate) fn operate(
        &mut self,
        core: &mut impl Frames,
        turn: &mut Turn<'_>,
        act: impl FnOnce(&mut dyn HostStream) -> Result<(), host_audio::Error>,
    ) {
        let result = self.device.stream().map_or(Ok(()), act);
        self.device_result(result, core, turn);
    }

    /// Drops a device that failed: the stream goes on silently, and its position follows the clock.
    fn device_result<T>(&mut self, result: Result<T, host_audio::Error>, core: &mut impl Frames, turn: &mut Turn<'_>) {
        let Err(error) = result else { return };
        if self.warn(turn.now_ns, format_args!("{error}; going on silently")) {
            turn.journal.push_of(EventKind::Lost, self.label, Some(&self.attached), error.to_string());
        }
        self.lost = true;
        self.drop_device();
        core.set_pace(Pace::Clock, turn.now_ns);
    }

    /// Sets the guest's gain.
    pub(crate) fn set_gain(&mut self, gain: Gain) {
        self.volumes.set_guest(gain);
    }

    /// Moves the frames that are due.
    pub(crate) fn move_frames(&mut self, core: &mut impl Frames, turn: &mut Turn<'_>) {
        let Some(&geometry) = core.geometry() else { return };
        let passage = Passage { fader: self.volumes.fader(), meter: &self.meter, scratch: &mut *turn.scratch };
        let result = match &mut self.device {
            Device::Sink(sink) => flow::play(core, sink.as_mut(), passage, turn.now_ns),
            Device::Source(source) => flow::capture(core, source.as_mut(), passage, turn.now_ns),
            // A stream whose device failed goes on at the pace of the clock.
            Device::Closed if core.direction() == Some(Direction::Playback) => {
                while let Some(frames) = core.frames_to_play(turn.now_ns, usize::MAX) {
                    let bytes = frames.len();
                    core.played(bytes);
                }
                Ok(())
            }
            Device::Closed => {
                while let Some(room) = core.room_to_capture(turn.now_ns, usize::MAX) {
                    let bytes = room.len();
                    pcm::fill_silence(geometry.format, room);
                    core.captured(bytes);
                }
                Ok(())
            }
        };
        self.device_result(result, core, turn);
    }

    pub(crate) fn label(&self) -> StreamAddress {
        self.label
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Reports that sound was lost.
    pub(crate) fn tell_xruns(&mut self, count: u64, turn: &mut Turn<'_>) {
        if self.log.pass_xrun(turn.now_ns) {
            debug!(stream = %self.label, "{count} xrun(s)");
            turn.journal.push(EventKind::Xrun, self.label, format!("sound was lost, xruns: {count}"));
        }
    }

    /// Closes the device, with a report for the log.
    pub(crate) fn close(&mut self, now_ns: u64, report: fmt::Arguments<'_>) {
        if self.open.take().is_some() && self.log.pass_ordinary(now_ns) {
            info!(stream = %self.label, "closed: {report}");
            if self.meter.is_watched() {
                debug!(stream = %self.label, "peaks in dB of full scale: {}", Peaks(&self.meter));
            }
        }
        self.lost = false;
        self.moving = None;
        self.opening = false;
        self.drop_device();
    }

    /// Name of the open device, as exactly as it is known.
    fn in_use(&self) -> String {
        let exact = self.device.stream_ref().and_then(|stream| stream.in_use());
        exact.unwrap_or_else(|| self.attached.clone())
    }

    fn drop_device(&mut self) {
        self.earlier_xruns += self.device_xruns();
        (self.device, self.watched) = (Device::Closed, None);
    }

    /// Closes the device as [`Self::drop_device`] does, but has it play what is queued.
    fn leave_device(&mut self) {
        self.earlier_xruns += self.device_xruns();
        self.watched = None;
        if let Device::Sink(sink) = std::mem::replace(&mut self.device, Device::Closed) {
            sink.finish();
        }
    }

    fn device_xruns(&self) -> u64 {
        self.device.stream_ref().map_or(0, |stream| stream.xruns())
    }

    /// Number of times that host devices lost sound.
    pub(crate) fn xruns(&self) -> u64 {
        self.earlier_xruns + self.device_xruns()
    }

    /// Writes the state of the host's side into `stream`; with `levels`, starts to measure, and adds the levels
    /// measured so far.
    pub(crate) fn describe(&self, core: &impl Frames, endpoint: &Endpoint, stream: &mut control::Stream, levels: bool) {
        stream.run = match core.run() {
            Run::Closed => control::Run::Closed,
            Run::Open => control::Run::Open,
            Run::Running => control::Run::Running,
            Run::Paused => control::Run::Paused,
        };
        stream.latency_us = core.latency_us();
        stream.permitted = endpoint.is_granted();
        let Route { device, volume, .. } = endpoint.route();
        stream.device = match self.device {
            Device::Closed => device.to_string(),
            Device::Sink(_) | Device::Source(_) => self.in_use(),
        };
        stream.volume_db = decibels(volume.millidecibels);
        stream.volume_max_db = volume.max.map(decibels);
        stream.muted = volume.muted;
        let loudest = if self.open.is_some() { self.volumes.loudest() } else { volume.with(0) };
        stream.effective_volume_db = loudest.filter(|_| endpoint.is_granted()).map(decibels);
        stream.device_lost = self.lost;
        let server = self.device.stream_ref().and_then(|stream| stream.server_volume());
        stream.server_volume_db = server.map(|server| server.db).filter(|db| db.is_finite());
        stream.server_muted = server.is_some_and(|server| server.muted || !server.db.is_finite());
        if let Some((direction, spec)) = &self.open {
            stream.direction = Some(told(*direction));
            stream.format = Some(spec.format.to_string());
            stream.rate_hz = spec.rate_hz;
            stream.channels = spec.channels;
            stream.period_frames = spec.period_frames;
            stream.buffer_frames = spec.buffer_frames;
            self.volumes.describe(stream);
        }
        if levels {
            self.meter.watch(true);
            let told = |peak| Some(pcm::level::dbfs(peak)).filter(|level| level.is_finite());
            stream.levels_db = self.meter.take().map(told).collect();
        }
    }

    /// Stops measuring levels, which costs processor time.
    pub(crate) fn stop_measuring(&self) {
        self.meter.watch(tracing::enabled!(Level::DEBUG));
    }

    /// Logs a line about the guest's fault, rate-limited. The message is formatted only if it is written; returns true
    /// if it was.
    pub(crate) fn warn(&mut self, now_ns: u64, message: impl Display) -> bool {
        match self.log.pass_fault(now_ns) {
            None => return false,
            Some(0) => warn!(stream = %self.label, "{message}"),
            Some(suppressed) => {
                warn!(stream = %self.label, "{message} ({suppressed} more like this were not logged)");
            }
        }
        true
    }
}

/// A direction in terms of the control protocol.
pub(crate) fn told(direction: Direction) -> control::Direction {
    match direction {
        Direction::Playback => control::Direction::Playback,
        Direction::Capture => control::Direction::Capture,
    }
}

/// Display of a meter's peaks, such as `-6.0 -inf`.
struct Peaks<'a>(&'a Meter);

impl Display for Peaks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (channel, peak) in self.0.take().enumerate() {
            let space = if channel == 0 { "" } else { " " };
            write!(f, "{space}{:.1}", pcm::level::dbfs(peak))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that must not be formatted.
    struct Unwanted;

    impl Display for Unwanted {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("a message was formatted that is not logged");
        }
    }

    #[test]
    fn a_message_that_is_not_logged_is_not_formatted() {
        let label = StreamAddress { domain: 5, card: 0, pcm: 0, stream: 0 };
        let mut host = HostSide::new(label, GuestLog::default());
        while host.warn(0, "a guest's fault") {}
        assert!(!host.warn(0, Unwanted));
    }

    #[test]
    fn peaks_are_told_in_decibels() {
        let meter = Meter::new(2);
        meter.watch(true);
        meter.pass(sndif::Format::S16Le, &[0, 0x40, 0, 0]);
        assert_eq!(Peaks(&meter).to_string(), "-6.0 -inf");
    }
}
