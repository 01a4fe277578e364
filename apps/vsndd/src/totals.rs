//! Counts of events and latencies since the start.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use sndif::store::Direction;

/// Upper bounds of the latency histogram's buckets in microseconds; the last bucket has no bound.
pub(crate) const LATENCY_BOUNDS_US: [u64; 12] =
    [1_000, 2_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000, 250_000, 1_000_000];

/// Kind of a guest's violation of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Impossible indices of a ring.
    Ring,
    /// A request that cannot be parsed.
    Request,
    /// An invalid page directory.
    Directory,
    /// Pages that cannot be mapped.
    Grant,
    /// Invalid store nodes.
    Nodes,
}

impl Violation {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Ring, "ring"),
        (Self::Request, "request"),
        (Self::Directory, "directory"),
        (Self::Grant, "grant"),
        (Self::Nodes, "nodes"),
    ];
}

/// Histogram of the latencies of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Latencies {
    /// Counts by [`LATENCY_BOUNDS_US`], not cumulated.
    pub(crate) buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    pub(crate) sum_us: u64,
}

/// Counts of events and latencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    violations: [u64; Violation::ALL.len()],
    /// Times that a host device went away from under a stream.
    pub(crate) devices_lost: u64,
    /// Times that a host device came back.
    pub(crate) devices_back: u64,
    /// OPENs that were refused.
    pub(crate) opens_refused: u64,
    /// Times that a card was connected.
    pub(crate) connections: u64,
    /// Latencies of playback and of capture.
    latencies: [Latencies; 2],
}

impl Totals {
    /// Counts a violation.
    pub(crate) fn violation(&mut self, kind: Violation) {
        self.violations[kind as usize] += 1;
    }

    /// Number of violations, by kind.
    pub(crate) fn violations(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Violation::ALL.into_iter().map(|(kind, name)| (name, self.violations[kind as usize]))
    }

    /// Counts a latency.
    pub(crate) fn latency(&mut self, direction: Direction, latency_us: u64) {
        let latencies = &mut self.latencies[direction as usize];
        latencies.buckets[LATENCY_BOUNDS_US.partition_point(|&bound| bound < latency_us)] += 1;
        latencies.sum_us += latency_us;
    }

    pub(crate) fn latencies(&self, direction: Direction) -> &Latencies {
        &self.latencies[direction as usize]
    }
}

impl AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        let Self { violations, devices_lost, devices_back, opens_refused, connections, latencies } = self;
        // A worker's counts are not trusted: the sums must not overflow.
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        violations.iter_mut().zip(other.violations).for_each(|(sum, more)| add(sum, more));
        add(devices_lost, other.devices_lost);
        add(devices_back, other.devices_back);
        add(opens_refused, other.opens_refused);
        add(connections, other.connections);
        for (sums, more) in latencies.iter_mut().zip(&other.latencies) {
            sums.buckets.iter_mut().zip(more.buckets).for_each(|(sum, more)| add(sum, more));
            add(&mut sums.sum_us, more.sum_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_first_bucket_that_holds_it() {
        let mut totals = Totals::default();
        for latency in [0, 1_000, 1_001, 2_000_000] {
            totals.latency(Direction::Playback, latency);
        }
        let latencies = totals.latencies(Direction::Playback);
        assert_eq!((latencies.buckets[0], latencies.buckets[1], latencies.buckets[12]), (2, 1, 1));
        assert_eq!(latencies.sum_us, 2_002_001);
        assert_eq!(totals.latencies(Direction::Capture).sum_us, 0);
    }
}
