//! The card's connection: the store, the XenBus handshake, and the transports of all its streams.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use frontend::{Action, Actions, CONTROL_BYTES, Handshake, Mixer, MixerFeatures};
use sndif::store::{DEVICE_CLASS, node, number};
use sndif::{Protocol, XenbusState};
use xen::{DomainId, Xen, XenSpec};
use xenstore::{Client, StoreErrno};

use crate::layout::Layout;
use crate::lock::CardLock;
use crate::transport::{Epoch, Wire};
use crate::{Error, Result, StreamInfo, v0, v2};

/// Time that the backend gets to unmap our pages when we go (Linux waits as long).
const DETACH_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of times that the backend may close a connection before it is Connected, until we give up: a daemon that
/// restarts closes it once.
const REFUSALS: u32 = 3;

/// State shared by a card and its open streams.
pub(crate) struct Shared {
    pub(crate) xen: Xen,
    pub(crate) backend: DomainId,
    /// The store's connection, to be waited for without holding the lock.
    pub(crate) store_fd: OwnedFd,
    connection: Mutex<Connection>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic leaves the connection in a state that the handshake still judges correctly.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of the card. With protocol version 0 the first slot has everything, whatever the directions of the device.
pub(crate) struct Slot {
    pub(crate) info: StreamInfo,
    /// Transport in this connection, while no open stream has it.
    pub(crate) transport: Option<Wire>,
    /// Volume and mute, while no open stream has them.
    pub(crate) mixer: Option<Box<Mixer>>,
    /// The same with protocol version 0.
    pub(crate) v0_mixer: frontend::v0::Mixer,
    pub(crate) open: bool,
}

/// The card's half of the connection. Everything here happens when connections come and go.
pub(crate) struct Connection {
    pub(crate) card: u32,
    pub(crate) protocol: Protocol,
    xen: Xen,
    store: Client,
    /// Directory of the card.
    front: String,
    /// Directory of the backend.
    back: String,
    backend: DomainId,
    handshake: Handshake,
    pub(crate) layout: Layout,
    pub(crate) slots: Vec<Slot>,
    pub(crate) features: MixerFeatures,
    epoch: Arc<Epoch>,
    _lock: CardLock,
}

/// Time that a daemon may take to begin with a card that none has begun with.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes card `card` into use and connects it.
pub(crate) fn connect(xen: &Xen, spec: &XenSpec, card: u32, timeout: Duration) -> Result<Arc<Shared>> {
    let domain = xen.domain();
    let mut store = xen.store()?;
    let front = format!("{}/device/{DEVICE_CLASS}/{card}", store.domain_path(domain.0)?);
    let (Some(back), Some(backend)) = (
        store.read_opt(&format!("{front}/backend"))?,
        store.read_opt(&format!("{front}/backend-id"))?.and_then(|value| number(&value)),
    ) else {
        return Err(Error::NoCard { domain, card });
    };
    let no_card = || Error::NoCard { domain, card };
    let backend = u16::try_from(backend).map(DomainId).map_err(|_| no_card())?;
    let back = String::from_utf8(back).map_err(|_| no_card())?;
    let lock = CardLock::acquire(spec, domain, card)?;
    let protocol = recognise(&mut store, &back)?;
    let layout = match protocol {
        Protocol::V0 => Layout::read_v0(&mut store, &back)?,
        Protocol::V2 => Layout::read(&mut store, &front)?,
    };
    if layout.streams.is_empty() {
        return Err(Error::NoStreams { domain, card });
    }
    store.watch(&format!("{back}/state"), "backend")?;
    let store_fd = rustix::io::fcntl_dupfd_cloexec(&store, 0).map_err(Error::system("duplicate a descriptor"))?;
    let slots = layout
        .streams
        .iter()
        .map(|info| Slot {
            info: info.clone(),
            transport: None,
            mixer: None,
            v0_mixer: frontend::v0::Mixer::default(),
            open: false,
        })
        .collect();
    let mut connection = Connection {
        card,
        protocol,
        xen: xen.clone(),
        store,
        front,
        back,
        backend,
        // No other process can take the card, which this one has locked.
        handshake: Handshake::speaking(protocol).waiting_as_initialising(),
        layout,
        slots,
        features: MixerFeatures::default(),
        epoch: Arc::new(Epoch::new()?),
        _lock: lock,
    };
    connection.step_back()?;
    let (start, begin) = (Instant::now(), timeout.min(BEGIN_TIMEOUT));
    match connection.wait_connected(start + begin, begin) {
        // One has begun, or was there before and comes back.
        Err(Error::ConnectTimeout { .. }) => connection.wait_connected(start + timeout, timeout)?,
        connected => connected?,
    }
    let connection = Mutex::new(connection);
    Ok(Arc::new(Shared { xen: xen.clone(), backend, store_fd, connection }))
}

/// Returns the protocol to speak with the backend: version 0 where it has a `stream_id` and no `versions`.
fn recognise(store: &mut Client, back: &str) -> Result<Protocol> {
    let versions = store.read_opt(&format!("{back}/{}", node::VERSIONS))?;
    let stream_id = store.read_opt(&format!("{back}/{}", sndif::v0::node::STREAM_ID))?;
    Ok(if versions.is_none() && stream_id.is_some() { Protocol::V0 } else { Protocol::V2 })
}

impl Connection {
    /// Returns true if the streams can be used.
    pub(crate) fn is_connected(&self) -> bool {
        self.handshake.is_connected()
    }

    /// Our state and the backend's.
    pub(crate) fn states(&self) -> (XenbusState, XenbusState) {
        (self.handshake.state(), self.handshake.backend())
    }

    /// Description of a stream, and the place of its slot.
    pub(crate) fn find(&self, pcm: u8, stream: u8) -> Result<(StreamInfo, usize)> {
        let mut slots = self.slots.iter().zip(0..);
        let found = slots.find(|(slot, _)| slot.info.pcm == pcm && slot.info.stream == stream);
        let (slot, index) = found.ok_or(Error::NoStream { pcm, stream })?;
        let index = if self.protocol == Protocol::V0 { 0 } else { index };
        Ok((slot.info.clone(), index))
    }

    /// Says whether any stream is open: only then is the card kept when the backend goes.
    pub(crate) fn update_held(&mut self) -> Result<()> {
        let actions = self.handshake.held(self.slots.iter().any(|slot| slot.open));
        self.perform(actions)
    }

    /// Takes back the state that a process before us left: we are where a connection starts.
    fn step_back(&mut self) -> Result<()> {
        let path = format!("{}/{}", self.front, "state");
        let state = self.store.read_opt(&path)?.map_or(XenbusState::Unknown, |value| XenbusState::from_node(&value));
        if state != XenbusState::Initialising {
            self.store.write(&path, XenbusState::Initialising.node().as_bytes())?;
        }
        Ok(())
    }

    /// Takes in what the store has to say, without waiting.
    pub(crate) fn pump(&mut self) -> Result<()> {
        let received = self.store.process();
        if received.is_err() {
            // Without the store there is no way to a new connection.
            self.epoch.lose();
        }
        received?;
        while self.store.has_events() {
            self.store.take_events();
            self.look()?;
        }
        Ok(())
    }

    /// Reads the backend's state and does what follows from it.
    fn look(&mut self) -> Result<()> {
        let state = match self.store.read_opt(&format!("{}/state", self.back)) {
            Ok(value) => value.map_or(XenbusState::Unknown, |value| XenbusState::from_node(&value)),
            // The directory was taken from us together with the device.
            Err(error) if error.errno().is_some() => XenbusState::Unknown,
            Err(error) => return Err(error.into()),
        };
        let actions = self.handshake.backend_is(state);
        self.perform(actions)
    }

    /// Waits until the streams can be used.
    pub(crate) fn wait_connected(&mut self, deadline: Instant, timeout: Duration) -> Result<()> {
        let mut refusals = 0;
        self.look()?;
        while !self.handshake.is_connected() {
            let offered = self.handshake.state() == XenbusState::Initialised;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.timed_out(timeout));
            }
            match self.store.wait_event(left) {
                Ok(Some(_)) => self.look()?,
                Ok(None) => {}
                Err(error) => {
                    self.epoch.lose();
                    return Err(error.into());
                }
            }
            if offered && matches!(self.handshake.backend(), XenbusState::Closing | XenbusState::Closed) {
                refusals += 1;
                if refusals == REFUSALS {
                    return Err(Error::ConnectionRefused { card: self.card });
                }
            }
        }
        // An event that came in with the answer to a request makes no descriptor readable.
        self.pump()
    }

    fn timed_out(&self, after: Duration) -> Error {
        let (frontend, backend) = self.states();
        match backend {
            XenbusState::Unknown | XenbusState::Initialising => {
                Error::NoDaemon { card: self.card, backend: self.backend, state: backend }
            }
            _ => Error::ConnectTimeout { card: self.card, after, frontend, backend },
        }
    }

    /// Shows the backend our state. Nothing is shown where the directory was taken from us together with the device.
    fn write_state(&mut self, state: XenbusState) -> Result<()> {
        match self.store.write(&format!("{}/state", self.front), state.node().as_bytes()) {
            Err(error) if matches!(error.errno(), Some(StoreErrno::Acces | StoreErrno::NoEnt)) => Ok(()),
            written => Ok(written?),
        }
    }

    fn perform(&mut self, actions: Actions) -> Result<()> {
        let mut queue: VecDeque<Action> = actions.into_iter().collect();
        let mut result = Ok(());
        while let Some(action) = queue.pop_front() {
            match action {
                Action::PublishTransport => {
                    let published = match self.protocol {
                        Protocol::V0 => self.publish_v0(),
                        Protocol::V2 => self.publish(),
                    };
                    queue.extend(self.handshake.published(published.is_ok()));
                    result = published;
                }
                Action::SetState(state) => self.write_state(state)?,
                // The streams look at their epoch and take what lies in their slots.
                Action::CreateCard | Action::ResumeCard => queue.extend(self.handshake.card_ready(true)),
                Action::RemoveCard | Action::SuspendCard => self.epoch.lose(),
                Action::FreeTransport => {
                    self.epoch.lose();
                    self.slots.iter_mut().for_each(|slot| slot.transport = None);
                }
            }
        }
        result
    }

    /// Makes the transports of all streams and writes their nodes, all at once.
    fn publish(&mut self) -> Result<()> {
        let mut feature = |name| -> Result<bool> {
            Ok(self.store.read_opt(&format!("{}/{name}", self.back))?.as_deref() == Some(b"1"))
        };
        self.features = MixerFeatures { volume: feature(node::FEATURE_VOLUME)?, mute: feature(node::FEATURE_MUTE)? };
        let reads_ahead = feature(node::FEATURE_READ_AHEAD)?;
        let control_bytes = if self.features.volume || self.features.mute { CONTROL_BYTES } else { 0 };
        self.epoch = Arc::new(Epoch::new()?);
        let mut nodes = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            let mut transport =
                v2::Transport::new(&self.xen, self.backend, slot.info.direction, control_bytes, &self.epoch)?;
            transport.stream.set_reads_ahead(reads_ahead);
            let [ring_ref, event_ref] = transport.refs;
            let path = format!("{}/{}/{}", self.front, slot.info.pcm, slot.info.stream);
            nodes.push((
                path,
                [
                    (node::RING_REF, ring_ref.to_string()),
                    (node::EVENT_CHANNEL, transport.ring.port().to_string()),
                    (node::EVT_RING_REF, event_ref.to_string()),
                    (node::EVT_EVENT_CHANNEL, transport.events.port().to_string()),
                    (node::WRITE_HOLD_OFF, "1".to_owned()),
                ],
            ));
            slot.transport = Some(Wire::V2(Box::new(transport)));
        }
        self.store.transaction(|t| {
            for (path, values) in &nodes {
                for (name, value) in values {
                    t.write(&format!("{path}/{name}"), value.as_bytes())?;
                }
                let control = format!("{path}/{}", node::CONTROL_SIZE);
                if control_bytes > 0 {
                    t.write(&control, control_bytes.to_string().as_bytes())?;
                } else {
                    t.rm(&control)?;
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Makes the transport of a device of version 0 and writes its nodes.
    fn publish_v0(&mut self) -> Result<()> {
        let id = self.store.read_opt(&format!("{}/{}", self.back, sndif::v0::node::STREAM_ID))?;
        let id = id.as_deref().and_then(number).unwrap_or(0);
        self.epoch = Arc::new(Epoch::new()?);
        let transport = v0::Transport::new(&self.xen, self.backend, id, &self.epoch)?;
        let nodes = [(node::RING_REF, transport.page), (node::EVENT_CHANNEL, transport.channel.port().0)];
        self.store.transaction(|t| {
            for (name, value) in &nodes {
                t.write(&format!("{}/{name}", self.front), value.to_string().as_bytes())?;
            }
            Ok(())
        })?;
        if let Some(slot) = self.slots.first_mut() {
            slot.transport = Some(Wire::V0(Box::new(transport)));
        }
        Ok(())
    }

    /// Goes through Closing and gives the backend time to unmap our pages.
    fn detach(&mut self) -> Result<()> {
        let actions = self.handshake.detach();
        self.perform(actions)?;
        let deadline = Instant::now() + DETACH_TIMEOUT;
        while !self.handshake.is_closed() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.store.wait_event(left)?.is_none() {
                let actions = self.handshake.give_up();
                return self.perform(actions);
            }
            self.look()?;
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // An error here means that the store is gone, and the connection with it.
        let _: Result<()> = self.detach();
    }
}
