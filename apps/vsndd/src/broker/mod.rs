//! The broker: which guests there are, who serves them, and what holds for them.
//!
//! It touches no guest's memory and reads no ring. A guest with a card gets a worker; what the worker may reach is lent to it here.
//! One that ends, hangs or breaks is started anew, and its guest connects again; nobody else notices.

mod jobs;
mod launch;
mod steering;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use control::EventKind;
use host_audio::{DeviceOptions, DeviceSpec, ErrorKind, StreamLabel};
use sndif::store::Direction;
use tracing::{error, warn};
use xen::{DomainId, Xen};
use xenstore::hub::Hub;

use crate::config::{Config, Limits};
use crate::decisions::Decisions;
use crate::error::{Ended, Error};
use crate::journal::{Journal, Subject};
use crate::link::{Order, Report, Seen};
use crate::poller::Poller;
use crate::server::{Control, Metrics};
use crate::service::{self, Watchdog};
use crate::source::Settings;
use crate::totals::Totals;

use jobs::Jobs;
pub use launch::{Launch, Processes, Running};
use steering::Steering;
use worker::{Part, Said, Worker};

/// How often it is looked whether a worker that was told to end has.
const LEAVING_NS: u64 = 10_000_000;
/// How long the first worker may take to offer its cards, before those who wait for the daemon are told that it serves.
const BEGIN_NS: u64 = 5_000_000_000;
/// How long a worker that has ended may take to be gone.
const GONE_NS: u64 = 8_000_000_000;
/// How long a guest whose worker ended by itself waits for another: twice as long each time, up to the most.
const HELD_OFF_NS: u64 = 200_000_000;
const HELD_OFF_NS_MAX: u64 = 10_000_000_000;
/// A worker that lived for so long was no failure.
const LIVED_NS: u64 = 60_000_000_000;
/// Guests that are served at once.
const WORKERS_MAX: usize = 256;

const STORE_TOKEN: u64 = u64::MAX;
const STOP_TOKEN: u64 = u64::MAX - 1;
const LIVENESS_TOKEN: u64 = u64::MAX - 2;
const HUB_TOKEN: u64 = u64::MAX - 3;
const RELOAD_TOKEN: u64 = u64::MAX - 4;
const CONTROL_TOKEN: u64 = RELOAD_TOKEN - Control::TOKENS;
const METRICS_TOKEN: u64 = CONTROL_TOKEN - Metrics::TOKENS;

/// Watch token of our own backend directory.
const BACKEND_WATCH: &str = "b";
/// Watch token of domains' deaths.
const RELEASE_WATCH: &str = "r";

/// The daemon's state.
pub struct Daemon {
    xen: Xen,
    store: xenstore::Client,
    /// The workers' views of the store.
    hub: Hub,
    /// It has more to do than was done at once.
    hub_is_busy: bool,
    launch: Box<dyn Launch>,
    config: Config,
    settings: Settings,
    decisions: Decisions,
    journal: Journal,
    steering: Steering,
    poller: Poller,
    watchdog: Watchdog,
    workers: BTreeMap<DomainId, Worker>,
    /// Workers that are to end, and when they are killed.
    leaving: Vec<(DomainId, Box<dyn Running>, u64)>,
    /// Guests that have to wait for another worker: for how long, and until when.
    held_off: BTreeMap<DomainId, (u64, u64)>,
    jobs: Jobs,
    /// What workers that are gone have counted.
    past: Seen,
    /// Guests whose directories changed.
    dirty: BTreeSet<DomainId>,
    backend_path: String,
}

impl Daemon {
    /// Says which of the configured host devices are not there. `store` is our own connection to the store, the one behind `shared` is for the workers;
    /// both are opened while that is still allowed. Workers are started by `launch`.
    ///
    /// # Errors
    /// [`Error`]; nothing was announced to any guest then.
    pub fn new(
        xen: Xen,
        mut store: xenstore::Client,
        shared: OwnedFd,
        settings: Settings,
        launch: impl Launch + 'static,
    ) -> Result<Self, Error> {
        let config = settings.config().map_err(io::Error::other)?;
        check_devices(config.devices())?;
        let poller = Poller::new()?;
        poller.add_level(store.as_fd(), STORE_TOKEN)?;
        let hub = Hub::new(shared)?;
        poller.add_both_edges(hub.store(), HUB_TOKEN)?;
        if let Some(fd) = xen.liveness() {
            poller.add_level(fd, LIVENESS_TOKEN)?;
        }
        let backend_path = format!("/local/domain/{}/backend/vsnd", xen.domain());
        store.watch(&backend_path, BACKEND_WATCH)?;
        store.watch("@releaseDomain", RELEASE_WATCH)?;
        Ok(Self {
            xen,
            store,
            hub,
            hub_is_busy: false,
            launch: Box::new(launch),
            config,
            settings,
            decisions: Decisions::default(),
            journal: Journal::default(),
            steering: Steering::default(),
            poller,
            watchdog: Watchdog::from_env(),
            workers: BTreeMap::new(),
            leaving: Vec::new(),
            held_off: BTreeMap::new(),
            jobs: Jobs::default(),
            past: Seen::default(),
            dirty: BTreeSet::new(),
            backend_path,
        })
    }

    /// Offers the cards that the toolstack has attached so far, so that whoever is told that we serve finds them offered.
    ///
    /// # Errors
    /// [`Error::System`] when waiting fails.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.rescan();
        let ends_ns = self.poller.now_ns() + BEGIN_NS;
        self.serve_dirty(self.poller.now_ns());
        while self.workers.values().any(|worker| !worker.serving) && self.poller.now_ns() < ends_ns {
            if self.turn(Some(ends_ns))?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Serves until `stop` becomes readable or Xen is gone. Every guest is told that its card goes, and
    /// files are completed.
    ///
    /// # Errors
    /// [`Error::System`] when waiting fails; a guest's fault is no error.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> Result<Ended, Error> {
        self.poller.add_level(stop, STOP_TOKEN)?;
        let ended = loop {
            if let Some(ended) = self.turn(None)? {
                break ended;
            }
        };
        service::stopping();
        self.poller.remove(stop)?;
        self.shut_down(ended)?;
        Ok(ended)
    }

    /// Waits until something comes, `until_ns` at most, and deals with it.
    fn turn(&mut self, until_ns: Option<u64>) -> Result<Option<Ended>, Error> {
        let mut ready = Vec::new();
        let until = self.next_wake_ns().into_iter().chain(until_ns).min();
        self.poller.wait(until, |token| ready.push(token))?;
        let now_ns = self.poller.now_ns();
        let mut ended = None;
        for token in ready {
            match token {
                STOP_TOKEN => ended = Some(Ended::Asked),
                LIVENESS_TOKEN => ended = Some(Ended::XenGone),
                STORE_TOKEN => self.read_store(),
                // With the views of the store, below.
                HUB_TOKEN => {}
                token if token >= METRICS_TOKEN => self.steering_woke(token, now_ns),
                token => self.worker_woke(token, now_ns),
            }
        }
        if self.store.is_closed() {
            ended = Some(Ended::XenGone);
        }
        ended = ended.or(self.relay(now_ns));
        if ended.is_none() {
            self.hear_workers(now_ns);
            self.watch_over_workers(now_ns);
            self.see_off(now_ns);
            self.serve_dirty(now_ns);
            self.serve_steering(now_ns);
            self.watchdog.alive(now_ns);
        }
        Ok(ended)
    }

    fn next_wake_ns(&self) -> Option<u64> {
        let busy = self.workers.values().any(Worker::is_busy);
        if busy || self.hub_is_busy || !self.dirty.is_empty() || self.store.has_events() || self.steering.is_busy() {
            return Some(0);
        }
        let workers = self.workers.values().map(Worker::next_wake_ns);
        let leaving = (!self.leaving.is_empty()).then(|| self.poller.now_ns() + LEAVING_NS);
        let held_off = self.held_off.values().map(|(_, until_ns)| *until_ns).filter(|until_ns| *until_ns != u64::MAX);
        let others = [self.watchdog.next_wake_ns(), self.steering.next_wake_ns(), self.jobs.next_wake_ns(), leaving];
        workers.chain(held_off).chain(others.into_iter().flatten()).min()
    }

    /// Passes on what workers ask of the store, and what it answers.
    fn relay(&mut self, now_ns: u64) -> Option<Ended> {
        match self.hub.relay() {
            Ok(more) => self.hub_is_busy = more,
            Err(error) => {
                error!("{error}");
                return Some(Ended::XenGone);
            }
        }
        while let Some(guest) = self.hub.take_gone() {
            let guest = DomainId(guest);
            // One that ends closes this first, and may have more to say.
            if self.workers.get(&guest).is_some_and(|worker| !worker.is_ending()) {
                self.lost(guest, &io::ErrorKind::UnexpectedEof.into(), now_ns);
            }
        }
        None
    }

    fn read_store(&mut self) {
        if let Err(error) = self.store.process() {
            error!("{error}");
        }
    }

    /// Marks every guest that has a directory, and every one that is served.
    fn rescan(&mut self) {
        self.dirty.extend(self.workers.keys().copied());
        let guests = self.store.directory(&self.backend_path).unwrap_or_default();
        self.dirty.extend(guests.iter().filter_map(|guest| guest.parse::<DomainId>().ok()));
    }

    fn serve_dirty(&mut self, now_ns: u64) {
        for event in self.store.take_events() {
            let below = event.path.strip_prefix(&self.backend_path).and_then(|path| path.strip_prefix('/'));
            match (event.token.as_str(), below) {
                (RELEASE_WATCH, _) => {
                    self.dirty.extend(self.workers.keys().copied());
                    self.forget_the_gone();
                }
                (_, Some(below)) => {
                    self.dirty.extend(below.split('/').next().and_then(|guest| guest.parse::<DomainId>().ok()))
                }
                (_, None) => self.rescan(),
            }
        }
        let due = self.held_off.iter_mut().filter(|(_, (_, until_ns))| now_ns >= *until_ns);
        for (guest, (_, until_ns)) in due {
            *until_ns = u64::MAX;
            self.dirty.insert(*guest);
        }
        for guest in std::mem::take(&mut self.dirty) {
            if let Err(error) = self.look_at(guest, now_ns)
                && !self.store.is_closed()
            {
                error!("domain {guest}: {error}");
            }
        }
    }

    /// Starts a worker for a guest that has cards, and ends that of one that has none any more.
    fn look_at(&mut self, guest: DomainId, now_ns: u64) -> Result<(), Error> {
        let cards = match self.store.directory(&format!("{}/{guest}", self.backend_path)) {
            Err(error) if error.is_not_found() => Vec::new(),
            cards => cards?,
        };
        let full = self.workers.len() >= WORKERS_MAX;
        match self.workers.get_mut(&guest) {
            Some(worker) if cards.is_empty() => worker.end(now_ns),
            Some(_) => {}
            None if cards.is_empty() => drop(self.held_off.remove(&guest)),
            None if self.held_off.get(&guest).is_some_and(|(_, until_ns)| *until_ns != u64::MAX) => {}
            None if self.leaving.iter().any(|(leaving, ..)| *leaving == guest) => {}
            None if full => {
                warn!("domain {guest}: no more than {WORKERS_MAX} guests are served at once");
            }
            None => self.start(guest)?,
        }
        Ok(())
    }

    fn start(&mut self, guest: DomainId) -> Result<(), Error> {
        // Twice what its buffers may take up, for rings, directories and what is on its way.
        let bytes = self.config.limits.buffer_bytes_per_domain.unwrap_or(Limits::BUFFER_BYTES_PER_DOMAIN);
        let pages_max = usize::try_from(bytes / sndif::PAGE_BYTES as u64).unwrap_or(usize::MAX).saturating_mul(2);
        let begin = Order::Begin { settings: self.settings.clone(), decisions: self.decisions.clone() };
        let worker = Worker::start(
            &self.xen,
            &mut self.hub,
            guest,
            pages_max.max(4096),
            &begin,
            self.launch.as_mut(),
            &self.poller,
        )?;
        self.workers.insert(guest, worker);
        Ok(())
    }

    fn worker_woke(&mut self, token: u64, now_ns: u64) {
        let Some((guest, part)) = worker::part(token) else { return };
        let Some(worker) = self.workers.get_mut(&guest) else { return };
        if let Err(error) = worker.woke(part) {
            match part {
                // It has more to say, perhaps.
                Part::Lender if worker.is_ending() => {}
                _ => self.lost(guest, &error, now_ns),
            }
        }
    }

    /// Takes in what workers say.
    fn hear_workers(&mut self, now_ns: u64) {
        let guests: Vec<DomainId> = self.workers.keys().copied().collect();
        for guest in guests {
            loop {
                let Some(worker) = self.workers.get_mut(&guest) else { break };
                match worker.go_on().and_then(|()| worker.next(now_ns)) {
                    Ok(Some(Said::Report(report))) => self.report(guest, report),
                    Ok(Some(Said::Answer(job, answer))) => self.answered(guest, job, answer),
                    Ok(None) => break,
                    Err(_) if worker.is_ending() => self.ended(guest, now_ns),
                    Err(error) => self.lost(guest, &error, now_ns),
                }
            }
        }
    }

    fn report(&mut self, guest: DomainId, report: Report) {
        let Some(worker) = self.workers.get_mut(&guest) else { return };
        match report {
            Report::Serving => worker.serving = true,
            Report::Cards(cards) => worker.cards = cards,
            // Of another guest it has nothing to say.
            Report::Event(event) if event.domain == Some(guest.0) => self.journal.take(event),
            Report::Event(_) | Report::Answer(_) => {}
        }
    }

    /// Ends workers that do not go on.
    fn watch_over_workers(&mut self, now_ns: u64) {
        let hung = self.workers.iter_mut().filter_map(|(guest, worker)| (!worker.goes_on(now_ns)).then_some(*guest));
        for guest in hung.collect::<Vec<_>>() {
            self.lost(guest, &io::ErrorKind::TimedOut.into(), now_ns);
        }
    }

    /// A worker ended that was to.
    fn ended(&mut self, guest: DomainId, now_ns: u64) {
        self.let_go(guest, false, now_ns);
        self.held_off.remove(&guest);
        // There may be cards again.
        self.dirty.insert(guest);
    }

    /// A worker ended that was not to, or has to be ended; another takes its place soon.
    fn lost(&mut self, guest: DomainId, error: &io::Error, now_ns: u64) {
        let Some(worker) = self.workers.get(&guest) else { return };
        let (process, lived_ns) = (worker.process(), now_ns.saturating_sub(worker.started_ns));
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => "ended".to_owned(),
            io::ErrorKind::TimedOut => "does not answer, and is killed".to_owned(),
            _ => format!("is killed: {error}"),
        };
        let process = process.map_or_else(String::new, |process| format!(" (process {process})"));
        warn!("domain {guest}: its worker{process} {reason}");
        // One that ends may still be saying why.
        self.let_go(guest, error.kind() != io::ErrorKind::UnexpectedEof, now_ns);
        let before_ns = self.held_off.get(&guest).map_or(0, |(delay_ns, _)| *delay_ns);
        let delay_ns = if lived_ns >= LIVED_NS || before_ns == 0 { HELD_OFF_NS } else { before_ns * 2 };
        let delay_ns = delay_ns.min(HELD_OFF_NS_MAX);
        self.held_off.insert(guest, (delay_ns, now_ns + delay_ns));
        let subject = Subject { domain: Some(guest.0), ..Subject::default() };
        self.journal.push(EventKind::Worker, subject, format!("its worker {reason}"));
    }

    fn let_go(&mut self, guest: DomainId, kill: bool, now_ns: u64) {
        let Some(worker) = self.workers.remove(&guest) else { return };
        self.hub.remove(guest.0);
        // A store that is gone is noticed when it is waited for next.
        self.hub_is_busy = self.hub.relay().unwrap_or(true);
        self.past.totals += &worker.seen.totals;
        self.past.cpu_ms += worker.seen.cpu_ms;
        let (running, owed) = worker.abandon(kill);
        for (job, _) in owed {
            if let Some(job) = job {
                self.jobs.answered(job, guest, |job| job.missing += 1);
            }
        }
        self.leaving.push((guest, running, now_ns + GONE_NS));
    }

    /// Looks whether those that are to end have.
    fn see_off(&mut self, now_ns: u64) {
        let dirty = &mut self.dirty;
        self.leaving.retain_mut(|(guest, running, killed_ns)| {
            if now_ns >= *killed_ns {
                running.kill();
            }
            let over = running.is_over();
            if over {
                dirty.insert(*guest);
            }
            !over
        });
    }

    /// After domains died: what was decided about them is of no use any more.
    fn forget_the_gone(&mut self) {
        let mut changed = false;
        for domain in self.decisions.domains() {
            if matches!(self.store.read_opt(&format!("/local/domain/{domain}/name")), Ok(None)) {
                changed |= self.decisions.forget(domain);
            }
        }
        if changed {
            self.keep_decisions();
        }
    }

    /// What all workers, and those that are gone, have counted.
    fn totals(&self) -> Totals {
        let mut totals = self.past.totals;
        self.workers.values().for_each(|worker| totals += &worker.seen.totals);
        totals
    }

    /// Has the workers tell their guests that their cards go and complete their files, and waits until they are gone.
    fn shut_down(&mut self, ended: Ended) -> Result<(), Error> {
        let now_ns = self.poller.now_ns();
        let ends_ns = now_ns + GONE_NS;
        if ended == Ended::Asked {
            self.workers.values_mut().for_each(|worker| worker.end(now_ns));
        }
        while ended == Ended::Asked && !self.workers.is_empty() && self.poller.now_ns() < ends_ns {
            let mut ready = Vec::new();
            self.poller.wait(Some(ends_ns), |token| ready.push(token))?;
            let now_ns = self.poller.now_ns();
            for token in ready {
                match token {
                    // Then there is nothing to be told to guests any more.
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
        // Without what is lent to it a worker ends.
        let guests: Vec<DomainId> = self.workers.keys().copied().collect();
        guests.into_iter().for_each(|guest| self.let_go(guest, false, now_ns));
        while !self.leaving.is_empty() && self.poller.now_ns() < ends_ns {
            self.see_off(self.poller.now_ns());
            std::thread::sleep(Duration::from_nanos(LEAVING_NS));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for (_, worker) in std::mem::take(&mut self.workers) {
            worker.abandon(true);
        }
        self.leaving.iter_mut().for_each(|(_, running, _)| running.kill());
    }
}

/// Says which host devices are not there.
///
/// # Errors
/// One is of a kind that this program was built without.
fn check_devices<'a>(devices: impl Iterator<Item = (&'a DeviceSpec, Direction)>) -> Result<(), host_audio::Error> {
    let nobody = StreamLabel { domain: 0, card: 0, pcm: 0, stream: 0 };
    for (device, direction) in devices {
        match device.device(&DeviceOptions::default()).check(&nobody, direction) {
            Ok(()) => {}
            Err(error) if *error.kind() == ErrorKind::NotBuilt => return Err(error),
            Err(error) => warn!("{direction} device `{device}`: {error}; it is tried again when a stream needs it"),
        }
    }
    Ok(())
}
