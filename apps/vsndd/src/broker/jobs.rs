//! Questions to several workers at the same time, and who asked. A worker that does not answer in time is not waited
//! for.

use std::collections::{BTreeMap, BTreeSet};

use control::Target;
use xen::DomainId;

use crate::overrides::Entry;
use crate::server::{ClientId, Peer};

/// Time to wait for answers.
const PATIENCE_NS: u64 = 2_000_000_000;

/// Reason for which workers are asked.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A client wants the list.
    List(ClientId),
    /// Clients of the metrics socket want the metrics.
    Metrics,
    /// A new configuration took effect.
    Reload { client: Option<ClientId>, message: String },
    /// Guests are to follow an override.
    Decide { client: ClientId, peer: Peer, target: Target, entry: Entry, text: String },
    /// Cards are to be disconnected.
    Disconnect { client: ClientId, peer: Peer, target: Target },
    /// Overrides of guests were forgotten.
    Forget { client: ClientId, message: String },
}

/// A question to workers.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) purpose: Purpose,
    waiting: BTreeSet<DomainId>,
    ends_ns: u64,
    /// Guests that the question concerns: those whose worker did not deny it.
    pub(super) concerned: BTreeSet<DomainId>,
    /// Guests whose worker has done it.
    pub(super) done: BTreeSet<DomainId>,
    /// Number of streams that the question concerns.
    pub(super) streams: usize,
    /// True if a worker has such streams, but only of the direction that the question is not about.
    pub(super) other_direction: bool,
    /// Number of workers that did not answer.
    pub(super) missing: usize,
}

/// All questions that are open.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    open: BTreeMap<u64, Job>,
    count: u64,
}

impl Jobs {
    /// Opens a question to `workers` and returns its number.
    pub(super) fn open(&mut self, purpose: Purpose, workers: BTreeSet<DomainId>, now_ns: u64) -> u64 {
        self.count += 1;
        let ends_ns = now_ns + PATIENCE_NS;
        let job = Job {
            purpose,
            concerned: workers.clone(),
            waiting: workers,
            done: BTreeSet::new(),
            ends_ns,
            streams: 0,
            other_direction: false,
            missing: 0,
        };
        self.open.insert(self.count, job);
        self.count
    }

    /// Adds guests that a question concerns, though no worker of theirs can answer.
    pub(super) fn concern(&mut self, job: u64, guests: BTreeSet<DomainId>) {
        if let Some(job) = self.open.get_mut(&job) {
            job.concerned.extend(guests);
        }
    }

    /// Notes a worker's answer with `note`, or that there will be none.
    pub(super) fn answered(&mut self, job: u64, worker: DomainId, note: impl FnOnce(&mut Job)) {
        if let Some(job) = self.open.get_mut(&job)
            && job.waiting.remove(&worker)
        {
            note(job);
        }
    }

    /// Takes a question that all workers answered, or whose time is over.
    pub(super) fn take_done(&mut self, now_ns: u64) -> Option<Job> {
        let done = |job: &Job| job.waiting.is_empty() || now_ns >= job.ends_ns;
        let number = self.open.iter().find(|(_, job)| done(job)).map(|(number, _)| *number)?;
        let mut job = self.open.remove(&number)?;
        job.missing += job.waiting.len();
        Some(job)
    }

    /// Returns true if the metrics are being asked for.
    pub(super) fn has_metrics(&self) -> bool {
        self.open.values().any(|job| matches!(job.purpose, Purpose::Metrics))
    }

    /// Time at which the first question is done; 0 if one is answered.
    pub(super) fn next_wake_ns(&self) -> Option<u64> {
        self.open.values().map(|job| if job.waiting.is_empty() { 0 } else { job.ends_ns }).min()
    }
}
