//! The control thread: what it waits for, and whose turn it is.

mod cards;
mod steering;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use host_audio::{DeviceOptions, DeviceSpec, ErrorKind, StreamLabel};
use slotmap::{DefaultKey, Key, KeyData, SlotMap};
use sndif::XenbusState;
use sndif::store::Direction;
use tracing::{error, warn};
use xen::{DomainId, Xen};

use crate::config::Config;
use crate::decisions::Decisions;
use crate::device::{Device, DeviceId, device_in};
use crate::fair::Fair;
use crate::journal::Journal;
use crate::policy::Policy;
use crate::poller::{Poller, Timers};
use crate::quota::Quotas;
use crate::served::Served;
use crate::server::{Control, ListenError, Metrics};
use crate::service::{self, Watchdog};
use crate::turn::{After, Turn};
use crate::turns::Turns;

use steering::Steering;

/// How long streams have their turns before it is seen who else has something to do.
const STREAMS_TURN_NS: u64 = 500_000;

/// How long devices' nodes are looked at before the streams get their turn again: a look takes many answers of the store,
/// and on a busy host the store is slow to answer.
const DEVICE_TURN_NS: u64 = 1_000_000;

/// No timer is set further ahead, so that what an earlier wish leaves behind is bounded.
const HORIZON_NS: u64 = 1_000_000_000;

/// How long the WAV files may take to be completed at the end.
const FINISH: Duration = Duration::from_secs(5);

const STORE_TOKEN: u64 = u64::MAX;
const STOP_TOKEN: u64 = u64::MAX - 1;
const LIVENESS_TOKEN: u64 = u64::MAX - 2;
const RELOAD_TOKEN: u64 = u64::MAX - 3;
const CONTROL_TOKEN: u64 = RELOAD_TOKEN - Control::TOKENS;
const METRICS_TOKEN: u64 = CONTROL_TOKEN - Metrics::TOKENS;
/// Set in a stream's token for its host device. Slot numbers stay far below.
const DEVICE_BIT: u64 = 1 << 31;

/// Watch token of our own backend directory.
const BACKEND_WATCH: &str = "b";
/// Watch token of domains' deaths.
const RELEASE_WATCH: &str = "r";

/// Why the daemon cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Xen refused something.
    #[error(transparent)]
    Xen(#[from] xen::Error),
    /// The store refused something or is gone.
    #[error(transparent)]
    Store(#[from] xenstore::Error),
    /// The system refused something.
    #[error("cannot wait for events: {0}")]
    System(io::Error),
    /// A configured host device cannot be used.
    #[error(transparent)]
    HostDevice(#[from] host_audio::Error),
    /// A socket to be seen and steered by cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

// By hand: the message has its cause already, and a source would say it twice.
impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Self {
        Self::System(cause)
    }
}

/// Why the daemon ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// The emulated Xen, or the store, is gone.
    XenGone,
}

type StreamKey = DefaultKey;

/// The daemon's state.
pub struct Daemon {
    xen: Xen,
    store: xenstore::Client,
    policy: Policy,
    journal: Journal,
    quotas: Quotas,
    steering: Steering,
    poller: Poller,
    devices: BTreeMap<DeviceId, Device<StreamKey>>,
    streams: SlotMap<StreamKey, Served>,
    owners: slotmap::SecondaryMap<StreamKey, DeviceId>,
    stream_timers: Timers<StreamKey>,
    device_timers: Timers<DeviceId>,
    watchdog: Watchdog,
    /// Streams that have something to do.
    busy: Fair<StreamKey>,
    /// Devices whose nodes changed.
    dirty: Turns<DeviceId>,
    /// Directories that are not ours; as many as the toolstack makes.
    foreign: BTreeSet<DeviceId>,
    backend_path: String,
    scratch: Vec<u8>,
}

impl Daemon {
    /// Connects to the store, says which of the configured host devices are not there, and offers the cards that
    /// the toolstack has attached so far.
    ///
    /// # Errors
    /// [`Error`]; nothing was announced to any guest then.
    pub fn new(xen: Xen, config: Config) -> Result<Self, Error> {
        let store = xen.store()?;
        Self::with_store(xen, store, config)
    }

    /// As [`Daemon::new`], with a connection to the store that was opened before, when that was still allowed.
    ///
    /// # Errors
    /// [`Error`]; nothing was announced to any guest then.
    pub fn with_store(xen: Xen, mut store: xenstore::Client, config: Config) -> Result<Self, Error> {
        check_devices(config.devices())?;
        let poller = Poller::new()?;
        poller.add_level(store.as_fd(), STORE_TOKEN)?;
        if let Some(fd) = xen.liveness() {
            poller.add_level(fd, LIVENESS_TOKEN)?;
        }
        let backend_path = format!("/local/domain/{}/backend/vsnd", xen.domain());
        store.watch(&backend_path, BACKEND_WATCH)?;
        store.watch("@releaseDomain", RELEASE_WATCH)?;
        let mut daemon = Self {
            xen,
            store,
            policy: Policy { config, decisions: Decisions::default() },
            journal: Journal::default(),
            quotas: Quotas::default(),
            steering: Steering::default(),
            poller,
            devices: BTreeMap::new(),
            streams: SlotMap::new(),
            owners: slotmap::SecondaryMap::new(),
            stream_timers: Timers::new(),
            device_timers: Timers::new(),
            watchdog: Watchdog::from_env(),
            busy: Fair::new(),
            dirty: Turns::new(),
            foreign: BTreeSet::new(),
            backend_path,
            scratch: Vec::with_capacity(1 << 16),
        };
        // Who is told that we serve finds the cards offered that are there already.
        daemon.rescan();
        for id in daemon.dirty.take_all() {
            daemon.look_at(id, daemon.poller.now_ns());
        }
        Ok(daemon)
    }

    /// Serves until `stop` becomes readable or Xen is gone. Every guest is told that its card goes, and
    /// files are completed.
    ///
    /// # Errors
    /// [`Error::System`] when waiting fails; a guest's fault is no error.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> Result<Ended, Error> {
        self.poller.add_level(stop, STOP_TOKEN)?;
        let mut ready = Vec::with_capacity(256);
        let ended = loop {
            let until = self.next_wake_ns();
            self.poller.wait(until, |token| ready.push(token))?;
            let now_ns = self.poller.now_ns();
            let mut ended = None;
            for token in ready.drain(..) {
                match token {
                    STOP_TOKEN => ended = Some(Ended::Asked),
                    LIVENESS_TOKEN => ended = Some(Ended::XenGone),
                    STORE_TOKEN => self.read_store(),
                    token if token >= METRICS_TOKEN => self.steering_woke(token, now_ns),
                    token => self.stream_woke(token, now_ns),
                }
            }
            if self.store.is_closed() {
                ended = Some(Ended::XenGone);
            }
            if let Some(ended) = ended {
                break ended;
            }
            self.serve_due(now_ns);
            self.serve_dirty(now_ns);
            self.serve_steering(now_ns);
            self.watchdog.alive(now_ns);
        };
        service::stopping();
        self.shut_down(ended);
        Ok(ended)
    }

    fn next_wake_ns(&self) -> Option<u64> {
        if !self.busy.is_empty() || !self.dirty.is_empty() || self.store.has_events() || self.steering.is_busy() {
            return Some(0);
        }
        let timers = [self.stream_timers.next_ns(), self.device_timers.next_ns(), self.watchdog.next_wake_ns()];
        let timers = timers.into_iter().chain([self.steering.next_wake_ns()]);
        timers.flatten().min()
    }

    fn stream_woke(&mut self, token: u64, now_ns: u64) {
        let key = StreamKey::from(KeyData::from_ffi(token & !DEVICE_BIT));
        if token & DEVICE_BIT != 0 {
            self.with_stream(key, now_ns, Served::device_woke);
        } else if let Some(stream) = self.streams.get_mut(key) {
            stream.guest_woke();
        }
        self.queue(key);
    }

    /// Has a stream wait for its turn.
    fn queue(&mut self, key: StreamKey) {
        if let (Some(stream), Some(id)) = (self.streams.get_mut(key), self.owners.get(key)) {
            queue(&mut self.busy, id.guest, key, stream);
        }
    }

    fn with_stream<T>(
        &mut self,
        key: StreamKey,
        now_ns: u64,
        act: impl FnOnce(&mut Served, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let stream = self.streams.get_mut(key)?;
        let mut turn = Turn {
            now_ns,
            xen: &self.xen,
            poller: &self.poller,
            device_token: key.data().as_ffi() | DEVICE_BIT,
            spent_bytes: 0,
            journal: &mut self.journal,
            scratch: &mut self.scratch,
        };
        Some(act(stream, &mut turn))
    }

    fn serve_stream(&mut self, key: StreamKey, now_ns: u64) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.queued = false;
        }
        match self.with_stream(key, now_ns, Served::turn) {
            None => return,
            Some(After::Idle) => {}
            Some(After::More) => self.queue(key),
            Some(After::Broken(reason)) => {
                self.break_device(key, &reason, now_ns);
                return;
            }
        }
        if let Some(stream) = self.streams.get_mut(key) {
            let wanted = stream.next_wake_ns().map(|at| at.min(now_ns + HORIZON_NS));
            self.stream_timers.schedule(key, &mut stream.scheduled_ns, wanted);
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
        while let Some(key) = self.busy.pop() {
            self.serve_stream(key, now_ns);
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

    fn read_store(&mut self) {
        if let Err(error) = self.store.process() {
            error!("{error}");
        }
    }

    fn serve_dirty(&mut self, now_ns: u64) {
        for event in self.store.take_events() {
            let below = event.path.strip_prefix(&self.backend_path).and_then(|path| path.strip_prefix('/'));
            match event.token.as_str() {
                RELEASE_WATCH => {
                    self.dirty.extend(self.devices.keys().chain(&self.foreign).copied());
                    self.forget_decisions();
                }
                BACKEND_WATCH => match below.and_then(device_in) {
                    Some(id) => {
                        self.dirty.insert(id);
                    }
                    None => self.rescan(),
                },
                token => self.dirty.extend(token.strip_prefix("f/").and_then(device_in)),
            }
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

    /// Tells every guest that its card goes, and completes the files.
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

/// Puts a stream where its turn comes, if it is not there.
fn queue(busy: &mut Fair<StreamKey>, guest: DomainId, key: StreamKey, stream: &mut Served) {
    if !std::mem::replace(&mut stream.queued, true) {
        busy.push(guest.0, key);
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
