//! Waiting with a bound.

use std::time::{Duration, Instant};

/// How long something may take that is there in milliseconds on an idle machine; it matters to tests that fail only.
pub const PATIENCE: Duration = Duration::from_secs(60);

const STEP: Duration = Duration::from_millis(1);

/// Whether `condition` holds before `timeout` is over.
pub fn eventually(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

/// What `attempt` gives in the end.
///
/// # Panics
/// When it gave nothing within [`PATIENCE`]; `what` says for what was waited.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(PATIENCE, || {
        found = attempt();
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}
