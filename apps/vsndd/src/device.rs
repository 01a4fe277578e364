//! One `vsnd` device of one guest: its XenBus handshake and, while connected, its streams.

use std::fmt::{self, Display};

use config::Asker;
use sndif::store::{StreamAddress, node, number};
use sndif::{Protocol, XenbusState, v0};
use tracing::{info, warn};
use xen::DomainId;

use crate::card::{self, CardError, CardNodes, StreamNodes};
use crate::limiter::GuestLog;

/// A device's place: frontend domain and device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceId {
    pub(crate) guest: DomainId,
    pub(crate) card: u32,
}

impl DeviceId {
    /// Address of one of the card's streams.
    pub(crate) fn stream(self, nodes: &StreamNodes) -> StreamAddress {
        StreamAddress { domain: self.guest.0, card: self.card, pcm: nodes.pcm, stream: nodes.stream }
    }
}

impl Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "domain {} card {}", self.guest, self.card)
    }
}

/// State of a device in the store.
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
    pub(crate) protocol: Protocol,
    pub(crate) handshake: backend::Handshake,
    /// Streams while connected, with the transport nodes they were connected with.
    pub(crate) streams: Vec<(StreamNodes, K)>,
    /// Name that the guest gives the card, while connected.
    pub(crate) name: String,
    pub(crate) identity: Identity,
    /// Number of times that the guest broke the protocol, as far as the whole card is concerned.
    pub(crate) violations: u64,
    /// Number of times that the device was connected.
    pub(crate) connections: u64,
    pub(crate) log: GuestLog,
    /// Wake-up time that the timers hold for this device.
    pub(crate) scheduled_ns: Option<u64>,
}

/// Outcome of looking for a device in the store.
pub(crate) enum Found<K> {
    /// The device exists; the actions begin its handshake.
    Device(Box<Device<K>>, Vec<backend::Action>),
    /// The directory exists, but the device is not ours, for this reason.
    Foreign(String),
    /// The directory does not exist.
    Nothing,
}

impl<K: Copy> Device<K> {
    /// Looks for the device with `id` in our own directory; its frontend's path is the one that Xen gives to
    /// every `vsnd` device, whatever the node says (a guest must not lead us elsewhere).
    pub(crate) fn find(
        store: &mut xenstore::Client,
        own: DomainId,
        id: DeviceId,
        identity: Identity,
        forced: Option<Protocol>,
        log: GuestLog,
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
        let protocol = match forced {
            Some(protocol) => protocol,
            None => match recognise(store, &backend, &frontend)? {
                Some(protocol) => protocol,
                None => {
                    let reason = format!("neither a stream nor a ring in `{frontend}`: not a card of this protocol");
                    return Ok(Found::Foreign(reason));
                }
            },
        };
        let state = match announce(store, &backend, &frontend, id, protocol) {
            Ok(state) => state,
            Err(error) => {
                // Or it could never be found again.
                let _ = store.unwatch(&format!("{frontend}/state"), &watch_token(id));
                return Err(error);
            }
        };
        let (handshake, actions) = backend::Handshake::new(protocol, XenbusState::from_node(&state), now_ns);
        info!("{id}: found, protocol {protocol}");
        let device = Self {
            id,
            backend,
            frontend,
            protocol,
            handshake,
            streams: Vec::new(),
            name: String::new(),
            identity,
            violations: 0,
            connections: 0,
            log,
            scheduled_ns: None,
        };
        Ok(Found::Device(Box::new(device), actions))
    }

    /// Writes our state.
    pub(crate) fn write_state(&self, store: &mut xenstore::Client, state: XenbusState) -> xenstore::Result<()> {
        // A write would create a directory again that the toolstack has removed, and nobody would ever remove it.
        store.transaction(|transaction| {
            if transaction.exists(&format!("{}/frontend", self.backend))? {
                transaction.write(&format!("{}/state", self.backend), state.node().as_bytes())?;
            }
            Ok(())
        })
    }

    /// Reads what the device's nodes say now; `None` when the toolstack removed it, or removed it and created it
    /// again: then what we wrote there is gone.
    pub(crate) fn snapshot(&self, store: &mut xenstore::Client) -> xenstore::Result<Option<Snapshot>> {
        let paths =
            [format!("{}/state", self.backend), format!("{}/online", self.backend), format!("{}/state", self.frontend)];
        let mut values = store.read_many(&paths.each_ref().map(String::as_str)).into_iter();
        let mut next = || values.next().unwrap_or(Ok(None));
        let (own, online, state) = (next()?, next()?, visible(next())?);
        // We wrote another state as soon as we had found the device.
        let device = own.filter(|own| XenbusState::from_node(own) != XenbusState::Initialising);
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
        missing_ok(store.rm(&self.backend))
    }

    /// Returns true if the frontend has published other transport nodes than those we are connected with.
    pub(crate) fn moved(&self, store: &mut xenstore::Client) -> xenstore::Result<bool> {
        let nodes: Vec<(String, u32)> = self.streams.iter().flat_map(|(nodes, _)| nodes.transport()).collect();
        let values = store.read_many(&nodes.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>());
        for ((_, expected), value) in nodes.iter().zip(values) {
            if value?.as_deref().and_then(number).unwrap_or(0) != *expected {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the card's streams.
    pub(crate) fn read_card(&self, store: &mut xenstore::Client, streams_max: usize) -> Result<CardNodes, CardError> {
        match self.protocol {
            Protocol::V0 => {
                let streams = vec![card::read_v0(store, &self.frontend, &self.backend)?];
                Ok(CardNodes { streams, ..CardNodes::default() })
            }
            Protocol::V2 => card::read(store, &self.frontend, streams_max),
        }
    }

    /// A log line about the device's ordinary life, rate-limited: a guest decides how often it connects. The
    /// message is formatted only if it is written. Says whether it was.
    pub(crate) fn note(&mut self, now_ns: u64, message: impl Display) -> bool {
        let pass = self.log.pass_ordinary(now_ns);
        if pass {
            info!("{}: {message}", self.id);
        }
        pass
    }

    /// A log line about the guest's fault, rate-limited. The message is formatted only if it is written. Says whether it
    /// was.
    pub(crate) fn warn(&mut self, now_ns: u64, message: impl Display) -> bool {
        match self.log.pass_fault(now_ns) {
            None => return false,
            Some(0) => warn!("{}: {message}", self.id),
            Some(suppressed) => warn!("{}: {message} ({suppressed} more like this were not logged)", self.id),
        }
        true
    }
}

/// Identity of a guest, as the toolstack wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: Option<String>,
    pub(crate) uuid: Option<String>,
}

impl Identity {
    /// Reads it; what cannot be read is not known.
    pub(crate) fn read(store: &mut xenstore::Client, guest: DomainId) -> Self {
        let mut text = |node: &str| {
            let value = store.read_opt(&format!("/local/domain/{guest}/{node}")).ok()??;
            String::from_utf8(value).ok()
        };
        let uuid = text("vm").and_then(|path| path.strip_prefix("/vm/").map(str::to_owned));
        Self { name: text("name"), uuid }
    }

    /// The guest as one that asks for a stream of a card, or for the card.
    pub(crate) fn asker<'a>(&'a self, id: DeviceId, nodes: Option<&'a StreamNodes>) -> Asker<'a> {
        let whole = StreamAddress { domain: id.guest.0, card: id.card, pcm: 0, stream: 0 };
        Asker {
            stream: nodes.map_or(whole, |nodes| id.stream(nodes)),
            name: self.name.as_deref(),
            uuid: self.uuid.as_deref(),
            unique_id: nodes.map_or("", StreamNodes::label),
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

/// Returns the protocol that a device speaks, as far as its nodes tell; OpenXT has a protocol of its own under the same
/// class name.
///
/// Nodes that an earlier daemon, or the toolstack, has written into our half count first, whatever the guest has made
/// of its own since. Of the guest's half, streams are of version 2, and a ring in their place is of version 0.
fn recognise(store: &mut xenstore::Client, backend: &str, frontend: &str) -> xenstore::Result<Option<Protocol>> {
    let mut there = |path: String| visible(store.read_opt(&path)).map(|value| value.is_some());
    Ok(if there(format!("{backend}/{}", node::VERSIONS))? {
        Some(Protocol::V2)
    } else if there(format!("{backend}/{}", v0::node::STREAM_ID))? {
        Some(Protocol::V0)
    } else if there(format!("{frontend}/0/0/{}", node::TYPE))? {
        Some(Protocol::V2)
    } else if there(format!("{frontend}/{}", v0::node::RING_REF))? {
        Some(Protocol::V0)
    } else {
        None
    })
}

/// Watches the frontend's state, writes what a frontend of this protocol looks for, and removes what would make it take us
/// for another. Returns the state.
fn announce(
    store: &mut xenstore::Client,
    backend: &str,
    frontend: &str,
    id: DeviceId,
    protocol: Protocol,
) -> xenstore::Result<Vec<u8>> {
    store.watch(&format!("{frontend}/state"), &watch_token(id))?;
    const V2: [(&str, &str); 4] = [
        (node::VERSIONS, "2"),
        (node::FEATURE_VOLUME, "1"),
        (node::FEATURE_MUTE, "1"),
        (node::FEATURE_READ_AHEAD, "1"),
    ];
    let stream_id = format!("{backend}/{}", v0::node::STREAM_ID);
    store.transaction(|transaction| {
        if !transaction.exists(&format!("{backend}/frontend"))? {
            return Ok(());
        }
        match protocol {
            Protocol::V0 => {
                for (name, _) in V2 {
                    missing_ok(transaction.rm(&format!("{backend}/{name}")))?;
                }
                // The toolstack may have given it a number.
                if !transaction.exists(&stream_id)? {
                    transaction.write(&stream_id, id.card.to_string().as_bytes())?;
                }
            }
            Protocol::V2 => {
                missing_ok(transaction.rm(&stream_id))?;
                for (name, value) in V2 {
                    transaction.write(&format!("{backend}/{name}"), value.as_bytes())?;
                }
            }
        }
        Ok(())
    })?;
    Ok(store.read_opt(&format!("{frontend}/state"))?.unwrap_or_default())
}

/// Treats a missing node as removed: the toolstack may have removed all of it meanwhile, and the transaction is tried
/// again.
fn missing_ok(removed: xenstore::Result<()>) -> xenstore::Result<()> {
    match removed {
        Err(error) if error.is_not_found() => Ok(()),
        removed => removed,
    }
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
