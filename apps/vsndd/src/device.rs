//! One `vsnd` device of one guest: its XenBus handshake and, while connected, its streams.

use sndif::XenbusState;
use sndif::store::node;
use tracing::{info, warn};
use xen::DomainId;

use crate::card::{self, CardError, StreamNodes};
use crate::limiter::LogLimiter;
use crate::transport::Transport;

/// A device's place: frontend domain and device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceId {
    pub(crate) guest: DomainId,
    pub(crate) card: u32,
}

impl std::fmt::Display for DeviceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "domain {} card {}", self.guest, self.card)
    }
}

/// What the store says of a device.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) frontend: XenbusState,
    pub(crate) online: bool,
    /// The toolstack no longer wants the device, and has removed the guest's half.
    pub(crate) left_to_us: bool,
}

/// A device of a guest.
pub(crate) struct Device<K> {
    pub(crate) id: DeviceId,
    /// Our directory.
    pub(crate) backend: String,
    /// The guest's directory.
    pub(crate) frontend: String,
    pub(crate) handshake: backend::Handshake,
    /// Streams while connected, with the transport nodes they were connected with.
    pub(crate) streams: Vec<(StreamNodes, K)>,
    pub(crate) log: LogLimiter,
    /// What the timers hold for this device.
    pub(crate) scheduled_ns: Option<u64>,
}

/// Outcome of looking for a device in the store.
pub(crate) enum Found<K> {
    /// It is there; the actions begin its handshake.
    Device(Box<Device<K>>, Vec<backend::Action>),
    /// There is a directory, and this is why it is none of our business.
    Foreign(String),
    /// There is no directory.
    Nothing,
}

impl<K: Copy> Device<K> {
    /// Looks for the device with `id` in our own directory; its frontend's path is the one that Xen gives to
    /// every `vsnd` device, whatever the node says (a guest must not lead us elsewhere).
    pub(crate) fn find(
        store: &mut xenstore::Client,
        own: DomainId,
        id: DeviceId,
        now_ns: u64,
    ) -> xenstore::Result<Found<K>> {
        let backend = format!("/local/domain/{own}/backend/vsnd/{}/{}", id.guest, id.card);
        let frontend = frontend_path(id);
        match store.read_opt(&format!("{backend}/frontend"))? {
            None => return Ok(Found::Nothing),
            Some(path) if path == frontend.as_bytes() => {}
            Some(path) => {
                let reason = format!("`{backend}/frontend` names `{}`, expected `{frontend}`", path.escape_ascii());
                return Ok(Found::Foreign(reason));
            }
        }
        // OpenXT has a protocol of its own under the same class name. What an earlier daemon has served is
        // ours, whatever the guest has made of its half since.
        if !store.exists(&format!("{backend}/{}", node::VERSIONS))?
            && !store.exists(&format!("{frontend}/0/0/{}", node::TYPE))?
        {
            return Ok(Found::Foreign(format!("no stream in `{frontend}`: not a card of this protocol")));
        }
        store.watch(&format!("{frontend}/state"), &watch_token(id))?;
        write_if_there(
            store,
            &backend,
            &[(node::VERSIONS, "2"), (node::FEATURE_VOLUME, "1"), (node::FEATURE_MUTE, "1")],
        )?;
        let state = store.read_opt(&format!("{frontend}/state"))?.unwrap_or_default();
        let (handshake, actions) = backend::Handshake::new(XenbusState::from_node(&state), now_ns);
        info!("{id}: found");
        let device = Self {
            id,
            backend,
            frontend,
            handshake,
            streams: Vec::new(),
            log: LogLimiter::default(),
            scheduled_ns: None,
        };
        Ok(Found::Device(Box::new(device), actions))
    }

    /// Writes our state.
    pub(crate) fn write_state(&self, store: &mut xenstore::Client, state: XenbusState) -> xenstore::Result<()> {
        write_if_there(store, &self.backend, &[("state", state.node())])
    }

    /// Reads what the device's nodes say now; `None` when the toolstack removed it, or removed it and made it
    /// anew: then what we wrote there is gone.
    pub(crate) fn snapshot(&self, store: &mut xenstore::Client) -> xenstore::Result<Option<Snapshot>> {
        let paths = [
            format!("{}/{}", self.backend, node::VERSIONS),
            format!("{}/online", self.backend),
            format!("{}/state", self.frontend),
        ];
        let mut values = store.read_many(&paths.each_ref().map(String::as_str)).into_iter();
        let mut next = || values.next().unwrap_or(Ok(None));
        let (device, online, state) = (next()?, next()?, visible(next())?);
        let online = online.as_deref() != Some(b"0");
        Ok(device.map(|_| Snapshot {
            left_to_us: !online && state.is_none(),
            frontend: XenbusState::from_node(&state.unwrap_or_default()),
            online,
        }))
    }

    /// Removes our half: libxl leaves this to a backend in a driver domain (there `xl devd` does it for disks and
    /// networks, and for nothing else).
    pub(crate) fn remove(&self, store: &mut xenstore::Client) -> xenstore::Result<()> {
        match store.rm(&self.backend) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the frontend has published other transport nodes than those we are connected with.
    pub(crate) fn moved(&self, store: &mut xenstore::Client) -> xenstore::Result<bool> {
        let paths: Vec<String> = self
            .streams
            .iter()
            .flat_map(|(nodes, _)| {
                [node::RING_REF, node::EVENT_CHANNEL, node::EVT_RING_REF, node::EVT_EVENT_CHANNEL]
                    .map(|name| format!("{}/{}/{}/{name}", self.frontend, nodes.pcm, nodes.stream))
            })
            .collect();
        let values = store.read_many(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let mut numbers = values
            .into_iter()
            .map(|value| value.map(|value| value.as_deref().and_then(sndif::store::number).unwrap_or(0)));
        for (nodes, _) in &self.streams {
            let Transport { ring_ref, port, event_ref, event_port } = nodes.transport;
            for expected in [ring_ref.0, port.0, event_ref.0, event_port.0] {
                if numbers.next().unwrap_or(Ok(0))? != expected {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Reads the card's streams.
    pub(crate) fn read_card(
        &self,
        store: &mut xenstore::Client,
        streams_max: usize,
    ) -> Result<Vec<StreamNodes>, CardError> {
        card::read(store, &self.frontend, streams_max)
    }

    /// A log line about the device's ordinary life, rate-limited: a guest decides how often it connects.
    pub(crate) fn note(&mut self, now_ns: u64, message: &str) {
        if self.log.pass(now_ns).is_some() {
            info!("{}: {message}", self.id);
        }
    }

    /// A log line about the guest's fault, rate-limited.
    pub(crate) fn warn(&mut self, now_ns: u64, message: &str) {
        if let Some(suppressed) = self.log.pass(now_ns) {
            if suppressed > 0 {
                warn!("{}: {message} ({suppressed} more like this were not logged)", self.id);
            } else {
                warn!("{}: {message}", self.id);
            }
        }
    }
}

/// A node of the guest's: one that we may not read is as good as none. The guest may have hidden it; and to a
/// driver domain the store does not even say that the directory of a dead guest is gone.
fn visible(value: xenstore::Result<Option<Vec<u8>>>) -> xenstore::Result<Option<Vec<u8>>> {
    match value {
        Err(error) if error.errno() == Some(xenstore::StoreErrno::Acces) => Ok(None),
        value => value,
    }
}

/// Writes nodes of a device unless the toolstack has removed it: a write would make the directory anew, and
/// nobody would ever remove it.
fn write_if_there(store: &mut xenstore::Client, backend: &str, nodes: &[(&str, &str)]) -> xenstore::Result<()> {
    store.transaction(|transaction| {
        if transaction.exists(&format!("{backend}/frontend"))? {
            for (name, value) in nodes {
                transaction.write(&format!("{backend}/{name}"), value.as_bytes())?;
            }
        }
        Ok(())
    })
}

/// The guest's half of a device: where Xen has it, whatever any node says.
pub(crate) fn frontend_path(id: DeviceId) -> String {
    format!("/local/domain/{}/device/vsnd/{}", id.guest, id.card)
}

/// Token of the watch on a device's frontend state.
pub(crate) fn watch_token(id: DeviceId) -> String {
    format!("f/{}/{}", id.guest, id.card)
}

/// The device that a watch token or a path below our `backend/vsnd` names.
pub(crate) fn device_in(path: &str) -> Option<DeviceId> {
    let mut parts = path.split('/');
    let guest = parts.next()?.parse().ok()?;
    let card = parts.next()?.parse().ok()?;
    Some(DeviceId { guest: DomainId(guest), card })
}
