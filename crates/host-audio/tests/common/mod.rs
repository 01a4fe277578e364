//! What tests with a device that keeps its own time share.

#![allow(dead_code, reason = "every test uses a part")]

use host_audio::{DeviceOptions, DeviceSpec, HostDevice, Pacing, Sink, StreamLabel, StreamSpec, WhenAbsent};
use rustix::event::{PollFd, PollFlags, poll};
use sndif::Format;
use std::time::{Duration, Instant};

pub const WHO: StreamLabel = StreamLabel { domain: 7, card: 0, pcm: 0, stream: 0 };
pub const SPEC: StreamSpec =
    StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 4_800 };
/// How long something may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn device(name: &str) -> Box<dyn HostDevice> {
    device_with(name, WhenAbsent::Refuse)
}

pub fn device_with(name: &str, absent: WhenAbsent) -> Box<dyn HostDevice> {
    let options = DeviceOptions { absent, title: "studio: card 0 out".into() };
    name.parse::<DeviceSpec>().unwrap().device(&options)
}

/// Waits for the pacing descriptor; false after a second.
pub fn paced(pacing: Pacing<'_>) -> bool {
    let Pacing::Device(fd) = pacing else { panic!("such a device paces itself") };
    let second = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&second)).unwrap() == 1
}

/// Plays all of `frames` as the daemon would, then waits until it was heard.
pub fn play(sink: &mut dyn Sink, frame_bytes: usize, mut frames: &[u8]) {
    sink.start().unwrap();
    loop {
        let taken = sink.write(frames).unwrap();
        frames = &frames[taken * frame_bytes..];
        if frames.is_empty() && sink.queued_frames() == 0 {
            return;
        }
        assert!(paced(sink.pacing()), "{} frames queued", sink.queued_frames());
        sink.acknowledge().unwrap();
    }
}

/// Octets of which no stretch is like another.
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
    let mut octets = vec![0; frames * spec.frame_bytes()];
    pcm::Converter::new(Format::F64Le, spec.format).unwrap().convert(&exact, &mut octets);
    octets
}

/// What a stretch of sound is, taken for a sine.
#[derive(Debug, Clone, Copy)]
pub struct Tone {
    pub hz: f64,
    pub amplitude: f64,
    /// What is left without the sine, as a part of it.
    pub residue: f64,
}

/// The tone of `samples`, by the times at which they cross zero upwards; `None` where there are not two.
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
