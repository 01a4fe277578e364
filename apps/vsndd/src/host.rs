//! The host's side of a stream: its sink or source, its gain, its log. The same for every protocol.

use std::time::Duration;

use backend::{Frames, Geometry, Pace, Run};
use control::EventKind;
use host_audio::{Notice, Pacing, Sink, Source, StreamLabel, StreamSpec};
use pcm::{Gain, Meter};
use sndif::store::Direction;
use tracing::{Level, debug, info, warn};

use crate::endpoint::{Device, Endpoint};
use crate::flow::{self, Passage};
use crate::journal::Violation;
use crate::limiter::LogLimiter;
use crate::policy::{HostVolume, Permission, Route};
use crate::stream::{Turn, latency_us};

/// A stream as the host has it.
pub(crate) struct HostSide {
    label: StreamLabel,
    device: Device,
    /// What `device` was opened as: a stream that cannot be moved elsewhere stays there.
    attached: String,
    /// What it was opened for, until it is closed; the device may have failed meanwhile.
    open: Option<(Direction, StreamSpec)>,
    /// The device went away, and the stream goes on silently.
    lost: bool,
    guest_gain: Gain,
    volume: HostVolume,
    /// What is left to be done in software.
    gain: Option<Gain>,
    /// The peaks of what passes while it is open.
    meter: Meter,
    /// Times that devices of earlier openings lost sound.
    earlier_xruns: u64,
    log: LogLimiter,
    /// Xruns may be many: they do not keep back what else there is to say.
    xrun_log: LogLimiter,
}

/// Why a host device cannot be opened; the log has more.
pub(crate) struct NotOpened {
    /// The device itself is fine: this machine is out of something.
    pub(crate) no_resources: bool,
}

impl HostSide {
    pub(crate) fn new(label: StreamLabel) -> Self {
        Self {
            label,
            device: Device::Closed,
            attached: String::new(),
            open: None,
            lost: false,
            guest_gain: Gain::new(0),
            volume: HostVolume::default(),
            gain: None,
            meter: Meter::new(0),
            earlier_xruns: 0,
            log: LogLimiter::default(),
            xrun_log: LogLimiter::default(),
        }
    }

    /// Begins to open a device: [`opened`](Self::opened) tells what became of that. A guest that gets silence in its place
    /// reaches none.
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
        let device = match endpoint.route().permission {
            Permission::Silent => Device::Closed,
            Permission::Granted | Permission::Refused => {
                let begun = endpoint.begin(&self.label, direction, &spec);
                self.attach(begun, turn).map_err(|(refused, reason)| {
                    self.refuse(turn, &reason);
                    refused
                })?
            }
        };
        self.device = device;
        self.attached = endpoint.route().device.to_string();
        self.open = Some((direction, spec));
        self.guest_gain = Gain::new(geometry.channels);
        self.volume = endpoint.route().volume;
        self.meter = Meter::new(geometry.channels);
        self.meter.watch(tracing::enabled!(Level::DEBUG));
        self.scale();
        Ok(())
    }

    /// Who keeps the time, once the device is open; `None` while it is being opened, which does not stop the daemon: a sound
    /// server may take its time.
    pub(crate) fn opened(&mut self, turn: &mut Turn<'_>) -> Option<Result<Pace, NotOpened>> {
        if let Err(error) = self.device.opened(Duration::ZERO)? {
            self.refuse(turn, &error.to_string());
            self.open = None;
            self.drop_device();
            return Some(Err(NotOpened { no_resources: false }));
        }
        if let Some((direction, spec)) = &self.open {
            let StreamSpec { period_frames, buffer_frames, .. } = spec;
            debug!(stream = %self.label, "open: {spec}, period {period_frames} frames, buffer {buffer_frames} frames");
            turn.journal.push(EventKind::Open, self.label, format!("{direction}, {spec}, {}", self.attached));
        }
        Some(Ok(self.device.pace()))
    }

    /// Waits for what a device says from now on; says in words why there is none.
    fn attach(
        &mut self,
        device: Result<Device, host_audio::Error>,
        turn: &mut Turn<'_>,
    ) -> Result<Device, (NotOpened, String)> {
        let device = device.map_err(|error| (NotOpened { no_resources: false }, error.to_string()))?;
        if let Pacing::Device(fd) = device.pacing() {
            turn.poller.add_level(fd, turn.device_token).map_err(|error| {
                (NotOpened { no_resources: true }, format!("cannot wait for the host device: {error}"))
            })?;
        }
        self.lost = false;
        Ok(device)
    }

    /// Takes up another decision, also in the middle of a stream: what is no longer allowed is silent from now on, and
    /// what leads elsewhere goes there; if it cannot, it stays where it is. `moved` says whether `endpoint` has another
    /// device than it had.
    pub(crate) fn change(&mut self, endpoint: &Endpoint, moved: bool, core: &mut impl Frames, turn: &mut Turn<'_>) {
        self.volume = endpoint.route().volume;
        if let Some((direction, spec)) = self.open
            && core.direction() == Some(direction)
        {
            let is_open = !matches!(self.device, Device::Closed);
            if !endpoint.is_granted() {
                if is_open {
                    self.drop_device();
                    core.set_pace(Pace::Clock, turn.now_ns);
                }
            } else if !is_open || moved {
                let opened = endpoint.open(&self.label, direction, &spec);
                let device = match self.attach(opened, turn) {
                    Ok(attached) => attached,
                    Err((_, reason)) => {
                        let text = format!("not moved to {}: {reason}; it goes on as before", endpoint.route().device);
                        if self.warn(turn.now_ns, &text) {
                            turn.journal.push(EventKind::Refused, self.label, text);
                        }
                        self.scale();
                        return;
                    }
                };
                self.drop_device();
                self.device = device;
                self.attached = endpoint.route().device.to_string();
                core.set_pace(self.device.pace(), turn.now_ns);
                if matches!(core.run(), Run::Running | Run::Paused) {
                    self.steer(core, turn, |sink| sink.start(), |source| source.start());
                }
                if core.run() == Run::Paused {
                    self.steer(core, turn, |sink| sink.pause(true), |source| source.pause(true));
                }
            }
        }
        self.scale();
    }

    /// Takes up what was decided while the device was being opened.
    pub(crate) fn catch_up(&mut self, endpoint: &Endpoint, core: &mut impl Frames, turn: &mut Turn<'_>) {
        let moved = self.attached != endpoint.route().device.to_string();
        self.change(endpoint, moved, core, turn);
    }

    /// Says that an OPEN cannot be.
    pub(crate) fn refuse(&mut self, turn: &mut Turn<'_>, reason: &str) {
        turn.journal.opens_refused += 1;
        if self.warn(turn.now_ns, &format!("OPEN refused: {reason}")) {
            turn.journal.push(EventKind::Refused, self.label, reason);
        }
    }

    /// Says that the guest broke the protocol.
    pub(crate) fn violation(&mut self, turn: &mut Turn<'_>, kind: Violation, reason: &str) {
        turn.journal.violation(kind);
        if self.warn(turn.now_ns, reason) {
            turn.journal.push(EventKind::Violation, self.label, reason);
        }
    }

    /// After the device's descriptor became readable.
    pub(crate) fn device_woke(&mut self, core: &mut impl Frames, turn: &mut Turn<'_>) {
        let result = match &mut self.device {
            Device::Closed => Ok(()),
            Device::Sink(sink) => sink.acknowledge(),
            Device::Source(source) => source.acknowledge(),
        };
        self.device_result(result, core, turn);
        self.tell_notices(turn);
    }

    /// Logs what became of the host device.
    fn tell_notices(&mut self, turn: &mut Turn<'_>) {
        loop {
            let notice = match &mut self.device {
                Device::Closed => None,
                Device::Sink(sink) => sink.notice(),
                Device::Source(source) => source.notice(),
            };
            match notice {
                None => return,
                Some(Notice::Lost(error)) => {
                    self.lost = true;
                    turn.journal.devices_lost += 1;
                    if self.warn(turn.now_ns, &format!("{error}; going on silently, it is tried again")) {
                        turn.journal.push(EventKind::Lost, self.label, error.to_string());
                    }
                }
                Some(Notice::Back) => {
                    self.lost = false;
                    turn.journal.devices_back += 1;
                    if self.log.pass(turn.now_ns).is_some() {
                        info!(stream = %self.label, "the host device is back and in use");
                        turn.journal.push(EventKind::Back, self.label, "the host device is back and in use");
                    }
                }
            }
        }
    }

    /// Starts, holds or stops the device.
    pub(crate) fn steer(
        &mut self,
        core: &mut impl Frames,
        turn: &mut Turn<'_>,
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
    fn device_result<T>(&mut self, result: Result<T, host_audio::Error>, core: &mut impl Frames, turn: &mut Turn<'_>) {
        let Err(error) = result else { return };
        if self.warn(turn.now_ns, &format!("{error}; going on silently")) {
            turn.journal.push(EventKind::Lost, self.label, error.to_string());
        }
        self.lost = true;
        self.drop_device();
        core.set_pace(Pace::Clock, turn.now_ns);
    }

    /// Takes what the guest has set.
    pub(crate) fn set_gain(&mut self, gain: Gain) {
        self.guest_gain = gain;
        self.scale();
    }

    /// Hands the gain of guest and host together to the device, or keeps it for scaling in software.
    fn scale(&mut self) {
        let mut gain = self.guest_gain.clone();
        for channel in 0..gain.channels() {
            let sum = self.guest_gain.volume(channel).saturating_add(self.volume.millidecibels);
            gain.set_volume(channel, sum.min(self.volume.max.unwrap_or(i32::MAX)));
            gain.set_mute(channel, self.guest_gain.is_muted(channel) || self.volume.muted);
        }
        let in_device = match &mut self.device {
            Device::Sink(sink) => sink.set_gain(&gain),
            _ => false,
        };
        self.gain = (!in_device && !gain.is_identity()).then_some(gain);
    }

    /// Moves the frames that are due.
    pub(crate) fn move_frames(&mut self, core: &mut impl Frames, turn: &mut Turn<'_>) {
        let Some(&geometry) = core.geometry() else { return };
        let passage = Passage { gain: self.gain.as_ref(), meter: &self.meter, scratch: &mut *turn.scratch };
        let result = match &mut self.device {
            Device::Sink(sink) => flow::play(core, sink.as_mut(), passage, turn.now_ns),
            Device::Source(source) => flow::capture(core, source.as_mut(), &passage, turn.now_ns),
            // A stream whose device failed goes on at its own pace.
            Device::Closed if core.direction() == Some(Direction::Playback) => {
                while let Some(frames) = core.frames_to_play(turn.now_ns, usize::MAX) {
                    let octets = frames.len();
                    core.played(octets);
                }
                Ok(())
            }
            Device::Closed => {
                while let Some(room) = core.room_to_capture(turn.now_ns, usize::MAX) {
                    let octets = room.len();
                    pcm::fill_silence(geometry.format, room);
                    core.captured(octets);
                }
                Ok(())
            }
        };
        self.device_result(result, core, turn);
    }

    pub(crate) fn label(&self) -> StreamLabel {
        self.label
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Says that sound was lost.
    pub(crate) fn tell_xruns(&mut self, count: u64, turn: &mut Turn<'_>) {
        if self.xrun_log.pass(turn.now_ns).is_some() {
            debug!(stream = %self.label, "{count} xrun(s)");
            turn.journal.push(EventKind::Xrun, self.label, format!("sound was lost, xruns: {count}"));
        }
    }

    /// Closes the device, with a report for the log.
    pub(crate) fn close(&mut self, now_ns: u64, report: std::fmt::Arguments<'_>) {
        if self.open.take().is_some() && self.log.pass(now_ns).is_some() {
            info!(stream = %self.label, "closed: {report}");
            if self.meter.is_watched() {
                debug!(stream = %self.label, "peaks in dB of full scale: {}", Peaks(&self.meter));
            }
        }
        self.lost = false;
        self.drop_device();
    }

    fn drop_device(&mut self) {
        self.earlier_xruns += self.device_xruns();
        self.device = Device::Closed;
    }

    fn device_xruns(&self) -> u64 {
        match &self.device {
            Device::Closed => 0,
            Device::Sink(sink) => sink.xruns(),
            Device::Source(source) => source.xruns(),
        }
    }

    /// Times that host devices lost sound.
    pub(crate) fn xruns(&self) -> u64 {
        self.earlier_xruns + self.device_xruns()
    }

    /// What the host's side says of itself; with `levels`, it measures from now on, and tells what it measured.
    pub(crate) fn describe(&self, core: &impl Frames, endpoint: &Endpoint, stream: &mut control::Stream, levels: bool) {
        stream.run = match core.run() {
            Run::Closed => control::Run::Closed,
            Run::Open => control::Run::Open,
            Run::Running => control::Run::Running,
            Run::Paused => control::Run::Paused,
        };
        stream.latency_us = latency_us(core);
        stream.permitted = endpoint.is_granted();
        let Route { device, volume, .. } = endpoint.route();
        stream.device = match self.device {
            Device::Closed => device.to_string(),
            Device::Sink(_) | Device::Source(_) => self.attached.clone(),
        };
        stream.volume_db = decibels(volume.millidecibels);
        stream.volume_max_db = volume.max.map(decibels);
        stream.muted = volume.muted;
        stream.device_lost = self.lost;
        if let Some((direction, spec)) = &self.open {
            stream.direction = Some(told(*direction));
            stream.format = Some(spec.format.to_string());
            stream.rate_hz = spec.rate_hz;
            stream.channels = spec.channels;
            stream.period_frames = spec.period_frames;
            stream.buffer_frames = spec.buffer_frames;
            let channels = 0..self.guest_gain.channels();
            let volumes = channels.clone().map(|channel| self.guest_gain.volume(channel));
            if volumes.clone().any(|volume| volume != 0) {
                stream.guest_volume_db = volumes.map(decibels).collect();
            }
            let muted = channels.map(|channel| self.guest_gain.is_muted(channel));
            if muted.clone().any(|muted| muted) {
                stream.guest_muted = muted.collect();
            }
        }
        if levels {
            self.meter.watch(true);
            let told = |peak| Some(pcm::level::dbfs(peak)).filter(|level| level.is_finite());
            stream.levels_db = self.meter.take().map(told).collect();
        }
    }

    /// Ends measuring, which costs something.
    pub(crate) fn stop_measuring(&self) {
        self.meter.watch(tracing::enabled!(Level::DEBUG));
    }

    /// A log line about the guest's fault, rate-limited. Says whether it was written.
    pub(crate) fn warn(&mut self, now_ns: u64, message: &str) -> bool {
        match self.log.pass(now_ns) {
            None => return false,
            Some(0) => warn!(stream = %self.label, "{message}"),
            Some(suppressed) => {
                warn!(stream = %self.label, "{message} ({suppressed} more like this were not logged)");
            }
        }
        true
    }
}

/// A direction as it is told to others.
pub(crate) fn told(direction: Direction) -> control::Direction {
    match direction {
        Direction::Playback => control::Direction::Playback,
        Direction::Capture => control::Direction::Capture,
    }
}

/// 0.001 dB as decibels.
pub(crate) fn decibels(millidecibels: i32) -> f64 {
    f64::from(millidecibels) / 1000.0
}

/// A meter's peaks, `-6.0 -inf`.
struct Peaks<'a>(&'a Meter);

impl std::fmt::Display for Peaks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

    #[test]
    fn peaks_are_told_in_decibels() {
        let meter = Meter::new(2);
        meter.watch(true);
        meter.pass(sndif::Format::S16Le, &[0, 0x40, 0, 0]);
        assert_eq!(Peaks(&meter).to_string(), "-6.0 -inf");
    }
}
