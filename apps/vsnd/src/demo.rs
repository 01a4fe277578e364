//! `vsnd demo`: the whole way of a frame, on one machine, without Xen.
//!
//! Three processes — emulated Xen, daemon, guest — play a file into a sink; then a second daemon and a second guest
//! record the result. Each guest reports its progress in lines on its standard output.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use clap_complete::ArgValueCandidates;
use host_audio::wav::{self, WavAudio};
use host_audio::{DeviceOptions, DeviceSpec, Direction, StreamAddress};
use indicatif::ProgressBar;
use program::{ExitStatus, Failure};
use rustix::event::{PollFd, PollFlags, Timespec};
use sndif::{Format, Protocol};

use crate::complete;
use crate::conversion::Conversion;
use crate::guest_side::{GuestLine, GuestReport, progress_bar};
use crate::output::Output;
use crate::recording::Recording;
use crate::report::{Comparison, DemoReport};
use crate::shape::Shape;

/// A recording from Debian's alsa-utils.
const DEFAULT_FILE: &str = "/usr/share/sounds/alsa/Front_Center.wav";

/// Time that a process may take to be ready, and to end, and the host's device to tell what it can do.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The recording to play: WAV, FLAC, Ogg Vorbis or MP3.
    #[arg(default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// Sink to play to: `wav` (compared bit for bit), `null` or `alsa:PCM`.
    #[arg(long, default_value = "wav", value_name = "SINK", add = ArgValueCandidates::new(complete::devices))]
    sink: String,
    /// Period in milliseconds.
    #[arg(long, default_value_t = 10, value_name = "MS")]
    period_ms: u32,
    /// Sample format to convert the file to before it is played, such as `s32_le` [default: the file's own].
    #[arg(long, value_name = "FORMAT", add = ArgValueCandidates::new(complete::formats))]
    format: Option<Format>,
    /// The protocol that guest and daemon speak; `v0` is that of the driver of 2015.
    #[arg(long, default_value_t, value_name = "v0|v2")]
    protocol: Protocol,
    /// Prints the result as JSON, and no progress.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let mut recording = Recording::open(&arguments.file)?;
    let original = recording.read_all()?;
    let stop = program::end_signal().map_err(Failure::with(ExitStatus::Failure))?;
    let dir = tempfile::Builder::new().prefix("vsnd-demo-").tempdir().map_err(Failure::with(ExitStatus::Failure))?;
    let demo = Demo { dir: dir.path(), arguments, original, is_wav: recording.is_wav(), stop };
    let report = demo.run()?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).map_err(Failure::with(ExitStatus::Failure))?
    } else {
        report.to_string()
    };
    Output::new().line(text.trim_end())?;
    Ok(if report.is_good() { ExitStatus::Success } else { ExitStatus::Failure })
}

struct Demo<'a> {
    dir: &'a Path,
    arguments: &'a Arguments,
    original: WavAudio,
    is_wav: bool,
    /// Readable when the user wants the demo to end.
    stop: UnixStream,
}

impl Demo<'_> {
    fn run(self) -> Result<DemoReport, Failure> {
        let reference = self.reference()?;
        let expected = wav::read_file(&reference).map_err(Failure::with(ExitStatus::File))?;
        let format = self.arguments.format.unwrap_or(self.original.format);
        let xen_dir = self.dir.join("xen");
        let mut xen = Process::start("vsnd", Command::new(own_program()?).arg("emu").arg("--dir").arg(&xen_dir))?;
        xen.first_line(&self.stop)?;
        self.attach(&xen_dir, format)?;

        let heard_path = self.dir.join("heard.wav");
        let (sink, compare) = match self.arguments.sink.as_str() {
            "wav" => (DeviceSpec::Wav(heard_path.clone()), true),
            other => (other.parse().map_err(Failure::with(ExitStatus::Usage))?, false),
        };
        // The daemon would go on without the device, for the sake of other guests; here there are none.
        let nobody = StreamAddress { domain: 0, card: 0, pcm: 0, stream: 0 };
        let device = sink.device(&DeviceOptions { patience: PATIENCE, ..DeviceOptions::default() });
        device.check(&nobody, Direction::Playback).map_err(Failure::with(ExitStatus::HostDevice))?;
        let total = frames(&expected);
        let daemon = self.daemon(&xen_dir, &["--sink".into(), sink.to_string()])?;
        let player = self.guest(&xen_dir, "playing", total, |command| {
            command.arg("play").arg(&reference).arg("--format").arg(format.name()).args(self.place(0));
        })?;
        daemon.stop()?;
        let heard = if compare {
            wav::read_file(&heard_path).map_err(Failure::with(ExitStatus::Failure))?
        } else {
            expected.clone()
        };
        let playback = if compare { Comparison::of(&expected, &heard) } else { Comparison::NotCompared };

        let source = DeviceSpec::Wav(if compare { heard_path } else { reference });
        let daemon = self.daemon(&xen_dir, &["--source".into(), source.to_string(), "--allow-capture".into()])?;
        let captured_path = self.dir.join("captured.wav");
        let recorder = self.guest(&xen_dir, "recording", total, |command| {
            command.arg("record").arg(&captured_path).arg("--frames").arg(total.to_string());
            command.arg("--format").arg(format.name()).args(self.place(1));
            command.arg("--rate").arg(expected.rate_hz.to_string());
            command.arg("--channels").arg(expected.channels.to_string());
        })?;
        daemon.stop()?;
        xen.stop()?;
        let captured = wav::read_file(&captured_path).map_err(Failure::with(ExitStatus::Failure))?;
        Ok(DemoReport {
            file: self.arguments.file.display().to_string(),
            protocol: self.arguments.protocol.to_string(),
            sink: if compare { "WAV file".into() } else { sink.to_string() },
            playback,
            capture: Comparison::of(&heard, &captured),
            player,
            recorder,
            heard,
        })
    }

    /// Option that names the stream with this number to a guest: with protocol v0 each stream is a card of its own.
    fn place(&self, stream: u32) -> [String; 2] {
        let place = match self.arguments.protocol {
            Protocol::V0 => "--card",
            Protocol::V2 => "--stream",
        };
        [place.to_owned(), stream.to_string()]
    }

    /// The file that is played: the given one, or its sound as a WAV file in the format that was asked for.
    fn reference(&self) -> Result<PathBuf, Failure> {
        let WavAudio { format, rate_hz, channels, ref data } = self.original;
        let wanted = self.arguments.format.unwrap_or(format);
        if self.is_wav && wanted == format {
            return Ok(self.arguments.file.clone());
        }
        let own = Shape { format, rate_hz, channels };
        let mut frames = Vec::new();
        Conversion::new(own, Shape { format: wanted, ..own })?.convert(data, &mut frames);
        let path = self.dir.join("reference.wav");
        let mut writer =
            wav::Writer::create(&path, wanted, rate_hz, channels).map_err(Failure::with(ExitStatus::Unsupported))?;
        writer.write(&frames).map_err(Failure::with(ExitStatus::Failure))?;
        writer.finish();
        Ok(path)
    }

    fn attach(&self, xen_dir: &Path, format: Format) -> Result<(), Failure> {
        let WavAudio { rate_hz, channels, .. } = self.original;
        let cards = format!(
            "vsnd=[['CARD, short-name=demo, sample-rates={rate_hz}, sample-formats={format}, channels-min={channels}, \
             channels-max={channels}, buffer-size=1048576', 'PCM, name=demo', 'STREAM, unique-id=play, type=p', \
             'STREAM, unique-id=record, type=c']]"
        );
        let mut command = Command::new(own_program()?);
        command
            .arg("emu")
            .arg("--dir")
            .arg(xen_dir)
            .args(["attach", "--domain", "1", &cards])
            .args(["--protocol", &self.arguments.protocol.to_string()])
            .stdout(Stdio::null());
        let status = command.status().map_err(Failure::with(ExitStatus::Failure))?;
        if status.success() { Ok(()) } else { Err(Failure::new(ExitStatus::Failure, "cannot attach the card")) }
    }

    fn daemon(&self, xen_dir: &Path, arguments: &[String]) -> Result<Process, Failure> {
        let mut command = Command::new(daemon_program()?);
        command.arg("--xen").arg(format!("emu:{}", xen_dir.display())).args(arguments);
        // The user's configuration does not apply to the demo, and the daemon's log would disturb the progress bar.
        command.arg("--config").arg("/dev/null").args(["--log", "error"]);
        let mut daemon = Process::start("vsndd", &mut command)?;
        daemon.first_line(&self.stop)?;
        Ok(daemon)
    }

    fn guest(
        &self,
        xen_dir: &Path,
        doing: &'static str,
        total_frames: u64,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<GuestReport, Failure> {
        let mut command = Command::new(own_program()?);
        arguments(&mut command);
        command.arg("--xen").arg(format!("emu:{}", xen_dir.display())).args(["--domain", "1", "--progress", "json"]);
        command.args(["--period-ms", &self.arguments.period_ms.to_string()]);
        let bar = if self.arguments.json { ProgressBar::hidden() } else { progress_bar(doing, Some(total_frames)) };
        let mut guest = Process::start("guest", &mut command)?;
        let mut report = None;
        while let Some(line) = guest.line_or_stop(&self.stop, None)? {
            match serde_json::from_str(&line) {
                Ok(GuestLine::Progress { frames }) => bar.set_position(frames),
                Ok(GuestLine::Report(finished)) => report = Some(finished),
                Err(error) => return Err(Failure::new(ExitStatus::Failure, format!("guest said `{line}`: {error}"))),
            }
        }
        bar.finish_and_clear();
        guest.wait()?;
        report.ok_or_else(|| Failure::new(ExitStatus::Failure, "the guest ended without a report"))
    }
}

fn frames(audio: &WavAudio) -> u64 {
    let frame_bytes = audio.format.frame_bytes(audio.channels).unwrap_or(1).max(1);
    audio.data.len() as u64 / u64::from(frame_bytes)
}

fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(Failure::with(ExitStatus::Failure))
}

/// The daemon that was built or installed together with us.
fn daemon_program() -> Result<PathBuf, Failure> {
    let beside = own_program()?.with_file_name("vsndd");
    if beside.exists() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join("vsndd")).find(|program| program.exists()).ok_or_else(|| {
        Failure::new(
            ExitStatus::NoDaemon,
            format!("vsndd is neither beside {} nor in PATH: build it with `make build`", beside.display()),
        )
    })
}

/// A process of the demo; killed when dropped.
struct Process {
    name: &'static str,
    child: Child,
    out: Option<BufReader<ChildStdout>>,
}

impl Process {
    fn start(name: &'static str, command: &mut Command) -> Result<Self, Failure> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A terminal's Ctrl-C is for the demo alone, which ends its processes in their order.
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::new(ExitStatus::Failure, format!("cannot start {name}: {error}")))?;
        let out = child.stdout.take().map(BufReader::new);
        Ok(Self { name, child, out })
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        let Some(out) = &mut self.out else { return Ok(None) };
        let mut line = String::new();
        let bytes = out.read_line(&mut line).map_err(Failure::with(ExitStatus::Failure))?;
        Ok((bytes > 0).then(|| line.trim_end().to_owned()))
    }

    /// Works as [`line`](Self::line), but waits for it until the user wants an end, or `patience` is over.
    fn line_or_stop(&mut self, stop: &UnixStream, patience: Option<Duration>) -> Result<Option<String>, Failure> {
        if let Some(out) = self.out.as_ref().filter(|out| out.buffer().is_empty()) {
            let limit = patience.map(Timespec::try_from).transpose().map_err(Failure::with(ExitStatus::Failure))?;
            let mut events = [PollFd::new(out.get_ref(), PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, limit.as_ref()))
                .map_err(Failure::with(ExitStatus::Failure))?;
            if !events[1].revents().is_empty() {
                return Err(Failure::new(ExitStatus::Failure, "interrupted"));
            }
            if ready == 0 {
                let message = format!("{} was not ready within {} s", self.name, PATIENCE.as_secs());
                return Err(Failure::new(ExitStatus::Failure, message));
            }
        }
        self.line()
    }

    /// Waits for the first line, with which the process says that it is ready.
    fn first_line(&mut self, stop: &UnixStream) -> Result<(), Failure> {
        match self.line_or_stop(stop, Some(PATIENCE))? {
            Some(_) => Ok(()),
            None => {
                self.wait()?;
                Err(Failure::new(ExitStatus::Failure, format!("{} ended at once", self.name)))
            }
        }
    }

    fn stop(mut self) -> Result<(), Failure> {
        let pid = rustix::process::Pid::from_child(&self.child);
        // The process may have ended by itself; only its status matters.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        self.wait()
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().map_err(Failure::with(ExitStatus::Failure))? {
                Some(status) if status.success() => return Ok(()),
                // The process has printed the reason.
                Some(status) if status.code().is_some() => {
                    return Err(Failure::silent(ExitStatus::from_code(status.code().unwrap_or(1))));
                }
                Some(status) => return Err(Failure::new(ExitStatus::Lost, format!("{}: {status}", self.name))),
                None if Instant::now() > deadline => {
                    return Err(Failure::new(ExitStatus::Failure, format!("{} does not end", self.name)));
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
