//! The control thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use backend::{Action, HostLimits};
use host_audio::{DeviceOptions, StreamLabel};
use slotmap::{DefaultKey, Key, KeyData, SlotMap};
use sndif::XenbusState;
use tracing::{error, info, warn};
use xen::{DomainId, Xen};

use crate::card::StreamNodes;
use crate::config::Config;
use crate::device::{Device, DeviceId, Found, device_in, frontend_path, watch_token};
use crate::policy::Asker;
use crate::poller::{Poller, Timers};
use crate::served::{Asked, Served};
use crate::service::{self, Watchdog};
use crate::stream::{After, Turn};

/// Devices whose nodes are looked at before the streams get their turn again.
const DEVICE_BUDGET: usize = 4;

/// No timer is set further ahead, so that what an earlier wish leaves behind is bounded.
const HORIZON_NS: u64 = 1_000_000_000;

/// How long the WAV files may take to be completed at the end.
const FINISH: Duration = Duration::from_secs(5);

const STORE_TOKEN: u64 = u64::MAX;
const STOP_TOKEN: u64 = u64::MAX - 1;
const LIVENESS_TOKEN: u64 = u64::MAX - 2;
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
    #[error("{0}")]
    Xen(#[from] xen::Error),
    /// The store refused something or is gone.
    #[error("XenStore: {0}")]
    Store(#[from] xenstore::Error),
    /// The system refused something.
    #[error("cannot wait for events: {0}")]
    System(#[from] io::Error),
    /// A configured host device cannot be used.
    #[error("{0}")]
    HostDevice(#[from] host_audio::Error),
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

/// How an attempt to connect a card ended.
enum Connected {
    Yes,
    /// The frontend took back what it had published.
    SteppedBack,
    No(String),
}

/// The daemon's state.
pub struct Daemon {
    xen: Xen,
    store: xenstore::Client,
    config: Config,
    poller: Poller,
    devices: BTreeMap<DeviceId, Device<StreamKey>>,
    streams: SlotMap<StreamKey, Served>,
    owners: slotmap::SecondaryMap<StreamKey, DeviceId>,
    stream_timers: Timers<StreamKey>,
    device_timers: Timers<DeviceId>,
    watchdog: Watchdog,
    /// Streams with requests left over.
    busy: VecDeque<StreamKey>,
    /// Devices whose nodes changed.
    dirty: BTreeSet<DeviceId>,
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
        let nobody = StreamLabel { domain: 0, card: 0, pcm: 0, stream: 0 };
        for (device, direction) in config.devices() {
            match device.device(&DeviceOptions::default()).check(&nobody, direction) {
                Ok(()) => {}
                Err(error @ host_audio::Error::NotBuilt(_)) => return Err(error.into()),
                Err(error) => warn!("{direction} device `{device}`: {error}; it is tried again when a stream needs it"),
            }
        }
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
            config,
            poller,
            devices: BTreeMap::new(),
            streams: SlotMap::new(),
            owners: slotmap::SecondaryMap::new(),
            stream_timers: Timers::new(),
            device_timers: Timers::new(),
            watchdog: Watchdog::from_env(),
            busy: VecDeque::new(),
            dirty: BTreeSet::new(),
            foreign: BTreeSet::new(),
            backend_path,
            scratch: Vec::with_capacity(1 << 16),
        };
        // Who is told that we serve finds the cards offered that are there already.
        daemon.rescan();
        daemon.serve_dirty(daemon.poller.now_ns());
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
            self.watchdog.alive(now_ns);
        };
        service::stopping();
        self.shut_down(ended);
        Ok(ended)
    }

    fn next_wake_ns(&self) -> Option<u64> {
        if !self.busy.is_empty() || !self.dirty.is_empty() || self.store.has_events() {
            return Some(0);
        }
        let timers = [self.stream_timers.next_ns(), self.device_timers.next_ns(), self.watchdog.next_wake_ns()];
        timers.into_iter().flatten().min()
    }

    fn stream_woke(&mut self, token: u64, now_ns: u64) {
        let key = StreamKey::from(KeyData::from_ffi(token & !DEVICE_BIT));
        if token & DEVICE_BIT != 0 {
            self.with_stream(key, now_ns, Served::device_woke);
        }
        self.serve_stream(key, now_ns);
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
            scratch: &mut self.scratch,
        };
        Some(act(stream, &mut turn))
    }

    fn serve_stream(&mut self, key: StreamKey, now_ns: u64) {
        match self.with_stream(key, now_ns, Served::turn) {
            None => return,
            Some(After::Idle) => {}
            Some(After::More) => {
                if !self.busy.contains(&key) {
                    self.busy.push_back(key);
                }
            }
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
                self.serve_stream(key, now_ns);
            }
        }
        for _ in 0..self.busy.len() {
            if let Some(key) = self.busy.pop_front() {
                self.serve_stream(key, now_ns);
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
            error!("XenStore: {error}");
        }
    }

    fn serve_dirty(&mut self, now_ns: u64) {
        for event in self.store.take_events() {
            let below = event.path.strip_prefix(&self.backend_path).and_then(|path| path.strip_prefix('/'));
            match event.token.as_str() {
                RELEASE_WATCH => self.dirty.extend(self.devices.keys().chain(&self.foreign).copied()),
                BACKEND_WATCH => match below.and_then(device_in) {
                    Some(id) => {
                        self.dirty.insert(id);
                    }
                    None => self.rescan(),
                },
                token => self.dirty.extend(token.strip_prefix("f/").and_then(device_in)),
            }
        }
        for _ in 0..DEVICE_BUDGET {
            let Some(id) = self.dirty.pop_first() else { break };
            if let Err(error) = self.refresh(id, now_ns)
                && !self.store.is_closed()
            {
                error!("{id}: {error}");
            }
        }
    }

    /// Marks every device below our directory, and every one we know.
    fn rescan(&mut self) {
        self.dirty.extend(self.devices.keys().chain(&self.foreign).copied());
        for guest in self.store.directory(&self.backend_path).unwrap_or_default() {
            for card in self.store.directory(&format!("{}/{guest}", self.backend_path)).unwrap_or_default() {
                self.dirty.extend(device_in(&format!("{guest}/{card}")));
            }
        }
    }

    fn refresh(&mut self, id: DeviceId, now_ns: u64) -> xenstore::Result<()> {
        let Some(device) = self.devices.get_mut(&id) else {
            let forced = self.forced_protocol(id);
            match Device::find(&mut self.store, self.xen.domain(), id, forced, now_ns)? {
                Found::Device(device, actions) => {
                    self.stop_ignoring(id)?;
                    self.devices.insert(id, *device);
                    self.act(id, actions, now_ns)?;
                    // It may have been waiting for us already.
                    self.dirty.insert(id);
                }
                Found::Foreign(reason) => self.ignore(id, &reason)?,
                Found::Nothing => self.stop_ignoring(id)?,
            }
            return Ok(());
        };
        let Some(snapshot) = device.snapshot(&mut self.store)? else {
            // There may be another one in its place already.
            self.dirty.insert(id);
            return self.forget(id);
        };
        let connected = device.handshake.state() == XenbusState::Connected;
        let moved = connected
            && matches!(snapshot.frontend, XenbusState::Initialised | XenbusState::Connected)
            && device.moved(&mut self.store)?;
        let actions = device.handshake.update(snapshot.frontend, snapshot.online, moved, now_ns);
        self.act(id, actions, now_ns)?;
        // In dom0 the toolstack does it, and waits to see Closed before: a guest that removed its half must not be quicker.
        if snapshot.left_to_us && self.xen.domain() != DomainId(0) {
            if let Some(device) = self.devices.get(&id) {
                device.remove(&mut self.store)?;
            }
            self.forget(id)?;
        }
        Ok(())
    }

    /// Leaves a directory alone, says so once, and looks again when its frontend's half changes.
    fn ignore(&mut self, id: DeviceId, reason: &str) -> xenstore::Result<()> {
        if self.foreign.insert(id) {
            warn!("{id}: {reason}: left alone");
            self.store.watch(&frontend_path(id), &watch_token(id))?;
        }
        Ok(())
    }

    fn stop_ignoring(&mut self, id: DeviceId) -> xenstore::Result<()> {
        if self.foreign.remove(&id) { self.store.unwatch(&frontend_path(id), &watch_token(id)) } else { Ok(()) }
    }

    /// Carries out what a handshake asks for.
    fn act(&mut self, id: DeviceId, actions: Vec<Action>, now_ns: u64) -> xenstore::Result<()> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Release => self.release(id),
                Action::SetState(state) => {
                    if let Some(device) = self.devices.get_mut(&id) {
                        device.note(now_ns, &state.to_string());
                        device.write_state(&mut self.store, state)?;
                    }
                }
                Action::Resume => {
                    let resumed = self.resume(id);
                    if let Some(device) = self.devices.get_mut(&id) {
                        if let Err(reason) = &resumed {
                            device.warn(now_ns, reason);
                        }
                        actions.extend(device.handshake.connected(resumed.is_ok(), now_ns));
                    }
                }
                Action::Connect => {
                    let result = self.try_connect(id, now_ns)?;
                    if let Some(device) = self.devices.get_mut(&id) {
                        match result {
                            Connected::Yes => actions.extend(device.handshake.connected(true, now_ns)),
                            Connected::SteppedBack => {
                                self.dirty.insert(id);
                            }
                            Connected::No(reason) => {
                                device.warn(now_ns, &reason);
                                actions.extend(device.handshake.connected(false, now_ns));
                            }
                        }
                    }
                }
            }
        }
        if let Some(device) = self.devices.get_mut(&id) {
            let wanted = device.handshake.next_wake_ns();
            self.device_timers.schedule(id, &mut device.scheduled_ns, wanted);
        }
        Ok(())
    }

    /// Connects a card. Linux makes its rings anew at every sign of our offer, even if it has published some
    /// already: what cannot be mapped is looked up again before it counts as a fault.
    fn try_connect(&mut self, id: DeviceId, now_ns: u64) -> xenstore::Result<Connected> {
        for last in [false, false, true] {
            match self.connect(id, now_ns) {
                Ok(()) => return Ok(Connected::Yes),
                Err(reason) if last => return Ok(Connected::No(reason)),
                Err(_) => {}
            }
            let snapshot = self.devices.get(&id).map(|device| device.snapshot(&mut self.store)).transpose()?.flatten();
            if snapshot.is_none_or(|snapshot| snapshot.frontend != XenbusState::Initialised) {
                break;
            }
        }
        Ok(Connected::SteppedBack)
    }

    /// Puts the streams of a card onto the transport that its guest published when it was resumed.
    fn resume(&mut self, id: DeviceId) -> Result<(), String> {
        let device = self.devices.get_mut(&id).ok_or("device is gone")?;
        let nodes = device
            .read_card(&mut self.store, self.config.limits.streams_per_card)
            .map_err(|error| error.to_string())?;
        for (nodes, (old, key)) in nodes.into_iter().zip(&mut device.streams) {
            let stream = self.streams.get_mut(*key).ok_or("stream is gone")?;
            let ring = nodes.ring.attach(&self.xen, id.guest).map_err(|error| error.to_string())?;
            self.poller.add_edge(&ring.channel, key.data().as_ffi()).map_err(|error| error.to_string())?;
            stream.resume(ring);
            *old = nodes;
            self.busy.push_back(*key);
        }
        Ok(())
    }

    /// Connects every stream of a card, or none.
    fn connect(&mut self, id: DeviceId, now_ns: u64) -> Result<(), String> {
        let device = self.devices.get(&id).ok_or("device is gone")?;
        let nodes = device
            .read_card(&mut self.store, self.config.limits.streams_per_card)
            .map_err(|error| error.to_string())?;
        let (name, uuid) = self.identity(id.guest);
        let mut keys = Vec::with_capacity(nodes.len());
        for nodes in nodes {
            match self.connect_stream(id, &nodes, name.as_deref(), uuid.as_deref()) {
                Ok(key) => keys.push((nodes, key)),
                Err(error) => {
                    for (_, key) in keys {
                        self.streams.remove(key);
                    }
                    return Err(format!("cannot connect PCM {} stream {}: {error}", nodes.pcm, nodes.stream));
                }
            }
        }
        // A request may stand in a ring since before we could be notified of it.
        self.busy.extend(keys.iter().map(|(_, key)| *key));
        if let Some(device) = self.devices.get_mut(&id) {
            device.note(now_ns, &format!("connected with {} streams", keys.len()));
            device.streams = keys;
        }
        Ok(())
    }

    fn connect_stream(
        &mut self,
        id: DeviceId,
        nodes: &StreamNodes,
        name: Option<&str>,
        uuid: Option<&str>,
    ) -> Result<StreamKey, Error> {
        let (pcm, stream) = (nodes.pcm, nodes.stream);
        let asker = Asker { domain: id.guest.0, name, uuid, card: id.card, pcm, stream };
        let asked = Asked {
            guest: id.guest,
            name,
            label: StreamLabel { domain: id.guest.0, card: u16::try_from(id.card).unwrap_or(u16::MAX), pcm, stream },
            nodes,
            limits: HostLimits {
                buffer_bytes_max: self.config.limits.buffer_bytes_max,
                period_us_min: self.config.limits.period_us_min,
            },
        };
        let served = asked.connect(&self.xen, |direction| self.config.route(&asker, direction))?;
        let key = self.streams.insert(served);
        self.owners.insert(key, id);
        if let Some(stream) = self.streams.get(key)
            && let Err(error) = self.poller.add_edge(stream.channel(), key.data().as_ffi())
        {
            self.streams.remove(key);
            return Err(error.into());
        }
        Ok(key)
    }

    /// The protocol that the configuration forces upon a device.
    fn forced_protocol(&mut self, id: DeviceId) -> Option<sndif::Protocol> {
        if !self.config.forces_protocol() {
            return None;
        }
        let (name, uuid) = self.identity(id.guest);
        let (name, uuid) = (name.as_deref(), uuid.as_deref());
        self.config.protocol(&Asker { domain: id.guest.0, name, uuid, card: id.card, pcm: 0, stream: 0 })
    }

    /// A guest's name and UUID, as the toolstack wrote them.
    fn identity(&mut self, guest: DomainId) -> (Option<String>, Option<String>) {
        let mut text = |node: &str| {
            let value = self.store.read_opt(&format!("/local/domain/{guest}/{node}")).ok()??;
            String::from_utf8(value).ok()
        };
        let uuid = text("vm").and_then(|path| path.strip_prefix("/vm/").map(str::to_owned));
        (text("name"), uuid)
    }

    fn break_device(&mut self, key: StreamKey, reason: &str, now_ns: u64) {
        let Some(&id) = self.owners.get(key) else { return };
        let Some(device) = self.devices.get_mut(&id) else { return };
        device.warn(now_ns, &format!("protocol violation, closing the card: {reason}"));
        let actions = device.handshake.broken(now_ns);
        if let Err(error) = self.act(id, actions, now_ns) {
            error!("{id}: {error}");
        }
    }

    fn release(&mut self, id: DeviceId) {
        if let Some(device) = self.devices.get_mut(&id) {
            for (_, key) in device.streams.drain(..) {
                self.streams.remove(key);
            }
        }
    }

    fn forget(&mut self, id: DeviceId) -> xenstore::Result<()> {
        self.release(id);
        if let Some(device) = self.devices.remove(&id) {
            info!("{id}: removed");
            self.store.unwatch(&format!("{}/state", device.frontend), &watch_token(id))?;
        }
        Ok(())
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
