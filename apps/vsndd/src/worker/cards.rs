//! Cards: found in the store, connected, resumed, released.

use std::collections::VecDeque;

use backend::Action;
use config::Limits;
use control::EventKind;
use slotmap::Key;
use sndif::{RingViolation, XenbusState};
use tracing::{error, info, warn};
use xen::DomainId;

use super::{Error, StreamKey, Worker, queue};
use crate::card::{CardError, StreamNodes};
use crate::device::{Device, DeviceId, Found, Identity, frontend_path, watch_token};
use crate::link::Report;
use crate::quota::Account;
use crate::stream::Asked;
use crate::totals::Violation;

/// Result of an attempt to connect a card.
enum Connected {
    Yes,
    /// The frontend took back what it had published, or another worker has to connect it.
    SteppedBack,
    No(NotConnected),
}

/// Reason why a card is not connected, or not resumed.
#[derive(Debug, thiserror::Error)]
enum NotConnected {
    #[error("device is gone")]
    NoDevice,
    #[error("stream is gone")]
    NoStream,
    #[error(transparent)]
    Nodes(#[from] CardError),
    #[error("more than {most} streams in all cards of the guest")]
    TooManyStreams { most: usize },
    #[error("cannot connect PCM {pcm} stream {stream}: {error}")]
    Stream { pcm: u8, stream: u8, error: Error },
    #[error(transparent)]
    Transport(Error),
}

impl Worker {
    /// Marks every device below the guest's directory, and every one we know.
    pub(super) fn rescan(&mut self) {
        self.dirty.extend(self.devices.keys().chain(&self.foreign).copied());
        let guest = self.guest;
        for card in self.store.directory(&self.backend_path).unwrap_or_default() {
            self.dirty.extend(card.parse().ok().map(|card| DeviceId { guest, card }));
        }
    }

    /// Reads the guest's identity. If it was renamed, all of its cards go by the new name from now on.
    pub(super) fn identify(&mut self, now_ns: u64) {
        let identity = Identity::read(&mut self.store, self.guest);
        // A guest that dies has no name any more, and keeps the one that it had.
        if identity == self.identity || identity.name.is_none() && self.identity.name.is_some() {
            return;
        }
        if let Some(name) = &identity.name {
            info!("domain {} is called `{}`", self.guest, name.escape_debug());
        }
        self.identity = identity;
        self.link.send(&Report::Renamed);
        for device in self.devices.values_mut() {
            device.identity = self.identity.clone();
        }
        self.reroute(now_ns);
    }

    pub(super) fn refresh(&mut self, id: DeviceId, now_ns: u64) -> xenstore::Result<()> {
        let Some(device) = self.devices.get_mut(&id) else {
            self.identify(now_ns);
            let identity = self.identity.clone();
            let forced = self.policy.config.protocol(&identity.asker(id, None));
            match Device::find(&mut self.store, self.xen.domain(), id, identity, forced, self.log.clone(), now_ns)? {
                Found::Device(device, actions) => {
                    self.journal.push(EventKind::Card, id, format!("found, protocol {}", device.protocol));
                    self.stop_ignoring(id)?;
                    self.devices.insert(id, *device);
                    self.act(id, actions, now_ns)?;
                    // The frontend may have been waiting already.
                    self.dirty.insert(id);
                }
                Found::Foreign(reason) => self.ignore(id, &reason)?,
                Found::Nothing => self.stop_ignoring(id)?,
            }
            return Ok(());
        };
        let Some(snapshot) = device.snapshot(&mut self.store)? else {
            // Another device may be in its place already.
            self.dirty.insert(id);
            return self.forget(id);
        };
        let connected = device.handshake.state() == XenbusState::Connected;
        let moved = connected
            && matches!(snapshot.frontend, XenbusState::Initialised | XenbusState::Connected)
            && device.moved(&mut self.store)?;
        let actions = device.handshake.update(snapshot.frontend, snapshot.online, moved, now_ns);
        self.act(id, actions, now_ns)?;
        // In dom0 the toolstack removes the device, and waits for Closed before: a guest that removed its half must not
        // be quicker.
        if snapshot.left_to_us && self.xen.domain() != DomainId(0) {
            if let Some(device) = self.devices.get(&id) {
                device.remove(&mut self.store)?;
            }
            self.forget(id)?;
        }
        Ok(())
    }

    /// Leaves a directory alone, logs that once, and looks again when its frontend's half changes.
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
                        if device.note(now_ns, state) {
                            self.journal.push(EventKind::Card, id, state.to_string());
                        }
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
                                self.journal.totals.violation(Violation::Nodes);
                                device.violations += 1;
                                if device.warn(now_ns, &reason) {
                                    self.journal.push(EventKind::Violation, id, reason.to_string());
                                }
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

    /// Connects a card. Linux makes new rings at every sign of our offer, even if it has published some already: if one
    /// cannot be mapped, the nodes are read again before that counts as a fault.
    fn try_connect(&mut self, id: DeviceId, now_ns: u64) -> xenstore::Result<Connected> {
        if !self.suffices_for(self.policy.devices()) {
            return Ok(Connected::SteppedBack);
        }
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
    fn resume(&mut self, id: DeviceId) -> Result<(), NotConnected> {
        let device = self.devices.get_mut(&id).ok_or(NotConnected::NoDevice)?;
        let most = streams_per_card(&self.policy.config.limits(&device.identity.asker(id, None)));
        let nodes = device.read_card(&mut self.store, most)?;
        for (nodes, (old, key)) in nodes.streams.into_iter().zip(&mut device.streams) {
            let served = self.streams.get_mut(*key).ok_or(NotConnected::NoStream)?;
            let failed = NotConnected::Transport;
            let ring = nodes.ring.attach(&self.xen, id.guest).map_err(|error| failed(error.into()))?;
            self.poller.add_edge(&ring.channel, key.data().as_ffi()).map_err(|error| failed(error.into()))?;
            served.stream.resume(ring);
            *old = nodes;
            queue(&mut self.busy, *key, served);
        }
        Ok(())
    }

    /// Connects every stream of a card, or none.
    fn connect(&mut self, id: DeviceId, now_ns: u64) -> Result<(), NotConnected> {
        self.identify(now_ns);
        let identity = self.identity.clone();
        let limits = self.policy.config.limits(&identity.asker(id, None));
        let of_guest = self.devices.values().filter(|device| device.id.guest == id.guest);
        let elsewhere: usize = of_guest.map(|device| device.streams.len()).sum();
        let device = self.devices.get_mut(&id).ok_or(NotConnected::NoDevice)?;
        let card = device.read_card(&mut self.store, streams_per_card(&limits))?;
        let nodes = card.streams;
        let most = limits.streams_per_domain.unwrap_or(Limits::STREAMS_PER_DOMAIN);
        if elsewhere + nodes.len() > most {
            return Err(NotConnected::TooManyStreams { most });
        }
        let mut keys = Vec::with_capacity(nodes.len());
        for nodes in nodes {
            match self.connect_stream(id, &nodes, &identity) {
                Ok(key) => keys.push((nodes, key)),
                Err(error) => {
                    for (_, key) in keys {
                        self.streams.remove(key);
                    }
                    return Err(NotConnected::Stream { pcm: nodes.pcm, stream: nodes.stream, error });
                }
            }
        }
        // A request may have been in a ring before we could be notified of it.
        for (_, key) in &keys {
            self.queue(*key);
        }
        if let Some(device) = self.devices.get_mut(&id) {
            let count = keys.len();
            let plural = if count == 1 { "" } else { "s" };
            if device.note(now_ns, format_args!("connected with {count} stream{plural}")) {
                self.journal.push(EventKind::Card, id, format!("connected with {count} stream{plural}"));
            }
            device.connections += 1;
            self.journal.totals.connections += 1;
            device.streams = keys;
            device.name = card.name;
        }
        Ok(())
    }

    fn connect_stream(&mut self, id: DeviceId, nodes: &StreamNodes, identity: &Identity) -> Result<StreamKey, Error> {
        let asker = identity.asker(id, Some(nodes));
        let account = Account { log: self.log.clone(), quota: self.quota.clone() };
        let asked = asked(id, nodes, identity);
        let served = asked.connect(&self.xen, account, |direction| self.policy.route(&asker, direction))?;
        let key = self.streams.insert(served);
        self.owners.insert(key, id);
        if let Some(served) = self.streams.get(key)
            && let Err(error) = self.poller.add_edge(served.stream.channel(), key.data().as_ffi())
        {
            self.streams.remove(key);
            return Err(error.into());
        }
        Ok(key)
    }

    pub(super) fn break_device(&mut self, key: StreamKey, violation: RingViolation, now_ns: u64) {
        let Some(&id) = self.owners.get(key) else { return };
        let Some(device) = self.devices.get_mut(&id) else { return };
        self.journal.totals.violation(Violation::Ring);
        device.violations += 1;
        if device.warn(now_ns, format_args!("protocol violation, closing the card: request ring: {violation}")) {
            let text = format!("closing the card: request ring: {violation}");
            self.journal.push(EventKind::Violation, id, text);
        }
        let actions = device.handshake.broken(now_ns);
        if let Err(error) = self.act(id, actions, now_ns) {
            error!("{id}: {error}");
        }
    }

    /// Ends the connection of a card, or of all, as after a fault, but without one: the guest may connect again after a
    /// moment. Returns the number of streams; `None` if no such card is connected.
    pub(super) fn disconnect(&mut self, card: Option<u32>, now_ns: u64) -> Option<usize> {
        let named = self.devices.values().filter(|device| card.is_none_or(|card| device.id.card == card));
        let devices = named.filter(|device| device.handshake.state() == XenbusState::Connected);
        let cards: Vec<(DeviceId, usize)> = devices.map(|device| (device.id, device.streams.len())).collect();
        for (id, _) in &cards {
            if let Some(device) = self.devices.get_mut(id) {
                let actions = device.handshake.disconnected(now_ns);
                if let Err(error) = self.act(*id, actions, now_ns) {
                    error!("{id}: {error}");
                }
            }
        }
        (!cards.is_empty()).then(|| cards.iter().map(|(_, streams)| streams).sum())
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
            self.journal.push(EventKind::Card, id, "removed");
            self.store.unwatch(&format!("{}/state", device.frontend), &watch_token(id))?;
        }
        Ok(())
    }
}

/// A stream of a card.
fn asked<'a>(id: DeviceId, nodes: &'a StreamNodes, identity: &'a Identity) -> Asked<'a> {
    Asked { guest: id.guest, name: identity.name.as_deref(), label: id.stream(nodes), nodes }
}

fn streams_per_card(limits: &Limits) -> usize {
    limits.streams_per_card.unwrap_or(Limits::STREAMS_PER_CARD)
}

#[cfg(test)]
mod tests {
    use sndif::GrantRef;
    use xen::Port;

    use super::*;
    use crate::card::Kind;
    use crate::transport::Transport;

    #[test]
    fn each_card_has_addresses_of_its_own_however_large_its_number() {
        let ring = Transport { page: GrantRef(1), port: Port(1) };
        let (pcm_name, path) = (String::new(), String::new());
        let nodes = StreamNodes { pcm: 1, stream: 2, pcm_name, path, ring, kind: Kind::V0(None) };
        let label = |card| {
            let id = DeviceId { guest: DomainId(5), card };
            asked(id, &nodes, &Identity::default()).label.to_string()
        };
        assert_eq!([label(65_535), label(65_536)], ["5/65535/1/2", "5/65536/1/2"]);
    }
}
