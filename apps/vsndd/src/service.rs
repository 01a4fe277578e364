//! Messages to the service manager that started the daemon (sd_notify(3)), and the watchdog. Without a manager nothing
//! is sent.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// Says that guests are served; `status` is the line that `systemctl status` shows.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the configuration is being read again; [`reloaded`] has to follow, whatever the outcome.
pub fn reloading() {
    // A manager waits for a reload that began after it had asked: the time tells which reload this is.
    match &NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now.clone()]),
        Err(error) => warn!("cannot read the clock for the service manager: {error}"),
    }
}

/// Says that what [`reloading`] began is over.
pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// Says that the daemon is ending.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("closing the cards")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("the service manager cannot be told: {error}");
    }
}

/// The service manager's watchdog: it ends a daemon whose control thread hangs.
#[derive(Debug)]
pub struct Watchdog {
    interval_ns: Option<u64>,
    next_ns: u64,
}

impl Watchdog {
    /// The watchdog that the environment asks for.
    #[must_use]
    pub fn from_env() -> Self {
        Self::every(sd_notify::watchdog_enabled())
    }

    /// A watchdog that ends the daemon after `limit` without a sign of life; a sign is given twice within that time.
    fn every(limit: Option<Duration>) -> Self {
        let half = |limit: Duration| u64::try_from(limit.as_nanos() / 2).unwrap_or(u64::MAX);
        Self { interval_ns: limit.map(half), next_ns: 0 }
    }

    /// Time of the next sign of life, in nanoseconds of the caller's clock.
    #[must_use]
    pub fn next_wake_ns(&self) -> Option<u64> {
        self.interval_ns.map(|_| self.next_ns)
    }

    /// Gives a sign of life if it is due.
    pub fn alive(&mut self, now_ns: u64) {
        if let Some(interval_ns) = self.interval_ns
            && now_ns >= self.next_ns
        {
            self.next_ns = now_ns.saturating_add(interval_ns);
            tell(&[NotifyState::Watchdog]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_due_twice_within_the_watchdogs_limit() {
        let mut watchdog = Watchdog::every(Some(Duration::from_secs(10)));
        watchdog.alive(7);
        assert_eq!(watchdog.next_wake_ns(), Some(5_000_000_007));
        watchdog.alive(5_000_000_006);
        assert_eq!(watchdog.next_wake_ns(), Some(5_000_000_007), "not yet");
        watchdog.alive(5_000_000_008);
        assert_eq!(watchdog.next_wake_ns(), Some(10_000_000_008));
    }

    #[test]
    fn without_a_watchdog_nobody_wakes() {
        assert_eq!(Watchdog::every(None).next_wake_ns(), None);
    }
}
