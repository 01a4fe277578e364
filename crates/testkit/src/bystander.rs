//! Another guest that plays while something happens elsewhere.

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

/// A Linux guest that plays without a pause until it is asked whether it was disturbed.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome>,
    stalls: Stalls,
}

struct Outcome {
    sound: Vec<u8>,
    /// Bytes at the end that may not have been played: ALSA gave up waiting for them.
    cut_bytes: usize,
    gaps: u32,
    registrations: usize,
}

/// The longest buffer that the stock driver has.
const BUFFER_FRAMES: u32 = 16_384;
const BUFFER_BYTES: usize = BUFFER_FRAMES as usize * FRAME_BYTES;
const FRAME_BYTES: usize = 4;

/// What a machine must have stood still for a gap to be its doing: half the buffer's time, as the buffer is not always full.
const EXCUSE: Duration = Duration::from_millis(170);

impl Bystander {
    /// Attaches the guest's card and lets it play; returns when it does.
    ///
    /// # Panics
    /// When the card does not come.
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
            pcm.hw_params(&Wish::stereo(2048, BUFFER_FRAMES)).expect("an ordinary wish");
            pcm.prepare().expect("an ordinary stream");
            let mut outcome = Outcome { sound: Vec::new(), cut_bytes: 0, gaps: 0, registrations: 0 };
            let mut seed = 0x5EED;
            while !asked.load(Ordering::Acquire) || outcome.sound.len() <= BUFFER_BYTES {
                seed += 1;
                let chunk = noise(seed, 2048 * FRAME_BYTES);
                let mut done = 0;
                while done < chunk.len() {
                    match pcm.writei(&chunk[done..]) {
                        Ok(frames) => done += frames * FRAME_BYTES,
                        Err(Errno::EPIPE) => {
                            outcome.gaps += 1;
                            pcm.prepare().expect("the stream goes on");
                        }
                        Err(error) => panic!("the bystander cannot play on: {error}"),
                    }
                }
                outcome.sound.extend(chunk);
                if outcome.sound.len() > BUFFER_BYTES {
                    // More fits only after some was played; it is listened to once.
                    let _ = plays.send(());
                }
            }
            match pcm.drain() {
                Ok(()) => {}
                // No period ended in the time of more than a buffer.
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

    /// Fails if anything the guest played was lost, changed or late; a machine that stood still meanwhile excuses what is late.
    ///
    /// # Panics
    /// When it was.
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
        if outcome.cut_bytes == 0 {
            world.assert_played(&stream, 1, &outcome.sound);
        } else {
            let heard = world.played(&stream, 1, outcome.sound.len() - outcome.cut_bytes);
            assert_same(&heard, &outcome.sound[..heard.len()]);
        }
    }
}
