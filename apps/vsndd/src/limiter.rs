//! Keeps a guest from filling the log.

/// Lines that one guest's device may cause in a window.
const LINES: u32 = 10;
/// Length of the window.
const WINDOW_NS: u64 = 10_000_000_000;

/// Lets so many lines pass in a window and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    window_start_ns: u64,
    lines: u32,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether a line may be written at `now_ns`; `Some(n)` says that `n` were kept back before it.
    pub(crate) fn pass(&mut self, now_ns: u64) -> Option<u64> {
        if now_ns.saturating_sub(self.window_start_ns) >= WINDOW_NS {
            self.window_start_ns = now_ns;
            self.lines = 0;
        }
        if self.lines >= LINES {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut limiter = LogLimiter::default();
        assert_eq!((0..1000).filter_map(|_| limiter.pass(5)).count(), LINES as usize);
        assert_eq!(limiter.pass(5 + WINDOW_NS), Some(990));
    }
}
