//! The broker: keeps track of the guests, of the workers that serve them, and of the settings that hold for them.
//!
//! The broker touches no guest's memory and reads no ring. Each guest with a card gets a worker, which is lent the
//! pages, channels and nodes of that guest. Where a worker ends, hangs or breaks, another is started and the guest
//! connects again. Other guests do not notice.

mod controls;
mod jobs;
mod keeping;
mod launch;
mod log;
mod plugins;
mod worker;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use config::{Config, Settings};
use control::EventKind;
use host_audio::{DeviceOptions, DeviceSpec, ErrorKind, StreamAddress};
use sndif::store::Direction;
use tracing::{error, warn};
use xen::{DomainId, Xen};
use xenstore::hub::Hub;

use crate::error::{Ended, Error};
use crate::journal::{Journal, Subject};
use crate::kept::{Kept, now_ms};
use crate::link::Seen;
use crate::poller::Poller;
use crate::server::{Control, Metrics};
use crate::service::{self, Watchdog};
use crate::totals::Totals;

use controls::Controls;
use jobs::Jobs;
pub use launch::{Launch, Processes, Running};
use log::Limit;
use worker::{Remains, Worker};
use workers::{LEAVING_NS, STARTING_MAX};

/// Time that the first workers may take to offer their cards, before the daemon is reported as ready.
const BEGIN_NS: u64 = 5_000_000_000;

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
    /// The hub has more to do than was done in one turn.
    hub_is_busy: bool,
    launch: Box<dyn Launch>,
    config: Config,
    settings: Settings,
    /// Overrides of guests.
    kept: Kept,
    journal: Journal,
    controls: Controls,
    poller: Poller,
    watchdog: Watchdog,
    workers: BTreeMap<DomainId, Worker>,
    /// Workers that are to end, and the times at which they are killed.
    leaving: Vec<(DomainId, Remains, u64)>,
    log_limit: Limit,
    /// Guests that have to wait for another worker: length of the wait, and its end.
    held_off: BTreeMap<DomainId, (u64, u64)>,
    /// Guests whose workers are started once fewer others are starting.
    queued: BTreeSet<DomainId>,
    jobs: Jobs,
    /// Time of the start, in milliseconds since 1970.
    started_ms: u64,
    /// Counts of the workers that are gone.
    past: Seen,
    /// Guests whose directories changed.
    dirty: BTreeSet<DomainId>,
    backend_path: String,
}

impl Daemon {
    /// Creates the daemon and logs which of the configured host devices are missing. `store` is our own connection to
    /// the store, the one behind `shared` is for the workers; both are opened while that is still allowed. Workers are
    /// started by `launch`.
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
        let mut journal = Journal::default();
        for (device, reason) in check_devices(config.devices())? {
            journal.push_of(EventKind::Lost, Subject::default(), Some(&device), reason);
        }
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
            kept: Kept::default(),
            journal,
            controls: Controls::default(),
            poller,
            watchdog: Watchdog::from_env(),
            workers: BTreeMap::new(),
            leaving: Vec::new(),
            log_limit: Limit::default(),
            held_off: BTreeMap::new(),
            queued: BTreeSet::new(),
            jobs: Jobs::default(),
            started_ms: now_ms(),
            past: Seen::default(),
            dirty: BTreeSet::new(),
            backend_path,
        })
    }

    /// Offers the cards that the toolstack has attached so far. A program that is told that the daemon serves finds
    /// them offered.
    ///
    /// # Errors
    /// [`Error::System`] when waiting fails.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.rescan();
        let ends_ns = self.poller.now_ns() + BEGIN_NS;
        self.serve_dirty(self.poller.now_ns());
        while (self.starting() > 0 || !self.queued.is_empty()) && self.poller.now_ns() < ends_ns {
            if self.turn(Some(ends_ns))?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Serves until `stop` becomes readable or Xen is gone. Then every guest is told that its card goes, and files are
    /// completed.
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

    /// Waits for events, until `until_ns` at the latest, and handles them.
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
                // Served below, together with the workers' views of the store.
                HUB_TOKEN => {}
                token if token >= METRICS_TOKEN => self.controls_woke(token, now_ns),
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
            self.expire_overrides(now_ns);
            self.serve_dirty(now_ns);
            self.serve_controls(now_ns);
            self.watchdog.alive(now_ns);
        }
        Ok(ended)
    }

    fn next_wake_ns(&self) -> Option<u64> {
        let busy = self.workers.values().any(Worker::is_busy);
        let changed = !self.dirty.is_empty() || self.can_start();
        if busy || self.hub_is_busy || changed || self.store.has_events() || self.controls.is_busy() {
            return Some(0);
        }
        let workers = self.workers.values().map(Worker::next_wake_ns);
        let leaving = (!self.leaving.is_empty()).then(|| self.poller.now_ns() + LEAVING_NS);
        let held_off = self.held_off.values().map(|(_, until_ns)| *until_ns).filter(|until_ns| *until_ns != u64::MAX);
        let others = [
            self.watchdog.next_wake_ns(),
            self.controls.next_wake_ns(),
            self.jobs.next_wake_ns(),
            leaving,
            self.next_end_ns(),
        ];
        workers.chain(held_off).chain(others.into_iter().flatten()).min()
    }

    /// Passes on the workers' requests to the store, and the store's answers.
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
            // A worker that ends closes its view first, and may still send messages.
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
        let guests = self.guests();
        self.dirty.extend(guests);
    }

    /// The guests that have a directory.
    fn guests(&mut self) -> BTreeSet<DomainId> {
        let guests = self.store.directory(&self.backend_path).unwrap_or_default();
        guests.iter().filter_map(|guest| guest.parse::<DomainId>().ok()).collect()
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
        let starting = self.starting();
        let due = self.held_off.iter_mut().filter(|(_, (_, until_ns))| now_ns >= *until_ns);
        for (guest, (_, until_ns)) in due {
            *until_ns = u64::MAX;
            self.dirty.insert(*guest);
        }
        let next = std::iter::from_fn(|| self.queued.pop_first());
        self.dirty.extend(next.take(STARTING_MAX.saturating_sub(starting)));
        for guest in std::mem::take(&mut self.dirty) {
            if let Err(error) = self.look_at(guest, now_ns)
                && !self.store.is_closed()
            {
                error!("domain {guest}: {error}");
            }
        }
    }

    /// Counts of all workers, including those that are gone.
    fn totals(&self) -> Totals {
        let mut totals = self.past.totals;
        self.workers.values().for_each(|worker| totals += &worker.seen.totals);
        totals
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for (_, worker) in std::mem::take(&mut self.workers) {
            worker.abandon(true);
        }
        self.leaving.iter_mut().for_each(|(_, remains, _)| remains.kill());
    }
}

/// Logs and returns the host devices that are missing, and why.
///
/// # Errors
/// A device is of a kind that this program was built without.
fn check_devices<'a>(
    devices: impl Iterator<Item = (&'a DeviceSpec, Direction)>,
) -> Result<Vec<(String, String)>, host_audio::Error> {
    let nobody = StreamAddress { domain: 0, card: 0, pcm: 0, stream: 0 };
    let mut missing = Vec::new();
    for (device, direction) in devices {
        match device.device(&DeviceOptions::default()).check(&nobody, direction) {
            Ok(()) => {}
            Err(error) if *error.kind() == ErrorKind::NotBuilt => return Err(error),
            Err(error) => {
                warn!("{direction} device `{device}`: {error}; it is tried again when a stream needs it");
                missing.push((device.to_string(), error.to_string()));
            }
        }
    }
    Ok(missing)
}
