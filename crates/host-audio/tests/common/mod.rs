//! Shared code of tests with a device that keeps its own time.

#![allow(dead_code, reason = "every test uses a part")]

use host_audio::{
    DeviceOptions, DeviceSpec, Error, Fallback, HostDevice, HostStream, Notice, Pacing, Sink, Source, StreamAddress,
    StreamSpec,
};
use rustix::event::{PollFd, PollFlags, poll};
use sndif::Format;
use sound_servers::{Heard, Kind, Search, Server};
use std::ops::Range;
use std::time::{Duration, Instant};

pub const WHO: StreamAddress = StreamAddress { domain: 7, card: 0, pcm: 0, stream: 0 };
pub const SPEC: StreamSpec =
    StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 4_800 };
/// Time limit for something that has to happen. Only a failure reaches the limit: generous, for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time to wait where nothing should happen.
pub const QUIET: Duration = Duration::from_secs(1);

/// A device that has all the time that it needs to open.
pub fn device(name: &str) -> Box<dyn HostDevice> {
    device_with(name, DeviceOptions { patience: PATIENCE, ..DeviceOptions::default() })
}

/// A device as the daemon uses it where streams go on silently while it is absent: with the default patience, so that
/// the device may be lost for a while on a busy machine like any other.
pub fn silent_device(name: &str) -> Box<dyn HostDevice> {
    device_with(name, DeviceOptions { absent: Fallback::Silence, ..DeviceOptions::default() })
}

/// A device whose streams have a role on a server.
pub fn device_of_role(name: &str, role: &str) -> Box<dyn HostDevice> {
    device_with(name, DeviceOptions { role: Some(role.to_owned()), patience: PATIENCE, ..DeviceOptions::default() })
}

fn device_with(name: &str, options: DeviceOptions) -> Box<dyn HostDevice> {
    let options = DeviceOptions { title: "studio: card 0 out".into(), ..options };
    name.parse::<DeviceSpec>().unwrap().device(&options)
}

/// Opens a device and waits for it, which no part of the daemon may do.
pub trait OpenAndWait {
    fn open_sink(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error>;
    fn open_source(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Source>, Error>;
}

impl<D: HostDevice + ?Sized> OpenAndWait for D {
    fn open_sink(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Sink>, Error> {
        let mut sink = self.begin_sink(who, spec)?;
        await_open(sink.as_mut())?;
        Ok(sink)
    }

    fn open_source(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Box<dyn Source>, Error> {
        let mut source = self.begin_source(who, spec)?;
        await_open(source.as_mut())?;
        Ok(source)
    }
}

fn await_open(stream: &mut dyn HostStream) -> Result<(), Error> {
    loop {
        if let Some(outcome) = stream.opened() {
            return outcome;
        }
        assert!(paced(stream), "neither open nor refused");
    }
}

/// Waits until the device has moved on, and does what is due; false after `patience`.
pub fn paced_within<S: HostStream + ?Sized>(stream: &mut S, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    stream.attend().unwrap();
    loop {
        let (now, wake_at) = (Instant::now(), stream.wake_at());
        let until = wake_at.map_or(deadline, |at| at.min(deadline));
        let Pacing::Device(fd) = stream.pacing() else { panic!("such a device paces itself") };
        let timeout = rustix::time::Timespec::try_from(until.saturating_duration_since(now)).unwrap();
        if poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap() == 1 {
            stream.acknowledge().unwrap();
            return true;
        }
        if wake_at == Some(until) {
            stream.attend().unwrap();
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
    }
}

/// Waits until the device has moved on, however busy the machine is.
pub fn paced<S: HostStream + ?Sized>(stream: &mut S) -> bool {
    paced_within(stream, PATIENCE)
}

/// Does what is due for a stream, as its owner does while it waits for something else.
pub fn tend<S: HostStream + ?Sized>(stream: &mut S) {
    paced_within(stream, Duration::ZERO);
}

/// Waits until the device wakes its stream's owner because it is lost, whatever time says.
pub fn await_loss<S: HostStream + ?Sized>(stream: &mut S) {
    while !matches!(stream.notice(), Some(Notice::Lost(_))) {
        let Pacing::Device(fd) = stream.pacing() else { panic!("such a device paces itself") };
        let timeout = rustix::time::Timespec::try_from(PATIENCE).unwrap();
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap();
        assert_eq!(ready, 1, "the device reports nothing");
        stream.acknowledge().unwrap();
    }
}

/// Plays all of `frames` as the daemon would, then waits until they were heard.
pub fn play(sink: &mut dyn Sink, frame_bytes: usize, mut frames: &[u8]) {
    sink.start().unwrap();
    loop {
        let taken = sink.write(frames).unwrap();
        frames = &frames[taken * frame_bytes..];
        if frames.is_empty() && sink.queued_frames() == 0 {
            return;
        }
        assert!(paced(sink), "{} frames queued", sink.queued_frames());
    }
}

/// Bytes in which no stretch is like another.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A sine on every channel.
pub fn sine(spec: &StreamSpec, hz: f64, amplitude: f64, frames: usize) -> Vec<u8> {
    let sample = |index: usize| amplitude * (std::f64::consts::TAU * hz * index as f64 / f64::from(spec.rate_hz)).sin();
    let channels = usize::from(spec.channels);
    let exact: Vec<u8> = (0..frames * channels).flat_map(|index| sample(index / channels).to_le_bytes()).collect();
    if spec.format == Format::F64Le {
        return exact;
    }
    let mut bytes = vec![0; frames * spec.frame_bytes()];
    pcm::Converter::new(Format::F64Le, spec.format).unwrap().convert(&exact, &mut bytes);
    bytes
}

/// Measures of a stretch of sound, taken as a sine.
#[derive(Debug, Clone, Copy)]
pub struct Tone {
    pub hz: f64,
    pub amplitude: f64,
    /// Part of the sound that is left without the sine.
    pub residue: f64,
}

/// The tone of `samples`, by the times at which they cross zero upwards; `None` where they never do.
pub fn tone(samples: &[f64], rate_hz: u32) -> Option<Tone> {
    let pairs = samples.iter().zip(samples.iter().skip(1)).enumerate();
    let crossings = pairs.filter(|(_, (before, after))| **before < 0.0 && **after >= 0.0);
    let times: Vec<f64> = crossings.map(|(index, (before, after))| index as f64 + before / (before - after)).collect();
    let (first, last) = (times.first()?, times.last()?);
    let hz = (times.len() - 1) as f64 / (last - first) * f64::from(rate_hz);
    let angle = |index: usize| std::f64::consts::TAU * hz * index as f64 / f64::from(rate_hz);
    let part = |wave: fn(f64) -> f64| {
        let sum: f64 = samples.iter().enumerate().map(|(index, sample)| sample * wave(angle(index))).sum();
        2.0 * sum / samples.len() as f64
    };
    let (sine, cosine) = (part(f64::sin), part(f64::cos));
    let rest = |(index, sample): (usize, &f64)| sample - sine * angle(index).sin() - cosine * angle(index).cos();
    let rest: f64 = samples.iter().enumerate().map(rest).map(|rest| rest * rest).sum();
    let all: f64 = samples.iter().map(|sample| sample * sample).sum();
    Some(Tone { hz, amplitude: sine.hypot(cosine), residue: (rest / all).sqrt() })
}

/// Returns true if 200 ms of a recording of a sink of 48 kHz are such a tone on both channels.
pub fn is_tone(format: Format, bytes: &[u8], hz: f64, amplitude: f64) -> bool {
    let samples: Vec<f64> = pcm::samples(format, bytes).map(f64::from).collect();
    let channel = |of: usize| samples.iter().copied().skip(of).step_by(2).collect::<Vec<_>>();
    let ears = [channel(0), channel(1)];
    let part = |ear: &[f64], at: usize| tone(ear.get(at..at + 9_600)?, 48_000);
    let right = |tone: &Option<Tone>| {
        // A tenth of a decibel, and the error of eight bits.
        let is = |tone: &Tone| {
            (tone.hz - hz).abs() < 0.2 && (tone.amplitude / amplitude - 1.0).abs() < 0.012 && tone.residue < 0.02
        };
        tone.as_ref().is_some_and(is)
    };
    (0..ears[0].len()).step_by(2_400).any(|at| ears.iter().all(|ear| right(&part(ear, at))))
}

/// The format in which the server's sink plays without conversion, and frames in it.
pub fn native(kind: Kind, frames: usize) -> (Format, Vec<u8>) {
    match kind {
        Kind::PulseAudio => (Format::S16Le, noise(frames * 4)),
        Kind::PipeWire => {
            let samples =
                noise(frames * 4).as_chunks::<2>().0.iter().map(|&bytes| i16::from_le_bytes(bytes)).collect::<Vec<_>>();
            (Format::F32Le, samples.iter().flat_map(|&sample| (f32::from(sample) / 65_536.0).to_le_bytes()).collect())
        }
    }
}

/// Frames played before the compared ones: a server begins a stream in frames that it has rendered already, and the
/// recorder of a monitor has those already.
pub const PRELUDE_FRAMES: usize = 4_800;

pub fn silence(frames: usize) -> Vec<u8> {
    vec![0; frames]
}

/// A guest that plays without end, and captures.
pub struct Stream<'a> {
    sink: &'a mut dyn Sink,
    source: &'a mut dyn Source,
    accepted: u64,
    last: u64,
    pub captured: u64,
    /// True for the sink and the source while it is without its device, by its last notice.
    lost: [bool; 2],
    /// Frames played over and over instead of silence.
    pub play: Option<Vec<u8>>,
}

impl<'a> Stream<'a> {
    pub fn new(sink: &'a mut dyn Sink, source: &'a mut dyn Source) -> Self {
        sink.start().unwrap();
        source.start().unwrap();
        Self { sink, source, accepted: 0, last: 0, captured: 0, lost: [false; 2], play: None }
    }

    pub fn position(&mut self) -> u64 {
        let position = self.accepted - self.sink.queued_frames();
        assert!(position >= self.last, "back from {} to {position}", self.last);
        self.last = position;
        position
    }

    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let mut block = vec![0; 65_536];
        wait_until(what, || {
            let frames = self.play.clone().unwrap_or_else(|| vec![0; 4 * 4_800]);
            self.accepted += self.sink.write(&frames).unwrap() as u64;
            self.sink.acknowledge().unwrap();
            self.captured += self.source.read(&mut block).unwrap() as u64;
            self.source.acknowledge().unwrap();
            for (lost, notice) in self.lost.iter_mut().zip([self.sink.notice(), self.source.notice()]) {
                match notice {
                    Some(Notice::Lost(_)) => *lost = true,
                    Some(Notice::Back) => *lost = false,
                    None => {}
                }
            }
            done(self)
        });
    }

    /// Returns true if both are without their device.
    pub fn is_lost(&self) -> bool {
        self.lost == [true; 2]
    }

    /// Waits until both use their device, and a tenth of a second passes with it.
    pub fn run_until_used(&mut self, what: &str) {
        let (mut position, mut captured) = (self.position(), self.captured);
        self.run_until(what, |stream| {
            if stream.lost != [false; 2] {
                (position, captured) = (stream.position(), stream.captured);
            }
            stream.position() > position + 4_800 && stream.captured > captured + 4_800
        });
    }

    /// Waits until half a second passes for both without their device. The steadiness is tested in simulated time.
    pub fn run_on_while_lost(&mut self) {
        let (position, captured) = (self.position(), self.captured);
        self.run_until("time goes on", |stream| {
            assert!(stream.is_lost());
            stream.position() > position + 24_000 && stream.captured > captured + 24_000
        });
    }
}

/// Fails unless all of `frames`, played to one device again and again, is captured unchanged from the other, in pieces
/// of 100 ms.
pub fn assert_captured(from: &dyn HostDevice, to: &dyn HostDevice, spec: &StreamSpec, frames: &[u8]) {
    let mut source = from.open_source(&WHO, spec).unwrap();
    source.start().unwrap();
    let mut sink = to.open_sink(&WHO, spec).unwrap();
    let (mut search, mut block) = (Search::new(frames, spec.frame_bytes(), 4_800), vec![0; 65_536]);
    sink.start().unwrap();
    let all = [silence(PRELUDE_FRAMES * spec.frame_bytes()), frames.to_vec()].concat();
    let mut left = all.as_slice();
    wait_until("what is played is captured", || {
        if left.is_empty() {
            left = &all;
        }
        left = &left[sink.write(left).unwrap() * spec.frame_bytes()..];
        tend(&mut *sink);
        paced_within(&mut *source, QUIET);
        let read = source.read(&mut block).unwrap() * spec.frame_bytes();
        search.hear(&block[..read])
    });
}

/// Fails unless a stream whose buffer is two periods of 5 ms, less than a server may keep queued for itself, is played
/// in real time to a device of `server`, and more than its buffer is heard in one piece.
pub fn assert_short_buffer_is_played(server: &Server, to: &dyn HostDevice, kind: Kind) {
    let (format, frames) = native(kind, 24_000);
    let spec = StreamSpec { format, period_frames: 240, buffer_frames: 480, ..SPEC };
    let recording = server.record();
    let mut sink = to.open_sink(&WHO, &spec).unwrap();
    // A busy machine makes gaps, in this stream more than in any other: hence pieces of 20 ms, most of which were heard
    // at one time or another.
    let mut search = Search::new(&frames, spec.frame_bytes(), 960);
    let (all, mut from) = (search.missing().len(), 0);
    wait_until("most of it is heard", || {
        let begin = Instant::now();
        play(&mut *sink, spec.frame_bytes(), &frames);
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(400), "{kind:?}: half a second was played in {took:?}");
        let heard = recording.since(from);
        from += heard.len();
        search.hear(&heard);
        search.missing().len() * 4 < all
    });
}

/// Frames no two of which are alike, the first with the number `first`.
fn numbered(first: usize, frames: usize) -> Vec<u8> {
    let frame = |number: usize| [(number & 0x7FFF) as i16, (number >> 15) as i16 + 1];
    (first..first + frames).flat_map(frame).flat_map(i16::to_le_bytes).collect()
}

/// Plays numbered frames, with gaps of several lengths made in every way, and returns the numbers of each piece that
/// was played.
pub fn play_with_every_gap(to: &dyn HostDevice) -> Vec<Range<usize>> {
    let mut sink = to.open_sink(&WHO, &SPEC).unwrap();
    let mut runs = Vec::new();
    let mut next = |frames| {
        let first = runs.last().map_or(0, |run: &Range<usize>| run.end);
        runs.push(first..first + frames);
        numbered(first, frames)
    };
    for gap in [200, 900, 1_200, 2_500].map(Duration::from_millis) {
        for way in ["runs dry", "is stopped", "is paused"] {
            play(&mut *sink, 4, &next(9_600));
            match way {
                "runs dry" => std::thread::sleep(gap),
                "is stopped" => {
                    sink.stop().unwrap();
                    std::thread::sleep(gap);
                }
                _ => {
                    let queued = next(sink.room_frames());
                    assert_eq!(sink.write(&queued).unwrap() * 4, queued.len());
                    sink.pause(true).unwrap();
                    std::thread::sleep(gap);
                    sink.pause(false).unwrap();
                }
            }
            if let Some(notice) = sink.notice() {
                panic!("a guest {way} for {gap:?}: {notice:?}");
            }
        }
    }
    play(&mut *sink, 4, &[]);
    std::thread::sleep(QUIET / 2);
    // A sound that is stopped in the middle is not heard to its end, but later ones are.
    sink.write(&silence(4 * 1_920)).unwrap();
    sink.stop().unwrap();
    play(&mut *sink, 4, &next(9_600));
    // The last frames are heard later than the device reports.
    std::thread::sleep(QUIET);
    runs
}

/// Numbers of the frames that were heard; fails where a frame was heard twice, or out of order.
fn numbers_heard(frames: &[[i16; 2]]) -> Vec<usize> {
    let numbers: Vec<usize> = frames.iter().map(|&[low, high]| low as usize + ((high as usize - 1) << 15)).collect();
    let wrong = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(wrong, None, "heard twice, or not in order");
    numbers
}

/// Calls `play` until each piece that was played behind a gap was heard as a whole, at one time or another: a server
/// that did not run in time loses sound of any client, another piece each time.
pub fn assert_heard_behind_every_gap(heard: &Heard, mut play: impl FnMut() -> Vec<Range<usize>>) {
    let mut missing = Vec::new();
    for _ in 0..4 {
        let before = heard.frames().len();
        let runs = play();
        let numbers = numbers_heard(&heard.frames()[before..]);
        let whole = |run: &Range<usize>| numbers.iter().filter(|number| run.contains(number)).count() == run.len();
        let all: Vec<usize> = (0..runs.len()).collect();
        missing = if missing.is_empty() { all } else { missing };
        missing.retain(|&run| !whole(&runs[run]));
        if missing.is_empty() {
            return;
        }
    }
    panic!("never heard as a whole: what was played behind the gaps {missing:?}");
}

/// Output of `pactl` about the sink input with this name.
fn sink_input(server: &Server, name: &str) -> Option<String> {
    let listed = server.pactl(&["list", "sink-inputs"]);
    listed.split("Sink Input #").find(|entry| entry.contains(&format!("media.name = \"{name}\""))).map(str::to_owned)
}

/// State of the sink input of the tests' guest.
pub fn guests(server: &Server) -> String {
    let found = || sink_input(server, "studio: card 0 out");
    wait_until("the stream has its guest's name", || found().is_some());
    found().unwrap()
}

/// Changes a setting of the guest, as a user of the server does.
fn set(server: &Server, command: &str, value: &str) {
    let input = guests(server);
    server.pactl(&[command, input.lines().next().unwrap(), value]);
}

/// Fails unless volume, mute and sink that the user of a server with a memory sets for the tests' guest are reported,
/// outlive the sound and the stream, and do not become those of the host's own programs. `to` leaves the sink to the
/// server.
pub fn assert_what_the_user_sets_stays(server: &Server, to: &str) {
    server.pactl(&["load-module", "module-null-sink", "sink_name=other", "channels=2", "rate=48000"]);
    wait_until("the sink that is not moved to is the default one", || {
        server.pactl(&["set-default-sink", "out"]);
        server.pactl(&["get-default-sink"]).trim() == "out"
    });
    let device = device(to);
    let mut sink = device.open_sink(&WHO, &SPEC).unwrap();
    sink.start().unwrap();
    sink.write(&silence(4 * 9_600)).unwrap();
    let at = |name: &str| {
        let sinks = server.pactl(&["list", "short", "sinks"]);
        let sink = sinks.lines().find(|line| line.contains(&format!("\t{name}\t"))).unwrap();
        format!("Sink: {}\n", sink.split('\t').next().unwrap())
    };
    // A session manager that has not linked the stream yet moves it later to where it would have been.
    wait_until("it is linked", || guests(server).contains(&at("out")));
    set(server, "set-sink-input-volume", "25%");
    set(server, "set-sink-input-mute", "1");
    let other = at("other");
    // WirePlumber loses a move of a stream that it is linking, whatever the stream's owner does. The user sees that,
    // and moves the stream again; a move to the same sink would be no change.
    wait_until("it was moved", || {
        set(server, "move-sink-input", "out");
        set(server, "move-sink-input", "other");
        let patience = Instant::now() + QUIET;
        while !guests(server).contains(&other) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        guests(server).contains(&other)
    });
    let is_told = |sink: &mut dyn Sink| {
        tend(sink);
        let volume = sink.server_volume();
        volume.is_some_and(|volume| (volume.db + 36.12).abs() < 0.1 && volume.muted)
    };
    wait_until("the user's volume is told", || is_told(sink.as_mut()));
    // The next sound, and the next stream.
    sink.stop().unwrap();
    play(sink.as_mut(), 4, &silence(4 * 9_600));
    assert!(is_told(sink.as_mut()), "{:?}", sink.server_volume());
    drop(sink);
    wait_until("it is gone", || sink_input(server, "studio: card 0 out").is_none());
    let mut sink = device.open_sink(&WHO, &SPEC).unwrap();
    sink.start().unwrap();
    wait_until("it is as it was left", || is_told(sink.as_mut()));
    wait_until("it is where it was moved to", || guests(server).contains(&other));
    // A program of the host's own is not affected.
    let _player = server.play_as("music");
    let music = || {
        let listed = server.pactl(&["list", "sink-inputs"]);
        let mut entries = listed.split("Sink Input #");
        let plays = |entry: &&str| entry.contains("media.role = \"music\"") && entry.contains("Corked: no");
        entries.find(plays).map(str::to_owned)
    };
    wait_until("the host's own program plays", || music().is_some());
    let own = music().unwrap();
    assert!(own.contains("100%") && own.contains("Mute: no"), "{own}");
}

/// Returns true if the server keeps its sink running: somebody plays to it, or may at any time.
pub fn sink_runs(server: &Server) -> bool {
    let sinks = server.pactl(&["list", "short", "sinks"]);
    sinks.lines().any(|line| line.contains("\tout\t") && line.ends_with("RUNNING"))
}

/// Fails unless each channel of `server`'s sink `many`, which has an order of its own, is captured at its place on the
/// wire, and each played channel is heard at its speaker.
pub fn assert_each_channel_is_at_its_own_speaker(server: &Server, (sink, source): (&str, &str)) {
    // Speakers in ALSA's order, and in another that a sink may have.
    for (wire, elsewhere) in [
        ("front-left,front-right,rear-left,rear-right", "rear-left,rear-right,front-left,front-right"),
        (
            "front-left,front-right,rear-left,rear-right,front-center",
            "front-left,front-right,front-center,rear-left,rear-right",
        ),
        (
            "front-left,front-right,rear-left,rear-right,front-center,lfe",
            "front-left,front-right,front-center,lfe,rear-left,rear-right",
        ),
        (
            "front-left,front-right,rear-left,rear-right,front-center,lfe,side-left,side-right",
            "front-left,front-right,front-center,lfe,rear-left,rear-right,side-left,side-right",
        ),
    ] {
        let levels: Vec<i16> = (1..).map(|number| number * 1_000).take(wire.split(',').count()).collect();
        let map = format!("channel_map={elsewhere}");
        let module = ["load-module", "module-null-sink", "sink_name=many", "rate=48000", &map];
        let channels = format!("channels={}", levels.len());
        let module = server.pactl(&[&module[..], &[&channels]].concat());
        let player = server.play_levels("many", wire, &levels);
        let spec = StreamSpec { channels: levels.len() as u8, ..SPEC };
        let near = |heard: &[i16]| {
            heard.len() == levels.len() && heard.iter().zip(&levels).all(|(heard, level)| (heard - level).abs() < 10)
        };
        let mut source = device(source).open_source(&WHO, &spec).unwrap();
        source.start().unwrap();
        let mut block = vec![0; 65_536];
        wait_until(&format!("{wire} as it is"), || {
            paced_within(&mut *source, QUIET);
            let read = source.read(&mut block).unwrap() * spec.frame_bytes();
            let last = block[..read].chunks_exact(spec.frame_bytes()).next_back().unwrap_or_default();
            near(&last.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample)).collect::<Vec<_>>())
        });
        drop((source, player));
        let frame: Vec<u8> = levels.iter().flat_map(|level| level.to_le_bytes()).collect();
        let mut sink = device(sink).open_sink(&WHO, &spec).unwrap();
        std::thread::scope(|scope| {
            let heard =
                scope.spawn(|| wait_until(&format!("{wire} is heard"), || near(&server.hear_levels("many", wire))));
            while !heard.is_finished() {
                play(sink.as_mut(), spec.frame_bytes(), &frame.repeat(9_600));
            }
        });
        drop(sink);
        server.pactl(&["unload-module", module.trim()]);
    }
}
