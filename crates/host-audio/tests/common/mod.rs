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
