//! Keeps a guest from filling the log: one limit, which outlives its streams and connections.

use std::sync::{Arc, Mutex, PoisonError};

/// Lines of a kind that a guest may cause in a window.
const LINES: u32 = 10;
/// Length of the window.
const WINDOW_NS: u64 = 10_000_000_000;

/// Lets a number of lines pass in each window and counts the rest.
#[derive(Debug)]
pub(crate) struct Window {
    lines_max: u32,
    start_ns: u64,
    lines: u32,
    suppressed: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self::of(LINES)
    }
}

impl Window {
    /// A window that lets `lines_max` lines pass.
    pub(crate) fn of(lines_max: u32) -> Self {
        Self { lines_max, start_ns: 0, lines: 0, suppressed: 0 }
    }

    /// Counts a line that is not written.
    pub(crate) fn keep_back(&mut self) {
        self.suppressed += 1;
    }

    /// Tells if a line may be written at `now_ns`; `Some(n)` says that it may, and that `n` were kept back before it.
    pub(crate) fn pass(&mut self, now_ns: u64) -> Option<u64> {
        if now_ns.saturating_sub(self.start_ns) >= WINDOW_NS {
            self.start_ns = now_ns;
            self.lines = 0;
        }
        if self.lines >= self.lines_max {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

type Shared = Arc<Mutex<Window>>;

/// The limit of one guest; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuestLog {
    /// Faults, ordinary events and xruns are counted apart, so that many of one kind hide none of another.
    faults: Shared,
    ordinary: Shared,
    xruns: Shared,
}

impl GuestLog {
    /// Tells if a line about a fault may be written at `now_ns`; `Some(n)` says that `n` of the guest's were kept back
    /// before it.
    pub(crate) fn pass_fault(&self, now_ns: u64) -> Option<u64> {
        pass(&self.faults, now_ns)
    }

    /// Returns true if a line that is not about a fault may be written.
    pub(crate) fn pass_ordinary(&self, now_ns: u64) -> bool {
        pass(&self.ordinary, now_ns).is_some()
    }

    /// Returns true if a line about an xrun may be written.
    pub(crate) fn pass_xrun(&self, now_ns: u64) -> bool {
        pass(&self.xruns, now_ns).is_some()
    }
}

fn pass(window: &Shared, now_ns: u64) -> Option<u64> {
    window.lock().unwrap_or_else(PoisonError::into_inner).pass(now_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_even_when_the_guest_opens_again() {
        let log = GuestLog::default();
        assert_eq!((0..1000).filter_map(|_| log.clone().pass_fault(5)).count(), LINES as usize);
        assert!(log.pass_xrun(5) && log.pass_ordinary(5));
        assert_eq!(log.pass_fault(5 + WINDOW_NS), Some(990));
    }
}
