//! Waiting with a bound.

use std::time::{Duration, Instant};

/// Time limit for an event that takes milliseconds on an idle machine. Only failing tests wait that long.
pub const PATIENCE: Duration = Duration::from_secs(60);

const STEP: Duration = Duration::from_millis(1);

/// Waits until `condition` holds; returns false after `timeout`.
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

/// Calls `attempt` until it returns a value.
///
/// # Panics
/// If it returns none within [`PATIENCE`]; `what` names the awaited event.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(PATIENCE, || {
        found = attempt();
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}
