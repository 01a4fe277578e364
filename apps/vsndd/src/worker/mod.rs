//! A guest's worker: the process that maps its pages, parses its rings and moves its frames. Waits for events, and
//! gives the streams their turns.
//!
//! A worker reaches Xen through what the broker lends, sees the guest's own part of the store, and is controlled by the
//! broker over a pair of sockets.

mod cards;
mod orders;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use config::Config;
use host_audio::DeviceSpec;
use slotmap::{DefaultKey, Key, KeyData, SlotMap};
use sndif::XenbusState;
use tracing::{error, info};
use xen::{DomainId, Xen};

use crate::device::{Device, DeviceId, Identity, device_in};
use crate::error::{Ended, Error};
use crate::flow;
use crate::journal::Journal;
use crate::limiter::GuestLog;
use crate::link::{Link, Order, Report};
use crate::policy::Policy;
use crate::poller::{Poller, Timers};
use crate::quota::Quota;
use crate::sandbox::Prepared;
use crate::stream::{Served, Stream};
use crate::turn::{After, Turn};
use crate::turns::Turns;

/// Time that streams have for their turns before other work is looked for.
const STREAMS_TURN_NS: u64 = 500_000;

/// Time that devices' nodes are read before the streams get their turn again: reading takes many answers of the store,
/// and on a busy host the store is slow to answer.
const DEVICE_TURN_NS: u64 = 1_000_000;

/// Longest time that a timer is set ahead, so that the entries left behind by replaced timers are bounded.
const HORIZON_NS: u64 = 1_000_000_000;

/// Time that the WAV files may take to be completed at the end.
const FINISH: Duration = Duration::from_secs(5);

const STORE_TOKEN: u64 = u64::MAX;
const LINK_TOKEN: u64 = u64::MAX - 1;
const LIVENESS_TOKEN: u64 = u64::MAX - 2;
/// Set in a stream's token for its host device. Slot numbers stay far below.
const DEVICE_BIT: u64 = 1 << 31;

/// Watch token of our own backend directory.
const BACKEND_WATCH: &str = "b";
/// Watch token of domains' deaths.
const RELEASE_WATCH: &str = "r";
/// Watch token of the guest's name.
const NAME_WATCH: &str = "n";

type StreamKey = DefaultKey;

/// Time that the broker may take to send the first order.
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker's state.
pub(crate) struct Worker {
    guest: DomainId,
    /// Identity of the guest, the same for all of its cards.
    identity: Identity,
    xen: Xen,
    store: xenstore::Client,
    link: Link,
    policy: Policy,
    /// Devices whose libraries are loaded; `None` where any library can be loaded at any time.
    prepared: Option<Prepared>,
    /// True if the guest's devices need a library that only another worker can load.
    outgrown: bool,
    journal: Journal,
    /// Number of events that the broker was told of.
    told: u64,
    /// Number of cards that the broker was told of.
    cards_told: usize,
    log: GuestLog,
    quota: Quota,
    /// Time until which levels are measured.
    measured_until_ns: Option<u64>,
    poller: Poller,
    devices: BTreeMap<DeviceId, Device<StreamKey>>,
    streams: SlotMap<StreamKey, Served>,
    owners: slotmap::SecondaryMap<StreamKey, DeviceId>,
    stream_timers: Timers<StreamKey>,
    device_timers: Timers<DeviceId>,
    /// Streams that have something to do, in the order of their turns.
    busy: VecDeque<StreamKey>,
    /// Devices whose nodes changed.
    dirty: Turns<DeviceId>,
    /// Directories that are not ours; as many as the toolstack makes.
    foreign: BTreeSet<DeviceId>,
    backend_path: String,
    scratch: Vec<u8>,
}

/// Serves `guest` from domain `own` with what is lent over `lent`, until the broker behind `link` ends the worker, or
/// is gone. `confine` is called with the configuration and all devices that it and the overrides name, before anything of
/// the guest's is touched; `attempt` after that, for tests of what a worker can reach.
///
/// # Errors
/// [`Error`]; a guest's fault is none.
pub fn work(
    own: DomainId,
    guest: DomainId,
    lent: OwnedFd,
    link: UnixStream,
    confine: impl FnOnce(&Config, HashSet<DeviceSpec>) -> Result<Option<Prepared>, Error>,
    attempt: impl FnOnce(&Xen, &mut xenstore::Client),
) -> Result<Ended, Error> {
    let mut link = Link::new(link)?;
    let Order::Begin { settings, overrides } = link.wait(PATIENCE)? else {
        return Err(Error::System(io::ErrorKind::InvalidData.into()));
    };
    let policy = Policy { config: settings.config().map_err(io::Error::other)?, overrides };
    let prepared = confine(&policy.config, policy.devices())?;
    let xen = Xen::borrowed(lent, own)?;
    let mut store = xen.store()?;
    attempt(&xen, &mut store);
    let mut worker = Worker::new(guest, xen, store, link, policy, prepared)?;
    worker.run()
}

impl Worker {
    /// Offers the cards that the toolstack has attached so far.
    fn new(
        guest: DomainId,
        xen: Xen,
        mut store: xenstore::Client,
        link: Link,
        policy: Policy,
        prepared: Option<Prepared>,
    ) -> Result<Self, Error> {
        let poller = Poller::new()?;
        poller.add_level(store.as_fd(), STORE_TOKEN)?;
        poller.add_both_edges(&link, LINK_TOKEN)?;
        if let Some(fd) = xen.liveness() {
            poller.add_level(fd, LIVENESS_TOKEN)?;
        }
        let backend_path = format!("/local/domain/{}/backend/vsnd/{guest}", xen.domain());
        store.watch(&backend_path, BACKEND_WATCH)?;
        store.watch("@releaseDomain", RELEASE_WATCH)?;
        store.watch(&format!("/local/domain/{guest}/name"), NAME_WATCH)?;
        let mut worker = Self {
            guest,
            identity: Identity::read(&mut store, guest),
            xen,
            store,
            link,
            policy,
            prepared,
            outgrown: false,
            journal: Journal::default(),
            told: 0,
            cards_told: 0,
            log: GuestLog::default(),
            quota: Quota::default(),
            measured_until_ns: None,
            poller,
            devices: BTreeMap::new(),
            streams: SlotMap::new(),
            owners: slotmap::SecondaryMap::new(),
            stream_timers: Timers::new(),
            device_timers: Timers::new(),
            busy: VecDeque::new(),
            dirty: Turns::new(),
            foreign: BTreeSet::new(),
            backend_path,
            scratch: Vec::with_capacity(flow::SCRATCH_BYTES),
        };
        // The broker may have read the name before the guest had one.
        worker.link.send(&Report::Renamed);
        worker.rescan();
        for id in worker.dirty.take_all() {
            worker.look_at(id, worker.poller.now_ns());
        }
        worker.tell();
        worker.link.send(&Report::Serving);
        Ok(worker)
    }

    /// Serves until the broker ends the worker, or until the broker or Xen is gone.
    fn run(&mut self) -> Result<Ended, Error> {
        let mut ready = Vec::with_capacity(256);
        let ended = loop {
            let until = self.next_wake_ns();
            self.poller.wait(until, |token| ready.push(token))?;
            let now_ns = self.poller.now_ns();
            let mut ended = None;
            for token in ready.drain(..) {
                match token {
                    LIVENESS_TOKEN => ended = Some(Ended::XenGone),
                    LINK_TOKEN => self.link.woke(),
                    STORE_TOKEN => self.read_store(),
                    token => self.stream_woke(token, now_ns),
                }
            }
            if self.store.is_closed() {
                ended = Some(Ended::XenGone);
            }
            if ended.is_none() {
                self.serve_due(now_ns);
                self.serve_dirty(now_ns);
                ended = self.obey(now_ns);
            }
            if let Some(ended) = ended {
                break ended;
            }
        };
        self.shut_down(ended);
        Ok(ended)
    }

    fn next_wake_ns(&self) -> Option<u64> {
        if !self.busy.is_empty() || !self.dirty.is_empty() || self.store.has_events() || self.link.has_message() {
            return Some(0);
        }
        [self.stream_timers.next_ns(), self.device_timers.next_ns(), self.measured_until_ns].into_iter().flatten().min()
    }

    fn stream_woke(&mut self, token: u64, now_ns: u64) {
        let key = StreamKey::from(KeyData::from_ffi(token & !DEVICE_BIT));
        if token & DEVICE_BIT != 0 {
            self.with_stream(key, now_ns, |stream, turn| stream.device_woke(turn));
        } else if let Some(served) = self.streams.get_mut(key) {
            served.stream.guest_woke();
        }
        self.queue(key);
    }

    /// Has a stream wait for its turn.
    fn queue(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            queue(&mut self.busy, key, stream);
        }
    }

    fn with_stream<T>(
        &mut self,
        key: StreamKey,
        now_ns: u64,
        act: impl FnOnce(&mut dyn Stream, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let served = self.streams.get_mut(key)?;
        let mut turn = Turn {
            now_ns,
            xen: &self.xen,
            poller: &self.poller,
            device_token: key.data().as_ffi() | DEVICE_BIT,
            spent_bytes: 0,
            journal: &mut self.journal,
            scratch: &mut self.scratch,
        };
        Some(act(served.stream.as_mut(), &mut turn))
    }

    fn serve_stream(&mut self, key: StreamKey, now_ns: u64) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.queued = false;
        }
        match self.with_stream(key, now_ns, |stream, turn| stream.turn(turn)) {
            None => return,
            Some(After::Idle) => {}
            Some(After::More) => self.queue(key),
            Some(After::Broken(violation)) => {
                self.break_device(key, violation, now_ns);
                return;
            }
        }
        if let Some(served) = self.streams.get_mut(key) {
            let wanted = served.stream.next_wake_ns(&self.poller).map(|at| at.min(now_ns + HORIZON_NS));
            self.stream_timers.schedule(key, &mut served.scheduled_ns, wanted);
        }
    }

    fn serve_due(&mut self, now_ns: u64) {
        while let Some((at, key)) = self.stream_timers.pop_due(now_ns) {
            if let Some(stream) = self.streams.get_mut(key)
                && stream.scheduled_ns == Some(at)
            {
                stream.scheduled_ns = None;
                self.queue(key);
            }
        }
        let (mut now_ns, end_ns) = (now_ns, now_ns + STREAMS_TURN_NS);
        while let Some(key) = self.busy.pop_front() {
            self.serve_stream(key, now_ns);
            if self.busy.is_empty() {
                break;
            }
            now_ns = self.poller.now_ns();
            if now_ns >= end_ns {
                break;
            }
        }
        while let Some((at, id)) = self.device_timers.pop_due(now_ns) {
            if let Some(device) = self.devices.get_mut(&id)
                && device.scheduled_ns == Some(at)
            {
                device.scheduled_ns = None;
                self.dirty.insert(id);
            }
        }
    }

    /// Checks that this worker has the libraries of these devices. A worker that has not ends, and another begins with
    /// them.
    fn suffices_for(&mut self, devices: HashSet<DeviceSpec>) -> bool {
        if self.prepared.as_mut().is_none_or(|prepared| prepared.cover(devices)) {
            return true;
        }
        if !std::mem::replace(&mut self.outgrown, true) {
            info!("domain {}: its devices need other libraries, and with them another worker", self.guest);
        }
        false
    }

    fn read_store(&mut self) {
        if let Err(error) = self.store.process() {
            error!("{error}");
        }
    }

    fn serve_dirty(&mut self, now_ns: u64) {
        for event in self.store.take_events() {
            match event.token.as_str() {
                RELEASE_WATCH => self.dirty.extend(self.devices.keys().chain(&self.foreign).copied()),
                NAME_WATCH => self.identify(now_ns),
                BACKEND_WATCH => {
                    let below = event.path.strip_prefix(&self.backend_path).and_then(|path| path.strip_prefix('/'));
                    match below.and_then(|below| below.split('/').next()?.parse().ok()) {
                        Some(card) => self.dirty.insert(DeviceId { guest: self.guest, card }),
                        None => self.rescan(),
                    }
                }
                token => self.dirty.extend(token.strip_prefix("f/").and_then(device_in)),
            }
        }
        if self.dirty.is_empty() {
            return;
        }
        let end_ns = self.poller.now_ns() + DEVICE_TURN_NS;
        while let Some(id) = self.dirty.take_next() {
            self.look_at(id, now_ns);
            if self.poller.now_ns() >= end_ns {
                break;
            }
        }
    }

    fn look_at(&mut self, id: DeviceId, now_ns: u64) {
        if let Err(error) = self.refresh(id, now_ns)
            && !self.store.is_closed()
        {
            error!("{id}: {error}");
        }
    }

    /// Tells the guest that its cards go, and completes the files.
    fn shut_down(&mut self, ended: Ended) {
        self.streams.clear();
        for (id, device) in std::mem::take(&mut self.devices) {
            if ended == Ended::Asked
                && let Err(error) = device.write_state(&mut self.store, XenbusState::Closed)
            {
                error!("{id}: {error}");
            }
        }
        if !host_audio::finish_all(FINISH) {
            error!("some files were not completed within {} s", FINISH.as_secs());
        }
    }
}

/// Puts a stream into the queue, if it is not there.
fn queue(busy: &mut VecDeque<StreamKey>, key: StreamKey, stream: &mut Served) {
    if !std::mem::replace(&mut stream.queued, true) {
        busy.push_back(key);
    }
}
