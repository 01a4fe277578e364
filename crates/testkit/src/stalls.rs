//! Measurement of the machine's stalls: a busy host takes a virtual machine's processors away for up to a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Time between two clock readings of the thread on each processor.
const STEP: Duration = Duration::from_millis(5);

/// Lateness of a reading that is not counted, since other threads have their turns.
const ORDINARY: Duration = Duration::from_millis(30);

/// Threads, one on each processor, that read the clock until this value is dropped.
pub(crate) struct Stalls {
    stop: Arc<AtomicBool>,
    stood_still_ms: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Stalls {
    pub(crate) fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stood_still_ms = Arc::new(AtomicU64::new(0));
        let ours = sched_getaffinity(None).expect("a process may know its processors");
        let watch = |cpu| {
            let (stop, stood_still_ms) = (Arc::clone(&stop), Arc::clone(&stood_still_ms));
            let look = move || {
                let mut only = CpuSet::new();
                only.set(cpu);
                sched_setaffinity(None, &only).expect("it is one of ours");
                let mut last = Instant::now();
                while !stop.load(Ordering::Acquire) {
                    std::thread::sleep(STEP);
                    let late = last.elapsed().saturating_sub(STEP);
                    if late > ORDINARY {
                        let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
                        stood_still_ms.fetch_add(late_ms, Ordering::AcqRel);
                    }
                    last = Instant::now();
                }
            };
            std::thread::Builder::new().name(format!("clock-{cpu}")).spawn(look).expect("a thread")
        };
        let threads = (0..CpuSet::MAX_CPU).filter(|&cpu| ours.is_set(cpu)).map(watch).collect();
        Self { stop, stood_still_ms, threads }
    }

    /// Total time of stalls, summed over the processors.
    pub(crate) fn stood_still(&self) -> Duration {
        Duration::from_millis(self.stood_still_ms.load(Ordering::Acquire))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // The thread has no result; a failed one has reported its panic already.
            let _ = thread.join();
        }
    }
}
