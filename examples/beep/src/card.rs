//! The sound card: what the store says about it, and the connection to its backend.
//!
//! [`Handshake`] decides the order of the steps; it follows the state diagram of `sndif.h`.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use frontend::{Action, Actions, Handshake, Stream};
use sndif::XenbusState;
use sndif::store::{DEVICE_CLASS, Direction, LimitNodes, Limits, node, number};

use crate::error::{Error, Result};
use crate::events::{self, SECOND_NS};
use crate::grants::Granted;
use crate::hypercall::{self, DomainId, Port};
use crate::memory::Shared;
use crate::store::Store;

/// Time that a backend gets to begin, and to unmap our pages in the end.
const BACKEND_TIMEOUT_NS: u64 = 10 * SECOND_NS;

/// Transport of a stream for one connection: two pages, and an event channel for each.
pub struct Transport {
    /// The protocol's state of this stream.
    pub stream: Stream<Shared>,
    /// Notified when answers have come; what we notify for requests.
    pub ring: Port,
    /// Notified when events have come.
    pub events: Port,
    pages: [Granted; 2],
}

/// A stream of the card.
pub struct CardStream {
    /// PCM device.
    pub pcm: u32,
    /// Stream of that device.
    pub index: u32,
    /// Playback or capture.
    pub direction: Direction,
    /// Limits from the store for the stream's configuration.
    pub limits: Limits,
    /// There while the backend is.
    pub transport: Option<Transport>,
}

/// The first sound card of this domain.
pub struct Card {
    store: Store,
    /// The card's directory.
    front: String,
    /// The backend's.
    back: String,
    /// The domain where the backend is.
    pub backend: DomainId,
    handshake: Handshake,
    /// Streams of the card.
    pub streams: Vec<CardStream>,
}

impl Card {
    /// Finds the card and connects it.
    pub fn connect() -> Result<Self> {
        let mut store = Store::new()?;
        let class = format!("device/{DEVICE_CLASS}");
        let first = numbered(&mut store, &class)?.into_iter().next().ok_or(Error::NoCard)?;
        let front = format!("{class}/{first}");
        let back = store.read(&format!("{front}/backend"))?.and_then(|path| String::from_utf8(path).ok());
        let backend = store.read(&format!("{front}/backend-id"))?.and_then(|id| number(&id));
        let (Some(back), Some(Ok(backend))) = (back, backend.map(DomainId::try_from)) else {
            return Err(Error::NoCard);
        };
        let streams = streams(&mut store, &front)?;
        store.watch(&format!("{back}/state"))?;
        let mut card = Self { store, front, back, backend, handshake: Handshake::new(), streams };
        card.look_until(Handshake::is_connected, "a backend")?;
        Ok(card)
    }

    /// Gives the card back: the backend unmaps our pages, then we are gone. Returns how many of them it kept.
    pub fn disconnect(mut self) -> Result<usize> {
        let actions = self.handshake.detach();
        let mut kept = self.perform(actions)?;
        kept += self.look_until(Handshake::is_closed, "the backend's end")?;
        Ok(kept)
    }

    /// The channel by which the store tells of the backend's state.
    pub fn store_port(&self) -> Port {
        self.store.port()
    }

    /// Takes in what has become of the backend; returns how many pages it kept where they were taken from it.
    pub fn look(&mut self) -> Result<usize> {
        events::take(self.store.port());
        let mut kept = 0;
        // The actions ask the store, too, and take in events meanwhile.
        while self.store.fired()? {
            let state = self.store.read(&format!("{}/state", self.back))?;
            let state = state.map_or(XenbusState::Unknown, |value| XenbusState::from_node(&value));
            let actions = self.handshake.backend_is(state);
            kept += self.perform(actions)?;
        }
        Ok(kept)
    }

    fn look_until(&mut self, reached: impl Fn(&Handshake) -> bool, what: &'static str) -> Result<usize> {
        let until_ns = events::now_ns() + BACKEND_TIMEOUT_NS;
        // A new watch fires at once, so the first look is at what is there already.
        let mut kept = self.look()?;
        while !reached(&self.handshake) {
            if !events::wait(&[self.store.port()], until_ns)? {
                return Err(Error::Timeout(what));
            }
            kept += self.look()?;
        }
        Ok(kept)
    }

    /// Does what the handshake says; returns the same.
    fn perform(&mut self, actions: Actions) -> Result<usize> {
        let mut queue: VecDeque<Action> = actions.into_iter().collect();
        let mut kept = 0;
        while let Some(action) = queue.pop_front() {
            match action {
                Action::PublishTransport => {
                    self.publish()?;
                    queue.extend(self.handshake.published(true));
                }
                Action::SetState(state) => self.store.write(&format!("{}/state", self.front), state.node())?,
                // Nobody but us uses the card, and we look at its transports.
                Action::CreateCard | Action::ResumeCard => queue.extend(self.handshake.card_ready(true)),
                Action::RemoveCard | Action::SuspendCard => {}
                Action::FreeTransport => {
                    for stream in &mut self.streams {
                        if let Some(transport) = stream.transport.take() {
                            kept += transport.free()?;
                        }
                    }
                }
            }
        }
        Ok(kept)
    }

    /// Makes the transports of all streams and tells the backend of them. It reads these nodes when our state is Initialised, which is
    /// written behind them.
    fn publish(&mut self) -> Result<()> {
        for stream in &mut self.streams {
            let transport = Transport::new(self.backend, stream.direction)?;
            let [ring_page, event_page] = &transport.pages;
            let nodes = [
                (node::RING_REF, ring_page.refs[0].0),
                (node::EVENT_CHANNEL, transport.ring.0),
                (node::EVT_RING_REF, event_page.refs[0].0),
                (node::EVT_EVENT_CHANNEL, transport.events.0),
                // `sound.rs` does not wait for answers to WRITE, and notifies of them as the backend asks for it.
                (node::WRITE_HOLD_OFF, 1),
            ];
            for (name, value) in nodes {
                let path = format!("{}/{}/{}/{name}", self.front, stream.pcm, stream.index);
                self.store.write(&path, &format!("{value}"))?;
            }
            stream.transport = Some(transport);
        }
        Ok(())
    }
}

impl Transport {
    fn new(backend: DomainId, direction: Direction) -> Result<Self> {
        let pages = [Granted::new(backend, 1)?, Granted::new(backend, 1)?];
        // No volume and no mute, so no part of a buffer is kept for them.
        let stream = Stream::new(direction, pages[0].memory, pages[1].memory, 0);
        let (ring, events) = (hypercall::alloc_unbound(backend)?, hypercall::alloc_unbound(backend)?);
        Ok(Self { stream, ring, events, pages })
    }

    fn free(self) -> Result<usize> {
        hypercall::close(self.ring)?;
        hypercall::close(self.events)?;
        Ok(self.pages.into_iter().map(Granted::end_access).sum())
    }
}

/// The streams of a card. Limits are inherited from the card by PCM devices, and from these by streams.
fn streams(store: &mut Store, card: &str) -> Result<Vec<CardStream>> {
    let mut streams = Vec::new();
    let limits = narrow(store, card, &Limits::DEFAULT)?;
    for pcm in numbered(store, card)? {
        let path = format!("{card}/{pcm}");
        let limits = narrow(store, &path, &limits)?;
        for index in numbered(store, &path)? {
            let path = format!("{path}/{index}");
            let kind = store.read(&format!("{path}/{}", node::TYPE))?;
            let Some(direction) = kind.as_deref().and_then(Direction::from_node) else { continue };
            let limits = narrow(store, &path, &limits)?;
            streams.push(CardStream { pcm, index, direction, limits, transport: None });
        }
    }
    Ok(streams)
}

/// Children whose names are numbers, in ascending order.
fn numbered(store: &mut Store, path: &str) -> Result<Vec<u32>> {
    let mut numbers: Vec<u32> = store.directory(path)?.iter().filter_map(|name| number(name.as_bytes())).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// `limits`, narrowed by what stands at `path`.
fn narrow(store: &mut Store, path: &str, limits: &Limits) -> Result<Limits> {
    let mut value = |name| store.read(&format!("{path}/{name}"));
    let values = [
        value(node::CHANNELS_MIN)?,
        value(node::CHANNELS_MAX)?,
        value(node::SAMPLE_RATES)?,
        value(node::SAMPLE_FORMATS)?,
        value(node::BUFFER_SIZE)?,
    ];
    let [channels_min, channels_max, sample_rates, sample_formats, buffer_size] =
        values.each_ref().map(Option::as_deref);
    let nodes = LimitNodes { channels_min, channels_max, sample_rates, sample_formats, buffer_size };
    Ok(limits.narrowed_by(&nodes)?)
}
