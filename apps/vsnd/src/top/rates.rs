//! Rates per second, from counters that only grow: over the last second, so that the display does not flicker.

use std::collections::{HashMap, VecDeque};

use ::control::Status;
use sndif::store::StreamAddress;

/// Minimum span of the daemon's time over which rates are taken.
const WINDOW_MS: u64 = 1000;

/// Notifications of a stream per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Notifications {
    /// From the guest.
    pub(super) incoming: f64,
    /// To the guest.
    pub(super) outgoing: f64,
}

/// The counters of one status.
#[derive(Debug)]
struct Sample {
    pid: u32,
    uptime_ms: u64,
    cpu_ms: u64,
    notifications: HashMap<StreamAddress, (u64, u64)>,
}

/// The counters of the last statuses.
#[derive(Debug, Default)]
pub(super) struct Rates(VecDeque<Sample>);

impl Rates {
    /// Takes the counters of the next status; those of another daemon are forgotten.
    pub(super) fn update(&mut self, status: &Status) {
        let Self(samples) = self;
        if samples.back().is_some_and(|last| last.pid != status.pid || last.uptime_ms > status.uptime_ms) {
            samples.clear();
        }
        let counters = |(id, stream): (StreamAddress, &::control::Stream)| {
            (id, (stream.notifications_in, stream.notifications_out))
        };
        samples.push_back(Sample {
            pid: status.pid,
            uptime_ms: status.uptime_ms,
            cpu_ms: status.cpu_ms,
            notifications: status.streams().map(counters).collect(),
        });
        // The first sample that stays is the youngest that is old enough.
        while samples.get(1).is_some_and(|second| status.uptime_ms - second.uptime_ms >= WINDOW_MS) {
            samples.pop_front();
        }
    }

    /// Processor time that the daemon used, in percent of one processor.
    pub(super) fn cpu_percent(&self) -> Option<f64> {
        let (first, last, seconds) = self.ends()?;
        Some(last.cpu_ms.checked_sub(first.cpu_ms)? as f64 / 10.0 / seconds)
    }

    /// Rates of a stream's notifications; `None` if the stream is new, or its counters began again.
    pub(super) fn notifications(&self, id: StreamAddress) -> Option<Notifications> {
        let (first, last, seconds) = self.ends()?;
        let (before, now) = (first.notifications.get(&id)?, last.notifications.get(&id)?);
        Some(Notifications {
            incoming: now.0.checked_sub(before.0)? as f64 / seconds,
            outgoing: now.1.checked_sub(before.1)? as f64 / seconds,
        })
    }

    fn ends(&self) -> Option<(&Sample, &Sample, f64)> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let elapsed_ms = last.uptime_ms - first.uptime_ms;
        (elapsed_ms > 0).then_some((first, last, elapsed_ms as f64 / 1e3))
    }
}
