//! Attaching and detaching cards: the nodes of both halves, and libxl's own record of them.

use std::time::{Duration, Instant};

use sndif::{Protocol, XenbusState, v0};
use xen::DomainId;
use xenstore::server::Store;
use xenstore::{Client, Perm, Transaction};

use crate::card::Card;
use crate::nodes::{Node, frontend_nodes};

/// Store directory in which the emulation keeps what it needs to restart a domain with its cards.
const KEPT: &str = "/vsnd/attached";

/// Failure to attach or detach a card.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// XenStore refused something.
    #[error(transparent)]
    Store(#[from] xenstore::Error),
    /// No domain has the name that `backend=` gives.
    #[error("backend `{0}`: no domain has that name or number")]
    NoSuchBackend(String),
    /// There is nothing to detach.
    #[error("domain {guest} has no sound card {}", card.map_or("at all".to_owned(), |card| card.to_string()))]
    NoSuchCard {
        /// The guest.
        guest: DomainId,
        /// The card that was named.
        card: Option<u32>,
    },
    /// A backend did not close its device in time; the nodes were removed nevertheless.
    #[error("domain {guest} card {card}: its backend did not close within {} s; removed by force", timeout.as_secs())]
    Forced {
        /// The guest.
        guest: DomainId,
        /// The card.
        card: u32,
        /// Time that was waited.
        timeout: Duration,
    },
}

/// A card that is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attached {
    /// The guest.
    pub guest: DomainId,
    /// Number of the card in the guest.
    pub card: u32,
    /// Domain that serves the card.
    pub backend: DomainId,
}

struct Paths {
    frontend: String,
    backend: String,
    record: String,
    kept: String,
}

impl Paths {
    fn of(attached: Attached) -> Self {
        let Attached { guest, card, backend } = attached;
        Self {
            frontend: format!("/local/domain/{guest}/device/vsnd/{card}"),
            backend: format!("/local/domain/{backend}/backend/vsnd/{guest}/{card}"),
            record: format!("/libxl/{guest}/device/vsnd/{card}"),
            kept: format!("{KEPT}/{guest}/{card}"),
        }
    }
}

/// Device to attach under one number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    /// Nodes below the guest's half.
    theirs: Vec<Node>,
    /// Nodes below the backend's half.
    ours: Vec<Node>,
}

impl Device {
    /// Devices of `card`. With protocol version 2 the card is one device. With version 0 each of its streams is one,
    /// the guest's half describes nothing, and the stream's direction stands where the guest cannot write.
    fn all_of(card: &Card, protocol: Protocol) -> Vec<Self> {
        match protocol {
            Protocol::V2 => vec![Self { theirs: frontend_nodes(card), ours: Vec::new() }],
            Protocol::V0 => {
                let streams = card.pcms.iter().flat_map(|pcm| &pcm.streams);
                let node = |path: &str, value: &str| Node { path: path.to_owned(), value: value.to_owned() };
                streams
                    .map(|stream| Self {
                        theirs: Vec::new(),
                        ours: vec![node(v0::node::TYPE, stream.direction.node())],
                    })
                    .collect()
            }
        }
    }
}

/// Attaches `cards` to `guest`, which need not run, and returns their numbers. With protocol version 0 every stream has
/// a number of its own.
///
/// # Errors
/// [`AttachError`]; either all cards are attached or none.
pub fn attach(
    store: &mut Client,
    guest: DomainId,
    cards: &[Card],
    protocol: Protocol,
) -> Result<Vec<Attached>, AttachError> {
    let mut devices = Vec::with_capacity(cards.len());
    for card in cards {
        let backend = backend_of(store, card)?;
        devices.extend(Device::all_of(card, protocol).into_iter().map(|device| (device, backend)));
    }
    let attached = store.transaction(|t| {
        let taken = children(t.directory(&format!("/local/domain/{guest}/device/vsnd")))?;
        let mut numbers = (0..).filter(|number: &u32| !taken.contains(&number.to_string()));
        let mut all = Vec::with_capacity(devices.len());
        for (device, backend) in &devices {
            let attached = Attached { guest, card: numbers.next().unwrap_or(u32::MAX), backend: *backend };
            let mut device = device.clone();
            if protocol == Protocol::V0 {
                device.ours.push(Node { path: v0::node::STREAM_ID.to_owned(), value: attached.card.to_string() });
            }
            write_device(t, attached, &device)?;
            all.push(attached);
        }
        Ok(all)
    })?;
    Ok(attached)
}

/// Number of the domain that `backend=` names: digits, or a name in the store.
fn backend_of(store: &mut Client, card: &Card) -> Result<DomainId, AttachError> {
    let Some(name) = &card.backend else { return Ok(DomainId(0)) };
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    for domain in store.directory("/local/domain")? {
        if store.read_opt(&format!("/local/domain/{domain}/name"))?.as_deref() == Some(name.as_bytes())
            && let Ok(id) = domain.parse()
        {
            return Ok(id);
        }
    }
    Err(AttachError::NoSuchBackend(name.clone()))
}

fn write_device(t: &mut Transaction<'_>, attached: Attached, device: &Device) -> xenstore::Result<()> {
    let Attached { guest, backend, .. } = attached;
    let paths = Paths::of(attached);
    // The domain may not run yet: its home is made as libxl makes it.
    let home = format!("/local/domain/{guest}");
    for path in [home.clone(), format!("{home}/device")] {
        if !t.exists(&path)? {
            t.mkdir(&path)?;
            t.set_perms(&path, &[Perm::none(0), Perm::read(guest.0)])?;
        }
    }
    let theirs = [Perm::none(guest.0), Perm::read(backend.0)];
    let ours = [Perm::none(backend.0), Perm::read(guest.0)];
    let put = |t: &mut Transaction<'_>, path: &str, value: &str, perms: &[Perm]| {
        if value.is_empty() {
            t.mkdir(path)?
        } else {
            t.write(path, value.as_bytes())?
        };
        t.set_perms(path, perms)
    };
    let closed = [Perm::none(0)];
    for (name, value) in [
        ("", String::new()),
        ("/frontend", paths.frontend.clone()),
        ("/frontend-id", guest.to_string()),
        ("/backend", paths.backend.clone()),
        ("/online", "1".to_owned()),
        ("/state", XenbusState::Initialising.node().to_owned()),
    ] {
        put(t, &format!("{}{name}", paths.record), &value, &closed)?;
    }
    for (name, value) in [
        ("", String::new()),
        ("/frontend", paths.frontend.clone()),
        ("/frontend-id", guest.to_string()),
        ("/online", "1".to_owned()),
        ("/state", XenbusState::Initialising.node().to_owned()),
    ] {
        put(t, &format!("{}{name}", paths.backend), &value, &ours)?;
    }
    for Node { path, value } in &device.ours {
        put(t, &format!("{}/{path}", paths.backend), value, &ours)?;
    }
    put(t, &paths.frontend, "", &theirs)?;
    let connection = connection_nodes(&paths.backend, backend);
    for Node { path, value } in connection.iter().chain(&device.theirs) {
        // The directories on the way belong to the guest as well.
        for (at, _) in path.match_indices('/') {
            put(t, &format!("{}/{}", paths.frontend, path.get(..at).unwrap_or_default()), "", &theirs)?;
        }
        put(t, &format!("{}/{path}", paths.frontend), value, &theirs)?;
        put(t, &format!("{}/{path}", paths.kept), value, &closed)?;
    }
    Ok(())
}

fn connection_nodes(backend_path: &str, backend: DomainId) -> [Node; 3] {
    let node = |path: &str, value: String| Node { path: path.to_owned(), value };
    [
        node("backend", backend_path.to_owned()),
        node("backend-id", backend.to_string()),
        node("state", XenbusState::Initialising.node().to_owned()),
    ]
}

/// Names below a directory; none if it does not exist.
fn children(listing: xenstore::Result<Vec<String>>) -> xenstore::Result<Vec<String>> {
    match listing {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        listing => listing,
    }
}

/// The cards of `guest`.
///
/// # Errors
/// If the store cannot be read.
pub fn list(store: &mut Client, guest: DomainId) -> xenstore::Result<Vec<Attached>> {
    let record = format!("/libxl/{guest}/device/vsnd");
    let mut cards = Vec::new();
    for card in children(store.directory(&record))? {
        let backend = store.read_opt(&format!("{record}/{card}/backend"))?.unwrap_or_default();
        let backend = String::from_utf8_lossy(&backend).into_owned();
        let backend = backend.strip_prefix("/local/domain/").and_then(|rest| rest.split('/').next()?.parse().ok());
        if let (Ok(card), Some(backend)) = (card.parse(), backend) {
            cards.push(Attached { guest, card, backend });
        }
    }
    cards.sort();
    Ok(cards)
}

/// Detaches `card` of `guest`, or all its cards: tells each backend, waits until it has closed, removes the nodes.
/// Returns what was detached.
///
/// # Errors
/// [`AttachError::NoSuchCard`]; [`AttachError::Forced`] when a backend took longer than `timeout`.
pub fn detach(
    store: &mut Client,
    guest: DomainId,
    card: Option<u32>,
    timeout: Duration,
) -> Result<Vec<Attached>, AttachError> {
    let cards: Vec<Attached> =
        list(store, guest)?.into_iter().filter(|attached| card.is_none_or(|card| card == attached.card)).collect();
    if cards.is_empty() {
        return Err(AttachError::NoSuchCard { guest, card });
    }
    let mut forced = None;
    for &attached in &cards {
        let paths = Paths::of(attached);
        if !closes(store, &paths.backend, timeout)? {
            forced = Some(AttachError::Forced { guest, card: attached.card, timeout });
        }
        // A driver domain removes its half itself, once it sees that the guest's is gone.
        let backend = (attached.backend == DomainId(0)).then_some(&paths.backend);
        for path in backend.into_iter().chain([&paths.frontend, &paths.record, &paths.kept]) {
            match store.rm(path) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
    }
    forced.map_or(Ok(cards), Err)
}

/// Asks a backend to close its device, as libxl does, and waits for it.
fn closes(store: &mut Client, backend: &str, timeout: Duration) -> xenstore::Result<bool> {
    const TOKEN: &str = "detach";
    let state_path = format!("{backend}/state");
    let state = |store: &mut Client| {
        store.read_opt(&state_path).map(|value| XenbusState::from_node(&value.unwrap_or_default()))
    };
    // No backend has served the device yet.
    if matches!(state(store)?, XenbusState::Initialising | XenbusState::Unknown) {
        return Ok(true);
    }
    store.transaction(|t| {
        t.write(&format!("{backend}/online"), b"0")?;
        t.write(&state_path, XenbusState::Closing.node().as_bytes())
    })?;
    store.watch(&state_path, TOKEN)?;
    let deadline = Instant::now() + timeout;
    let closed = loop {
        // A backend in a driver domain may have removed its half by now.
        if state(store)? == XenbusState::Closed || !store.exists(&state_path)? {
            break true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break false;
        }
        store.wait_event(left)?;
    };
    store.unwatch(&state_path, TOKEN)?;
    Ok(closed)
}

/// The emulation's toolstack: restarts a domain that died with its cards, as `on_crash="restart"` does, under the same
/// number. The frontend directories are written again as they were attached.
#[derive(Debug, Default)]
pub struct Restart;

impl xen::emu::Toolstack for Restart {
    fn domain_died(&mut self, domain: DomainId, store: &mut Store) {
        for card in store.directory(&format!("{KEPT}/{domain}")).unwrap_or_default() {
            // The emulation's own store has no reason to refuse domain 0; a card that it refuses is lost.
            let _ = restore(store, domain, &card);
        }
    }
}

fn restore(store: &mut Store, guest: DomainId, card: &str) -> Result<(), xenstore::StoreErrno> {
    let kept = format!("{KEPT}/{guest}/{card}");
    let backend = store.read(&format!("{kept}/backend-id"))?;
    let backend = sndif::store::number(&backend).and_then(|id| u16::try_from(id).ok()).unwrap_or(0);
    let home = format!("/local/domain/{guest}");
    for path in [home.clone(), format!("{home}/device")] {
        store.mkdir(&path)?;
        store.set_perms(&path, &[Perm::none(0), Perm::read(guest.0)])?;
    }
    let frontend = format!("{home}/device/vsnd/{card}");
    copy(store, &kept, &frontend, &[Perm::none(guest.0), Perm::read(backend)])?;
    // The dead domain lost its right to read the backend's half, which still exists.
    let ours = format!("/local/domain/{backend}/backend/vsnd/{guest}/{card}");
    share(store, &ours, &[Perm::none(backend), Perm::read(guest.0)])
}

fn share(store: &mut Store, path: &str, perms: &[Perm]) -> Result<(), xenstore::StoreErrno> {
    store.set_perms(path, perms)?;
    for child in store.directory(path)? {
        share(store, &format!("{path}/{child}"), perms)?;
    }
    Ok(())
}

fn copy(store: &mut Store, from: &str, to: &str, perms: &[Perm]) -> Result<(), xenstore::StoreErrno> {
    let value = store.read(from)?;
    if value.is_empty() {
        store.mkdir(to)?
    } else {
        store.write(to, &value)?
    };
    store.set_perms(to, perms)?;
    for child in store.directory(from)? {
        copy(store, &format!("{from}/{child}"), &format!("{to}/{child}"), perms)?;
    }
    Ok(())
}
