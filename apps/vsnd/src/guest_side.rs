//! Parts that `vsnd play` and `vsnd record` share: the card, the stream, progress and the report.

use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use clap::{Args, ValueEnum};
use guest::{Card, Config, Error, Stats, Stream, StreamInfo};
use indicatif::{ProgressBar, ProgressStyle};
use program::{ExitStatus, Failure};
use serde::{Deserialize, Serialize};
use sndif::Errno;
use sndif::store::Direction;
use xen::{DomainId, Xen, XenSpec};

use crate::control::change::Decibels;
use crate::output::Output;
use crate::shape::Shape;

/// Time that the daemon may take to connect the card. A guest whose workers end again and again is held off for 10 s at
/// most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Options that choose a stream and the parameters to open it with.
#[derive(Debug, Args)]
pub(crate) struct StreamArguments {
    /// The Xen that this guest runs on: `dev` for the real one, `emu:DIR` for the emulation in DIR [env: VSND_XEN].
    #[arg(long, default_value = program::from_env("VSND_XEN", "dev"), value_name = "dev|emu:DIR")]
    xen: XenSpec,
    /// The guest to be (emulation only) [default there: 1].
    #[arg(long, value_name = "N")]
    domain: Option<DomainId>,
    /// The sound card.
    #[arg(long, default_value_t = 0, value_name = "C")]
    card: u32,
    /// PCM device of the card.
    #[arg(long, default_value_t = 0, value_name = "P")]
    device: u8,
    /// Stream of the PCM device [default: the first of the right direction].
    #[arg(long, value_name = "S")]
    stream: Option<u8>,
    /// Period in milliseconds, 1 to 1000.
    #[arg(long, default_value_t = 10, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    period_ms: u32,
    /// Buffer in milliseconds [default: four periods, at least 200 ms to play and 2000 ms to record].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    buffer_ms: Option<u32>,
    /// Volume for all channels in decibels, -100 to 20, such as `-6` or `-6dB`.
    #[arg(long, value_name = "DB", allow_hyphen_values = true)]
    volume: Option<Decibels>,
    /// Mutes all channels.
    #[arg(long)]
    mute: bool,
    /// Seconds to wait for a daemon that went away.
    #[arg(long, default_value_t = 15, value_name = "N")]
    recovery_seconds: u64,
    /// Progress to show while the stream runs.
    #[arg(long, default_value = "auto", value_name = "HOW")]
    pub(crate) progress: Progress,
}

/// Progress shown while a stream runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar, on a terminal.
    Auto,
    /// Nothing.
    None,
    /// A line of JSON per period and a report at the end, on standard output.
    Json,
}

/// A line of `--progress json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuestLine {
    /// Position of the stream.
    Progress { frames: u64 },
    /// Report at the end.
    Report(GuestReport),
}

/// Report on a stream's run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct GuestReport {
    /// Format, rate, channels, period and buffer in words.
    pub(crate) stream: String,
    /// Frames played, or recorded.
    pub(crate) frames: u64,
    pub(crate) latency_us: Latency,
    pub(crate) notifications_per_period: Notifications,
    pub(crate) xruns: u64,
    pub(crate) reconnects: u64,
}

/// Time from a request to its answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) count: u64,
}

/// Event-channel notifications in a period, while answers are not waited for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Notifications {
    pub(crate) to_backend: f64,
    pub(crate) from_backend: f64,
}

impl StreamArguments {
    /// Connects the card and finds the stream.
    pub(crate) fn place(&self, direction: Direction) -> Result<(Card, StreamInfo), Failure> {
        let domain = match (&self.xen, self.domain) {
            (XenSpec::Emu(_), None) => Some(DomainId(1)),
            (_, domain) => domain,
        };
        let xen = Xen::open_within(program::OTHER_END, &self.xen, domain).map_err(Failure::with(ExitStatus::NoXen))?;
        let card = Card::connect(&xen, &self.xen, self.card, CONNECT_TIMEOUT).map_err(failure)?;
        let stream = self.pick(&card, direction)?;
        Ok((card, stream))
    }

    /// Opens the stream with `open`: [`Card::playback`] or [`Card::capture`].
    ///
    /// # Errors
    /// The errors of the driver; `failure` turns them into the program's.
    pub(crate) fn open<D>(
        &self,
        open: impl FnOnce(&Card, u8, u8, &Config) -> Result<Stream<D>, Error>,
        card: &Card,
        place: &StreamInfo,
        shape: Shape,
    ) -> Result<Stream<D>, Error> {
        let Shape { format, rate_hz, channels } = shape;
        let frames = |ms: u32| u32::try_from(u64::from(rate_hz) * u64::from(ms) / 1000).unwrap_or(u32::MAX).max(1);
        // A file is in no hurry: the longer the buffer, the longer this process may be held up. A virtual machine on a
        // busy host has been seen to stand still for 0.8 s.
        let least_ms = match place.direction {
            Direction::Playback => 200,
            Direction::Capture => 2000,
        };
        let config = Config {
            format,
            rate_hz,
            channels,
            period_frames: frames(self.period_ms),
            buffer_frames: frames(self.buffer_ms.unwrap_or(least_ms.max(self.period_ms * 4))),
        };
        let mut stream = open(card, place.pcm, place.stream, &config)?;
        stream.set_recovery_timeout(Duration::from_secs(self.recovery_seconds));
        if let Some(Decibels(volume_db)) = self.volume {
            let millidecibels = (volume_db * 1000.0).round() as i32;
            stream.set_volume(&vec![millidecibels; usize::from(channels)])?;
        }
        if self.mute {
            stream.set_mute(&vec![true; usize::from(channels)])?;
        }
        Ok(stream)
    }

    fn pick(&self, card: &Card, direction: Direction) -> Result<StreamInfo, Failure> {
        let streams = card.streams();
        let mut of_device = streams.iter().filter(|info| info.pcm == self.device);
        let found = match self.stream {
            Some(stream) => of_device.find(|info| info.stream == stream),
            None => of_device.find(|info| info.direction == direction),
        };
        match found {
            Some(info) if info.direction == direction => Ok(info.clone()),
            Some(info) => Err(Failure::new(
                ExitStatus::NoCard,
                format!("stream {} of PCM device {} is for {}", info.stream, info.pcm, info.direction),
            )),
            None => {
                let there: Vec<String> =
                    streams.iter().map(|info| format!("{}/{} {}", info.pcm, info.stream, info.direction)).collect();
                Err(Failure::new(
                    ExitStatus::NoCard,
                    format!(
                        "card {} has no {direction} stream {}/{}; it has {}",
                        self.card,
                        self.device,
                        self.stream.map_or("*".to_owned(), |stream| stream.to_string()),
                        there.join(", ")
                    ),
                ))
            }
        }
    }
}

/// Failure of the program for an error of the guest's driver.
pub(crate) fn failure(error: Error) -> Failure {
    let status = match &error {
        Error::NoCard { .. } | Error::NoStreams { .. } | Error::NoStream { .. } | Error::BadNode { .. } => {
            ExitStatus::NoCard
        }
        Error::NoDaemon { .. } | Error::ConnectTimeout { .. } => ExitStatus::NoDaemon,
        Error::Negotiation(_) | Error::NotOffered(_) => ExitStatus::Unsupported,
        Error::Refused { errno: Errno::ENODEV, .. } => ExitStatus::HostDevice,
        Error::Refused { .. } | Error::RefusedWithoutReason { .. } | Error::Impossible { .. } => {
            ExitStatus::Unsupported
        }
        Error::Lost | Error::NoAnswer { .. } | Error::Stalled { .. } | Error::Violation(_) => ExitStatus::Lost,
        Error::Xen(xen::Error::HypervisorGone) | Error::Store(xenstore::Error::Closed) => ExitStatus::Lost,
        Error::Xen(_) | Error::Store(_) => ExitStatus::NoXen,
        Error::CardInUse { .. } => ExitStatus::Busy,
        Error::Lock { .. } => ExitStatus::File,
        _ => ExitStatus::Failure,
    };
    Failure::new(status, error)
}

/// The same for an error in a stream that has run: a missing daemon or card has gone away.
pub(crate) fn running_failure(error: Error) -> Failure {
    match &error {
        Error::NoDaemon { .. } | Error::ConnectTimeout { .. } | Error::NoCard { .. } | Error::NoStreams { .. } => {
            Failure::new(ExitStatus::Lost, format!("the sound daemon went away and did not come back: {error}"))
        }
        _ => failure(error),
    }
}

/// Follows a stream's run: shows progress, sees Ctrl-C, and makes the report.
pub(crate) struct Follower {
    progress: Progress,
    bar: ProgressBar,
    stop: UnixStream,
    reconnects: u64,
    pub(crate) interrupted: bool,
}

impl Follower {
    /// Follows until `stop` becomes readable.
    pub(crate) fn new(progress: Progress, doing: &'static str, frames: Option<u64>, stop: UnixStream) -> Self {
        let bar = match progress {
            Progress::Auto => progress_bar(doing, frames),
            Progress::None | Progress::Json => ProgressBar::hidden(),
        };
        Self { progress, bar, stop, reconnects: 0, interrupted: false }
    }

    /// Shows the stream's position; breaks if the user wants an end.
    pub(crate) fn step(&mut self, frames: u64) -> ControlFlow<()> {
        self.bar.set_position(frames);
        // The report fails as well then, with the reason.
        if self.progress == Progress::Json && Output::new().json(&GuestLine::Progress { frames }).is_err() {
            return ControlFlow::Break(());
        }
        let mut events = [rustix::event::PollFd::new(&self.stop, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        self.interrupted = matches!(rustix::event::poll(&mut events, Some(&now)), Ok(1..));
        if self.interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Reports that the daemon was away meanwhile, if it was.
    pub(crate) fn tell_reconnects<D>(&mut self, stream: &Stream<D>) {
        let reconnects = stream.stats().reconnects;
        if reconnects > self.reconnects {
            self.reconnects = reconnects;
            self.bar.suspend(|| eprintln!("vsnd: the sound daemon went away and came back; going on"));
        }
    }

    /// Reports that sound is missing: a capture was started again after a READ was refused.
    pub(crate) fn tell_restart(&mut self, refusal: &str, missing: Duration, frame: u64) {
        let missing = missing.as_secs_f64();
        let text = format!("{refusal}; started again, about {missing:.1} s are missing near frame {frame}");
        self.bar.suspend(|| eprintln!("vsnd: {text}"));
    }

    /// Ends the display and reports.
    pub(crate) fn finish(self, report: GuestReport) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        match self.progress {
            Progress::Json => Output::new().json(&GuestLine::Report(report)),
            Progress::Auto | Progress::None => Ok(()),
        }
    }
}

pub(crate) fn progress_bar(doing: &'static str, frames: Option<u64>) -> ProgressBar {
    let (bar, template) = match frames {
        Some(frames) => (ProgressBar::new(frames), "{msg:<10} [{bar:50}] {pos}/{len} frames"),
        None => (ProgressBar::new_spinner(), "{msg:<10} {pos} frames"),
    };
    // The templates are constants; a mistake in one shows at the first run.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_message(doing)
}

/// The report of a run. Latency was measured up to `measured`, notifications are counted from there on.
pub(crate) fn report<D>(stream: &Stream<D>, measured: &Stats) -> GuestReport {
    let stats = stream.stats();
    let geometry = stream.geometry();
    let us = |share| stats.write_latency.quantile_ns(share) as f64 / 1000.0;
    let periods = (stats.events - measured.events).max(1) as f64;
    let from_backend = (stats.ring_wakeups + stats.event_wakeups) - (measured.ring_wakeups + measured.event_wakeups);
    GuestReport {
        stream: format!(
            "{} {} Hz {} channel(s), period {} frames, buffer {} frames",
            geometry.format(),
            geometry.rate_hz(),
            geometry.channels(),
            geometry.period_bytes() / geometry.frame_bytes().max(1),
            geometry.ring_bytes() / geometry.frame_bytes().max(1),
        ),
        frames: stream.position() / u64::from(geometry.frame_bytes().max(1)),
        latency_us: Latency { p50: us(0.50), p99: us(0.99), count: stats.write_latency.count() },
        notifications_per_period: Notifications {
            to_backend: (stats.notifications - measured.notifications) as f64 / periods,
            from_backend: from_backend as f64 / periods,
        },
        xruns: stats.xruns,
        reconnects: stats.reconnects,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        stream: StreamArguments,
    }

    #[test]
    fn a_volume_is_given_with_and_without_its_unit() {
        let volume = |arguments: &[&str]| {
            let line = Line::try_parse_from(["vsnd"].iter().chain(arguments));
            line.ok().and_then(|line| line.stream.volume)
        };
        for arguments in [&["--volume=-6dB"][..], &["--volume", "-6dB"], &["--volume", "-6"], &["--volume=-6.0"]] {
            assert_eq!(volume(arguments), Some(Decibels(-6.0)), "{arguments:?}");
        }
        for wrong in ["--volume=loud", "--volume=21dB", "--volume=-101"] {
            assert_eq!(volume(&[wrong]), None, "{wrong}");
        }
    }
}
