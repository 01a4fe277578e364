//! Lifecycle of workers: started where a guest has a card, listened to, watched, replaced if one ends by itself,
//! awaited at the end.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use config::Limits;
use control::EventKind;
use tracing::warn;
use xen::DomainId;

use super::worker::{self, Part, Said, Terms, Worker};
use super::{Daemon, LIVENESS_TOKEN, METRICS_TOKEN, STORE_TOKEN};
use crate::error::{Ended, Error};
use crate::journal::Subject;
use crate::link::{self, Order, Report};

/// Interval at which workers that are to end are checked.
pub(super) const LEAVING_NS: u64 = 10_000_000;
/// Time that an abandoned worker may take to end, before it is killed.
const GONE_NS: u64 = 8_000_000_000;
/// Wait of a guest for another worker after one that ended by itself: doubled each time, up to the maximum.
const HELD_OFF_NS: u64 = 200_000_000;
const HELD_OFF_NS_MAX: u64 = 10_000_000_000;
/// Lifetime from which on a worker's end does not count as a repeated failure.
const LIVED_NS: u64 = 5_000_000_000;
/// Maximum number of guests that are served at the same time.
const WORKERS_MAX: usize = 256;
/// Maximum number of workers that start at the same time: each of more than the processors can start would look hung.
pub(super) const STARTING_MAX: usize = 16;
/// Messages of one worker that are handled in a turn.
const MESSAGES: usize = 256;

impl Daemon {
    /// Starts a worker for a guest that has cards, and has the worker of a guest without cards leave.
    pub(super) fn look_at(&mut self, guest: DomainId, now_ns: u64) -> Result<(), Error> {
        let cards = self.cards_of(guest)?;
        let full = self.workers.len() >= WORKERS_MAX;
        let may_start = full || self.starting() < STARTING_MAX;
        match self.workers.get_mut(&guest) {
            Some(worker) if cards.is_empty() => worker.leave(now_ns),
            Some(_) => {}
            None if cards.is_empty() => drop(self.held_off.remove(&guest)),
            None if self.held_off.get(&guest).is_some_and(|(_, until_ns)| *until_ns != u64::MAX) => {}
            None if self.leaving.iter().any(|(leaving, ..)| *leaving == guest) => {}
            None if !may_start => drop(self.queued.insert(guest)),
            None => {
                let started = if full {
                    Err(io::Error::other(format!("no more than {WORKERS_MAX} guests are served at once")).into())
                } else {
                    self.start(guest)
                };
                if let Err(error) = started {
                    warn!("domain {guest}: no worker: {error}; it is tried again");
                    self.hub.remove(guest.0);
                    self.hold_off(guest, 0, now_ns);
                }
            }
        }
        Ok(())
    }

    /// Number of workers that do not serve yet.
    pub(super) fn starting(&self) -> usize {
        self.workers.values().filter(|worker| !worker.serving).count()
    }

    /// Returns true if a guest waits only until fewer workers are starting, and it may have its own now.
    pub(super) fn can_start(&self) -> bool {
        !self.queued.is_empty() && self.starting() < STARTING_MAX
    }

    /// Names of the cards that the toolstack has attached to a guest.
    pub(super) fn cards_of(&mut self, guest: DomainId) -> Result<Vec<String>, Error> {
        match self.store.directory(&format!("{}/{guest}", self.backend_path)) {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            cards => Ok(cards?),
        }
    }

    /// The guests to which the toolstack has attached cards.
    pub(super) fn guests_with_cards(&mut self) -> BTreeSet<DomainId> {
        let mut guests = self.guests();
        guests.retain(|guest| self.cards_of(*guest).is_ok_and(|cards| !cards.is_empty()));
        guests
    }

    pub(super) fn start(&mut self, guest: DomainId) -> Result<(), Error> {
        // Twice the limit of the guest's buffers: for rings, directories and what is in flight.
        let bytes = self.config.limits.buffer_bytes_per_domain.unwrap_or(Limits::BUFFER_BYTES_PER_DOMAIN);
        let pages_max = usize::try_from(bytes / sndif::PAGE_BYTES as u64).unwrap_or(usize::MAX).saturating_mul(2);
        let who = self.recognise(guest);
        let begin = Order::Begin { settings: self.settings.clone(), overrides: self.kept.of(&who) };
        let terms = Terms { pages_max: pages_max.max(4096), who, begin: &begin, limits: &self.config.worker };
        let worker = Worker::start(&self.xen, &mut self.hub, guest, terms, self.launch.as_mut(), &self.poller)?;
        self.workers.insert(guest, worker);
        Ok(())
    }

    pub(super) fn worker_woke(&mut self, token: u64, now_ns: u64) {
        let Some((guest, part)) = worker::part(token) else { return };
        let Some(worker) = self.workers.get_mut(&guest) else { return };
        if let Err(error) = worker.woke(part) {
            match part {
                // The worker may still have messages.
                Part::Lender if worker.is_ending() => {}
                _ => self.lost(guest, &error, now_ns),
            }
        }
    }

    /// Handles the messages of all workers.
    pub(super) fn hear_workers(&mut self, now_ns: u64) {
        let guests: Vec<DomainId> = self.workers.keys().copied().collect();
        for guest in guests {
            // Further messages wait until the other workers had their turn.
            for _ in 0..MESSAGES {
                let Some(worker) = self.workers.get_mut(&guest) else { break };
                worker.relay_log(&mut self.log_limit, now_ns);
                match worker.go_on().and_then(|()| worker.next(now_ns)) {
                    Ok(Some(Said::Report(report))) => self.report(guest, report, now_ns),
                    Ok(Some(Said::Answer(job, answer))) => self.answered(guest, job, answer),
                    Ok(None) => break,
                    Err(_) if worker.is_ending() => self.ended(guest, now_ns),
                    Err(error) => self.lost(guest, &error, now_ns),
                }
            }
        }
    }

    pub(super) fn report(&mut self, guest: DomainId, report: Report, now_ns: u64) {
        let Some(worker) = self.workers.get_mut(&guest) else { return };
        match report {
            Report::Serving => worker.serving = true,
            Report::Cards(cards) => worker.cards = cards,
            Report::Renamed => self.meet(guest, now_ns),
            Report::Stays => {
                worker.stays();
                // The guest may have no card again.
                self.dirty.insert(guest);
            }
            Report::Event(event) => {
                if let Some(event) = link::admitted(event, guest.0) {
                    self.journal.take(event);
                }
            }
            Report::Answer(_) => {}
        }
    }

    /// Replaces workers that are overdue with an answer.
    pub(super) fn watch_over_workers(&mut self, now_ns: u64) {
        let hung = self.workers.iter_mut().filter_map(|(guest, worker)| (!worker.goes_on(now_ns)).then_some(*guest));
        for guest in hung.collect::<Vec<_>>() {
            self.lost(guest, &io::ErrorKind::TimedOut.into(), now_ns);
        }
    }

    /// Cleans up after a worker that ended as it was told.
    pub(super) fn ended(&mut self, guest: DomainId, now_ns: u64) {
        self.let_go(guest, false, now_ns);
        self.held_off.remove(&guest);
        // The guest may have cards again.
        self.dirty.insert(guest);
    }

    /// Gives up a worker that ended by itself or has to be killed; another takes its place soon.
    pub(super) fn lost(&mut self, guest: DomainId, error: &io::Error, now_ns: u64) {
        let Some(worker) = self.workers.get(&guest) else { return };
        let (process, lived_ns) = (worker.process(), now_ns.saturating_sub(worker.started_ns));
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => "ended".to_owned(),
            io::ErrorKind::TimedOut => "does not answer, and is killed".to_owned(),
            _ => format!("is killed: {error}"),
        };
        let process = process.map_or_else(String::new, |process| format!(" (process {process})"));
        warn!("domain {guest}: its worker{process} {reason}");
        // A worker that ended by itself may still be printing why.
        self.let_go(guest, error.kind() != io::ErrorKind::UnexpectedEof, now_ns);
        self.hold_off(guest, lived_ns, now_ns);
        let subject = Subject::of(guest, control::Part::default());
        self.journal.push(EventKind::Worker, subject, format!("its worker {reason}"));
    }

    /// Has a guest wait for another worker; `lived_ns` is the lifetime of the last one.
    fn hold_off(&mut self, guest: DomainId, lived_ns: u64, now_ns: u64) {
        let before_ns = self.held_off.get(&guest).map_or(0, |(delay_ns, _)| *delay_ns);
        let delay_ns = if lived_ns >= LIVED_NS || before_ns == 0 { HELD_OFF_NS } else { before_ns * 2 };
        let delay_ns = delay_ns.min(HELD_OFF_NS_MAX);
        self.held_off.insert(guest, (delay_ns, now_ns + delay_ns));
    }

    pub(super) fn let_go(&mut self, guest: DomainId, kill: bool, now_ns: u64) {
        let Some(worker) = self.workers.remove(&guest) else { return };
        self.hub.remove(guest.0);
        // The loss of the store is noticed at the next wait.
        self.hub_is_busy = self.hub.relay().unwrap_or(true);
        self.past.totals += &worker.seen.totals;
        self.past.cpu_ms += worker.seen.cpu_ms;
        let (remains, owed) = worker.abandon(kill);
        for (job, _) in owed {
            if let Some(job) = job {
                self.jobs.answered(job, guest, |job| job.missing += 1);
            }
        }
        self.leaving.push((guest, remains, now_ns + GONE_NS));
    }

    /// Removes workers that have ended, and kills those that take too long.
    pub(super) fn see_off(&mut self, now_ns: u64) {
        let (dirty, limit) = (&mut self.dirty, &mut self.log_limit);
        self.leaving.retain_mut(|(guest, remains, killed_ns)| {
            if now_ns >= *killed_ns {
                remains.kill();
            }
            let over = remains.is_over(limit, now_ns);
            if over {
                dirty.insert(*guest);
            }
            !over
        });
    }

    /// Has the workers tell their guests that their cards go and complete their files, and waits until they are gone.
    pub(super) fn shut_down(&mut self, ended: Ended) -> Result<(), Error> {
        let now_ns = self.poller.now_ns();
        let ends_ns = now_ns + GONE_NS;
        if ended == Ended::Asked {
            self.workers.values_mut().for_each(|worker| worker.end(now_ns));
        }
        while ended == Ended::Asked && !self.workers.is_empty() && self.poller.now_ns() < ends_ns {
            let mut ready = Vec::new();
            let busy = self.hub_is_busy || self.workers.values().any(Worker::is_busy);
            self.poller.wait(Some(if busy { 0 } else { ends_ns }), |token| ready.push(token))?;
            let now_ns = self.poller.now_ns();
            for token in ready {
                match token {
                    // Without Xen, nothing can be told to guests any more.
                    LIVENESS_TOKEN => return self.shut_down(Ended::XenGone),
                    STORE_TOKEN => self.read_store(),
                    token if token < METRICS_TOKEN => self.worker_woke(token, now_ns),
                    _ => {}
                }
            }
            if self.store.is_closed() || self.relay(now_ns).is_some() {
                return self.shut_down(Ended::XenGone);
            }
            self.hear_workers(now_ns);
            self.watch_over_workers(now_ns);
        }
        // A worker ends when what was lent to it is taken back.
        let guests: Vec<DomainId> = self.workers.keys().copied().collect();
        guests.into_iter().for_each(|guest| self.let_go(guest, false, now_ns));
        while !self.leaving.is_empty() && self.poller.now_ns() < ends_ns {
            self.see_off(self.poller.now_ns());
            std::thread::sleep(Duration::from_nanos(LEAVING_NS));
        }
        Ok(())
    }
}
