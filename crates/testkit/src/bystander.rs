//! Another guest that plays while something happens elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use xen::DomainId;

use crate::linux::{LinuxFrontend, Wish};
use crate::signal::noise;
use crate::world::World;

/// The bystander's domain; tests use lower ones.
const GUEST: DomainId = DomainId(77);

/// A Linux guest that plays without a pause until it is asked whether it was disturbed.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome>,
}

struct Outcome {
    sound: Vec<u8>,
    underruns: usize,
    registrations: usize,
}

impl Bystander {
    /// Attaches the guest's card and lets it play.
    ///
    /// # Panics
    /// When the card does not come.
    #[must_use]
    pub fn start(world: &mut World) -> Self {
        world.attach_playback(GUEST);
        let xen = world.enter(GUEST);
        let frontend = LinuxFrontend::probe(&xen);
        frontend.wait_card();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let play = move || {
            // The longest buffer there is: 341 ms.
            let mut pcm = frontend.open_playback(0, 0).expect("it has a card");
            pcm.hw_params(&Wish::stereo(2048, 16_384)).expect("an ordinary wish");
            pcm.prepare().expect("an ordinary stream");
            let mut outcome = Outcome { sound: Vec::new(), underruns: 0, registrations: 0 };
            let mut seed = 0x5EED;
            while !asked.load(Ordering::Acquire) || outcome.sound.len() < 65_536 {
                seed += 1;
                let chunk = noise(seed, 2048 * 4);
                let mut done = 0;
                while done < chunk.len() {
                    match pcm.writei(&chunk[done..]) {
                        Ok(frames) => done += frames * 4,
                        Err(crate::linux::Errno::EPIPE) => {
                            outcome.underruns += 1;
                            pcm.prepare().expect("the stream goes on");
                        }
                        Err(error) => panic!("the bystander cannot play on: {error}"),
                    }
                }
                outcome.sound.extend(chunk);
            }
            pcm.drain().expect("the bystander plays to the end");
            outcome.registrations = frontend.registrations();
            outcome
        };
        let thread = std::thread::Builder::new().name("bystander".into()).spawn(play).expect("a thread");
        Self { stop, thread }
    }

    /// Fails if anything the guest played was lost, changed or late.
    ///
    /// # Panics
    /// When it was.
    pub fn assert_undisturbed(self, world: &World) {
        self.stop.store(true, Ordering::Release);
        let outcome = self.thread.join().expect("the bystander plays on");
        assert_eq!(outcome.registrations, 1, "the bystander's card was taken away");
        assert_eq!(outcome.underruns, 0, "the bystander heard a gap");
        world.assert_played(&format!("{GUEST}-0-0-0"), 1, &outcome.sound);
    }
}
