//! Orders of the broker, and reports to it.

use std::collections::HashSet;

use config::Settings;
use control::{Card, Guest, Part};
use host_audio::DeviceSpec;
use sndif::store::Direction;

use super::{StreamKey, Worker};
use crate::device::DeviceId;
use crate::error::Ended;
use crate::link::{Answer, Order, Report, Seen};
use crate::overrides::Entry;

/// Time that levels are measured after a request for them.
const MEASURED_NS: u64 = 3_000_000_000;

impl Worker {
    /// Carries out the broker's orders and reports what happened; returns the reason if the worker is to end.
    pub(super) fn obey(&mut self, now_ns: u64) -> Option<Ended> {
        loop {
            let answer = match self.link.next() {
                Ok(None) => break,
                // The broker is gone, and with it everything that it lends.
                Err(_) => return Some(Ended::XenGone),
                Ok(Some(Order::End)) => return Some(Ended::Asked),
                Ok(Some(Order::Leave)) if !self.has_card() => return Some(Ended::Asked),
                Ok(Some(Order::Leave)) => {
                    self.link.send(&Report::Stays);
                    continue;
                }
                Ok(Some(Order::Begin { settings, .. } | Order::Settings(settings))) => self.settings(&settings, now_ns),
                Ok(Some(Order::Decide(entry))) => self.decide(entry, now_ns),
                Ok(Some(Order::Overrides(overrides))) => {
                    self.policy.overrides = overrides;
                    self.reroute(now_ns);
                    Answer::Done { streams: self.streams.len() }
                }
                Ok(Some(Order::Disconnect { card })) => match self.disconnect(card, now_ns) {
                    Some(streams) => Answer::Done { streams },
                    None => Answer::NoSuchStream,
                },
                Ok(Some(Order::Look { levels })) => {
                    if levels {
                        self.measured_until_ns = Some(now_ns + MEASURED_NS);
                    }
                    Answer::Seen(Box::new(self.seen(levels)))
                }
                Ok(Some(Order::Ping)) => Answer::Alive,
            };
            // Earlier events are reported before the answer.
            self.tell();
            self.link.send(&Report::Answer(answer));
        }
        self.tell();
        if self.outgrown {
            return Some(Ended::Outgrown);
        }
        if self.measured_until_ns.is_some_and(|until| until <= now_ns) {
            self.measured_until_ns = None;
            self.streams.values().for_each(|served| served.stream.stop_measuring());
        }
        None
    }

    /// Returns true if the guest has a card now. A card that came after the broker looked may be served already.
    fn has_card(&mut self) -> bool {
        self.store.directory(&self.backend_path).is_ok_and(|cards| !cards.is_empty())
    }

    /// Tells the broker what it does not know yet.
    pub(super) fn tell(&mut self) {
        if self.cards_told != self.devices.len() {
            self.cards_told = self.devices.len();
            self.link.send(&Report::Cards(self.cards_told));
        }
        // A broker that is slow to read gets, once it has read, the events that are still remembered.
        if self.told != self.journal.count() && self.link.is_idle() {
            for event in self.journal.since(self.told) {
                self.link.send(&Report::Event(event.clone()));
            }
            self.told = self.journal.count();
        }
    }

    fn settings(&mut self, settings: &Settings, now_ns: u64) -> Answer {
        // The broker has parsed these settings, and is the same program.
        if let Ok(config) = settings.config() {
            self.policy.config = config;
            self.identify(now_ns);
            self.reroute(now_ns);
        }
        Answer::Done { streams: self.streams.len() }
    }

    /// Adds an override and applies it.
    fn decide(&mut self, entry: Entry, now_ns: u64) -> Answer {
        let streams = self.streams_of(&entry.part);
        if entry.part.card.is_some() && streams.is_none() {
            return Answer::NoSuchStream;
        }
        let all = streams.unwrap_or(0);
        let streams = entry.value.direction().map_or(all, |direction| self.directed(&entry.part, direction));
        if streams == 0 && all > 0 {
            return Answer::OtherDirection;
        }
        self.policy.overrides.decide(entry);
        self.reroute(now_ns);
        Answer::Done { streams }
    }

    /// Number of connected streams of a part that have this direction, or may have it.
    fn directed(&self, part: &Part, direction: Direction) -> usize {
        let named =
            self.devices.values().flat_map(|device| device.streams.iter().map(move |(nodes, _)| (device, nodes)));
        let named = named.filter(|(device, nodes)| part.has(device.id.stream(nodes)));
        named.filter(|(_, nodes)| nodes.direction().is_none_or(|its| its == direction)).count()
    }

    /// Number of connected streams of a part; `None` if there are neither streams nor a card that could have them.
    fn streams_of(&self, part: &Part) -> Option<usize> {
        let cards = self.devices.values().filter(|device| part.card.is_none_or(|card| device.id.card == card));
        let counts = cards.map(|device| {
            let streams = device.streams.iter().filter(|(nodes, _)| part.has(device.id.stream(nodes)));
            // The streams of a card that is not connected are unknown.
            let count = streams.count();
            (count > 0 || device.streams.is_empty()).then_some(count)
        });
        counts.flatten().reduce(|sum, count| sum + count)
    }

    /// Devices of all connected streams.
    fn routed(&self) -> HashSet<DeviceSpec> {
        let named =
            self.devices.values().flat_map(|device| device.streams.iter().map(move |(nodes, _)| (device, nodes)));
        let routes = named.flat_map(|(device, nodes)| {
            let both = [Direction::Playback, Direction::Capture];
            let its = both.into_iter().filter(move |direction| nodes.direction().is_none_or(|own| own == *direction));
            its.map(move |direction| self.policy.route(&device.identity.asker(device.id, Some(nodes)), direction))
        });
        routes.map(|route| route.device).collect()
    }

    /// Applies the current policy to every stream.
    pub(super) fn reroute(&mut self, now_ns: u64) {
        if !self.suffices_for(self.routed()) {
            return;
        }
        let cards: Vec<(DeviceId, Vec<StreamKey>)> = self
            .devices
            .values()
            .map(|device| (device.id, device.streams.iter().map(|(_, key)| *key).collect()))
            .collect();
        for (id, keys) in cards {
            for (index, key) in keys.into_iter().enumerate() {
                let Some(device) = self.devices.get(&id) else { continue };
                let Some((nodes, _)) = device.streams.get(index) else { continue };
                let (nodes, identity) = (nodes.clone(), device.identity.clone());
                let routes = [Direction::Playback, Direction::Capture]
                    .map(|direction| self.policy.route(&identity.asker(id, Some(&nodes)), direction));
                self.with_stream(key, now_ns, |stream, turn| {
                    stream.change(&nodes.kind, &|direction| routes[direction as usize].clone(), turn);
                });
                self.serve_stream(key, now_ns);
            }
        }
    }

    /// Report on everything that is served.
    fn seen(&self, levels: bool) -> Seen {
        let cards = self.devices.values().map(|device| Card {
            card: device.id.card,
            name: device.name.clone(),
            protocol: device.protocol.to_string(),
            state: device.handshake.state().to_string(),
            violations: device.violations,
            connections: device.connections,
            streams: device
                .streams
                .iter()
                .filter_map(|(nodes, key)| Some(self.streams.get(*key)?.stream.describe(nodes, levels)))
                .collect(),
        });
        let guest = (!self.devices.is_empty()).then(|| Guest {
            domain: self.guest.0,
            name: self.identity.name.clone(),
            uuid: self.identity.uuid.clone(),
            pid: std::process::id(),
            worker: control::Worker::Serving,
            cards: cards.collect(),
        });
        Seen { guest, totals: self.journal.totals, cpu_ms: crate::exposition::cpu_ms() }
    }
}
