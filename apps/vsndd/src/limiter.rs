//! Keeps guests from filling the log. Each guest has one limit, which outlives its streams and connections; all guests together have another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines of a kind that one guest may cause in a window, and all lines of all guests.
const LINES: u32 = 10;
const LINES_OF_ALL: u32 = 100;
/// Length of the window.
const WINDOW_NS: u64 = 10_000_000_000;

/// Lets so many lines pass in a window and counts the rest.
#[derive(Debug, Default)]
struct Window {
    start_ns: u64,
    lines: u32,
    suppressed: u64,
}

impl Window {
    /// Whether a line may be written at `now_ns`; `Some(n)` says that `n` were kept back before it.
    fn pass(&mut self, now_ns: u64, most: u32) -> Option<u64> {
        if now_ns.saturating_sub(self.start_ns) >= WINDOW_NS {
            self.start_ns = now_ns;
            self.lines = 0;
        }
        if self.lines >= most {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

type Shared = Arc<Mutex<Window>>;

/// The limit of one guest; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuestLog {
    /// Faults, ordinary events and xruns are counted apart, so that many of one kind hide none of another.
    faults: Shared,
    ordinary: Shared,
    xruns: Shared,
    all: Shared,
}

impl GuestLog {
    /// Whether a line about a fault may be written at `now_ns`; `Some(n)` says that `n` of the guest's were kept back before it.
    pub(crate) fn pass_fault(&self, now_ns: u64) -> Option<u64> {
        self.pass(&self.faults, now_ns)
    }

    /// The same for what is no fault.
    pub(crate) fn pass_ordinary(&self, now_ns: u64) -> bool {
        self.pass(&self.ordinary, now_ns).is_some()
    }

    /// The same for a line about an xrun.
    pub(crate) fn pass_xrun(&self, now_ns: u64) -> bool {
        self.pass(&self.xruns, now_ns).is_some()
    }

    fn pass(&self, kind: &Shared, now_ns: u64) -> Option<u64> {
        let suppressed = lock(kind).pass(now_ns, LINES)?;
        lock(&self.all).pass(now_ns, LINES_OF_ALL)?;
        Some(suppressed)
    }
}

/// The limits of all guests.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    guests: BTreeMap<u16, GuestLog>,
    all: Shared,
}

impl Logs {
    /// The one of a guest, the same for as long as any part of the guest is served.
    pub(crate) fn of(&mut self, domain: u16) -> GuestLog {
        let all = &self.all;
        self.guests.entry(domain).or_insert_with(|| GuestLog { all: Arc::clone(all), ..GuestLog::default() }).clone()
    }

    /// Forgets guests of which nothing is served any more.
    pub(crate) fn forget_the_gone(&mut self) {
        self.guests.retain(|_, log| Arc::strong_count(&log.faults) > 1);
    }
}

fn lock(window: &Shared) -> MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_whatever_the_guest_opens_anew() {
        let mut logs = Logs::default();
        assert_eq!((0..1000).filter_map(|_| logs.of(7).pass_fault(5)).count(), LINES as usize);
        assert!(logs.of(7).pass_xrun(5) && logs.of(7).pass_ordinary(5));
        assert_eq!(logs.of(7).pass_fault(5 + WINDOW_NS), Some(990));
        assert_eq!(logs.of(8).pass_fault(5), Some(0));
    }

    #[test]
    fn many_guests_together_are_cut_too() {
        let mut logs = Logs::default();
        let passed = (0..1000).filter(|domain| logs.of(*domain).pass_fault(5).is_some()).count();
        assert_eq!(passed, LINES_OF_ALL as usize);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut logs = Logs::default();
        let stays = logs.of(1);
        logs.of(2);
        logs.forget_the_gone();
        assert_eq!(logs.guests.len(), 1);
        drop(stays);
        logs.forget_the_gone();
        assert!(logs.guests.is_empty());
    }
}
