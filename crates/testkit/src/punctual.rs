//! A guest with periods of 10 ms and a buffer of 40 ms that measures the latency of the answers to its WRITEs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sndif::v2::{OpenParams, Trigger};

use crate::hostile::HostileGuest;
use crate::stalls::Stalls;
use crate::{Guest, World};

/// Bytes of 10 ms at 48 kHz, two channels of 16 bits.
const PERIOD_BYTES: u32 = 1_920;
const PERIOD: Duration = Duration::from_millis(10);
const BUFFER_PERIODS: u32 = 4;

/// A guest that writes a period every 10 ms.
pub struct Punctual {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, Duration)>,
    since: Instant,
    stalls: Stalls,
}

/// Measurements of a [`Punctual`] guest.
#[derive(Debug, Clone, Copy)]
pub struct Punctuality {
    /// Number of answered WRITEs.
    pub writes: u32,
    /// Number of WRITEs for which there was time.
    pub expected: u32,
    /// The longest time from a WRITE to its answer.
    pub worst: Duration,
    /// Time of the machine's stalls, summed over its processors.
    pub stood_still: Duration,
}

impl Punctual {
    /// Attaches the guest's card and starts playing.
    ///
    /// # Panics
    /// If the daemon does not serve the guest.
    #[must_use]
    pub fn start(world: &mut World, domain: Guest) -> Self {
        world.attach_playback(domain);
        let mut guest = HostileGuest::connected(world, domain, 1);
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let buffer = guest.buffer((PERIOD_BYTES * BUFFER_PERIODS) as usize);
        let play = move || {
            let stream = &mut guest.streams[0];
            stream.open(OpenParams { period_bytes: PERIOD_BYTES, ..buffer.open_params() }).expect("OPEN");
            stream.trigger(Trigger::Start).expect("START");
            let (mut writes, mut worst, mut next) = (0, Duration::ZERO, Instant::now());
            while !asked.load(Ordering::Acquire) {
                let begin = Instant::now();
                stream.write(writes % BUFFER_PERIODS * PERIOD_BYTES, PERIOD_BYTES).expect("WRITE");
                worst = worst.max(begin.elapsed());
                writes += 1;
                // A delay is not recovered by shorter periods.
                next = (next + PERIOD).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            (writes, worst)
        };
        let thread = std::thread::Builder::new().name("punctual".into()).spawn(play).expect("a thread");
        Self { stop, thread, since: Instant::now(), stalls: Stalls::watch() }
    }

    /// Stops the guest and returns its measurements.
    ///
    /// # Panics
    /// If the guest was not served.
    #[must_use]
    pub fn finish(self) -> Punctuality {
        let expected = u32::try_from(self.since.elapsed().as_millis() / PERIOD.as_millis()).expect("a short time");
        self.stop.store(true, Ordering::Release);
        let (writes, worst) = self.thread.join().expect("it was served");
        Punctuality { writes, expected, worst, stood_still: self.stalls.stood_still() }
    }
}
