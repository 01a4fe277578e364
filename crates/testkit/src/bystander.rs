//! A second guest that plays while something happens to other guests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use xen::DomainId;

use crate::linux::{Errno, LinuxFrontend, Wish};
use crate::signal::{assert_same, noise};
use crate::stalls::Stalls;
use crate::wait::PATIENCE;
use crate::world::World;

/// The bystander's domain; tests use lower ones.
const GUEST: DomainId = DomainId(77);

/// A Linux guest that plays without a pause until [`assert_undisturbed`](Self::assert_undisturbed).
pub struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome>,
    stalls: Stalls,
}

struct Outcome {
    sound: Vec<u8>,
    /// Bytes at the end that may not have been played, because ALSA stopped waiting for them.
    cut_bytes: usize,
    gaps: u32,
    /// Bytes of `sound` before the first gap and before the last.
    gaps_at: Option<(usize, usize)>,
    registrations: usize,
}

/// Largest buffer of the stock driver; at 16 kHz a second, since a thread of a busy machine may wait for a processor for
/// a third of it. Storms have a bystander of 40 ms.
const BUFFER_FRAMES: u32 = 16_384;
const RATE_HZ: u32 = 16_000;
const BUFFER_BYTES: usize = BUFFER_FRAMES as usize * FRAME_BYTES;
const FRAME_BYTES: usize = 4;
/// A period.
const CHUNK_FRAMES: usize = 2048;

/// Stall of the machine that excuses one gap: half the buffer's time, since the buffer is not always full.
const EXCUSE: Duration = Duration::from_millis(500);

impl Bystander {
    /// Attaches the guest's card and starts playing; returns when the guest plays.
    ///
    /// # Panics
    /// If the card does not appear.
    #[must_use]
    pub fn start(world: &mut World) -> Self {
        let stalls = Stalls::watch();
        world.attach_playback(GUEST);
        let xen = world.enter(GUEST);
        let frontend = LinuxFrontend::probe(&xen);
        frontend.wait_card();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let (plays, playing) = mpsc::channel();
        let play = move || {
            let mut pcm = frontend.open_playback(0, 0).expect("it has a card");
            let wish = Wish { rate_hz: RATE_HZ, ..Wish::stereo(CHUNK_FRAMES as u32, BUFFER_FRAMES) };
            pcm.hw_params(&wish).expect("an ordinary wish");
            pcm.prepare().expect("an ordinary stream");
            let mut outcome = Outcome { sound: Vec::new(), cut_bytes: 0, gaps: 0, gaps_at: None, registrations: 0 };
            let mut seed = 0x5EED;
            while !asked.load(Ordering::Acquire) || outcome.sound.len() <= BUFFER_BYTES {
                seed += 1;
                let chunk = noise(seed, CHUNK_FRAMES * FRAME_BYTES);
                let mut done = 0;
                while done < chunk.len() {
                    match pcm.writei(&chunk[done..]) {
                        Ok(frames) => done += frames * FRAME_BYTES,
                        Err(Errno::EPIPE) => {
                            outcome.gaps += 1;
                            let at = outcome.sound.len() + done;
                            outcome.gaps_at = Some((outcome.gaps_at.map_or(at, |(first, _)| first), at));
                            pcm.prepare().expect("the stream goes on");
                        }
                        Err(error) => panic!("the bystander cannot play on: {error}"),
                    }
                }
                outcome.sound.extend(chunk);
                if outcome.sound.len() > BUFFER_BYTES {
                    // More than one buffer was written, so the device plays. Only the first message is received.
                    let _ = plays.send(());
                }
            }
            match pcm.drain() {
                Ok(()) => {}
                // No period ended within more than the time of a buffer.
                Err(Errno::EIO) => {
                    outcome.gaps += 1;
                    outcome.cut_bytes = BUFFER_BYTES;
                }
                Err(error) => panic!("the bystander cannot play to the end: {error}"),
            }
            outcome.registrations = frontend.registrations();
            outcome
        };
        let thread = std::thread::Builder::new().name("bystander".into()).spawn(play).expect("a thread");
        playing.recv_timeout(PATIENCE).expect("the bystander plays");
        Self { stop, thread, stalls }
    }

    /// Fails if any sound of the guest was lost, changed or late; stalls of the machine excuse lateness.
    ///
    /// # Panics
    /// If the guest was disturbed.
    pub fn assert_undisturbed(self, world: &World) {
        self.stop.store(true, Ordering::Release);
        let outcome = self.thread.join().expect("the bystander plays on");
        assert_eq!(outcome.registrations, 1, "the bystander's card was taken away");
        let (gaps, stood_still) = (outcome.gaps, self.stalls.stood_still());
        assert!(
            EXCUSE * gaps <= stood_still,
            "the bystander heard {gaps} gaps; the machine stood still for {stood_still:?}"
        );
        let stream = format!("{GUEST}-0-0-0");
        let sound = &outcome.sound;
        match outcome.gaps_at {
            // ALSA does not count frames that were written when an underrun was noticed: they are written again, and
            // may be heard twice.
            Some((first, last)) => {
                let heard = world.played(&stream, 1, sound.len() - outcome.cut_bytes);
                assert_same(&heard[..first], &sound[..first]);
                if outcome.cut_bytes == 0 {
                    assert_same(&heard[heard.len() - (sound.len() - last)..], &sound[last..]);
                }
            }
            None if outcome.cut_bytes == 0 => world.assert_played(&stream, 1, sound),
            None => {
                let heard = world.played(&stream, 1, sound.len() - outcome.cut_bytes);
                assert_same(&heard, &sound[..heard.len()]);
            }
        }
    }
}
