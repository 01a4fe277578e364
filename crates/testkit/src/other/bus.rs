//! The backend on XenBus: its states, and the streams of a connection.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::XenbusState;
use sndif::store::{Direction, node};
use xen::Xen;

use super::stream::{Nodes, Stream};
use super::{Card, Error, Operations};

/// Longest wait for something to happen; an order to end is seen after it.
const IDLE: Duration = Duration::from_millis(10);

pub(super) struct Bus {
    xen: Xen,
    store: xenstore::Client,
    card: Card,
    operations: Operations,
    /// Directory of the frontend.
    front: String,
    /// Directory of the backend.
    back: String,
    contact: Contact,
    /// Connections so far.
    pub(super) connections: u32,
    streams: Vec<Stream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    /// The frontend has to be in Initialising before it is offered anything.
    None,
    Offered,
    Connected,
}

impl Bus {
    pub(super) fn new(xen: Xen, card: Card, operations: Operations) -> Result<Self, Error> {
        let store = xen.store()?;
        let (guest, number) = (card.guest, card.card);
        let front = format!("/local/domain/{guest}/device/vsnd/{number}");
        let back = format!("/local/domain/{}/backend/vsnd/{guest}/{number}", xen.domain());
        let (contact, streams) = (Contact::None, Vec::new());
        let mut bus = Self { xen, store, card, operations, front, back, contact, connections: 0, streams };
        for name in [node::FEATURE_VOLUME, node::FEATURE_MUTE, node::FEATURE_READ_AHEAD] {
            let path = format!("{}/{name}", bus.back);
            // A node may be left from the daemon that served the card before.
            if bus.card.habits.offers_mixer && name != node::FEATURE_READ_AHEAD {
                bus.store.write(&path, b"1")?;
            } else if bus.store.exists(&path)? {
                bus.store.rm(&path)?;
            }
        }
        bus.store.watch(&format!("{}/state", bus.front), "front")?;
        bus.break_contact()?;
        bus.look()?;
        Ok(bus)
    }

    /// Does what there is to do, and waits until there is more.
    pub(super) fn turn(&mut self) -> Result<(), Error> {
        self.store.process()?;
        if self.store.has_events() {
            self.store.take_events();
            self.look()?;
        }
        let mut wake = Instant::now() + IDLE;
        for stream in &mut self.streams {
            stream.serve(&self.xen, &self.operations)?;
            if let Some(tick) = stream.tick()? {
                wake = wake.min(tick);
            }
        }
        let left = wake.saturating_duration_since(Instant::now());
        let mut fds: Vec<_> = self.streams.iter().map(|stream| PollFd::new(stream.channel(), PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(self.store.as_fd(), PollFlags::IN));
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: left.as_nanos().try_into()? }))?;
        Ok(())
    }

    fn say(&mut self, state: XenbusState) -> Result<(), Error> {
        Ok(self.store.write(&format!("{}/state", self.back), state.node().as_bytes())?)
    }

    /// Looks where the frontend is. Reconfiguring is none of the states that are known here.
    fn look(&mut self) -> Result<(), Error> {
        let value = self.store.read_opt(&format!("{}/state", self.front))?.unwrap_or_default();
        match (XenbusState::from_node(&value), self.contact) {
            (XenbusState::Initialising, Contact::None) => {
                self.say(XenbusState::Initialising)?;
                self.contact = Contact::Offered;
                self.say(XenbusState::InitWait)
            }
            (XenbusState::Initialised, Contact::Offered) => match self.attach() {
                Ok(streams) => {
                    self.streams = streams;
                    self.contact = Contact::Connected;
                    self.connections += 1;
                    self.say(XenbusState::Connected)
                }
                Err(_) => self.break_contact(),
            },
            (XenbusState::Initialising, Contact::Connected) => {
                self.break_contact()?;
                self.look()
            }
            (XenbusState::Closing | XenbusState::Closed, Contact::Connected) => self.break_contact(),
            _ => Ok(()),
        }
    }

    fn break_contact(&mut self) -> Result<(), Error> {
        self.streams.clear();
        self.contact = Contact::None;
        self.say(XenbusState::Closing)?;
        self.say(XenbusState::Closed)
    }

    fn attach(&mut self) -> Result<Vec<Stream>, Error> {
        let mut streams = Vec::new();
        let numbers = |names: Vec<String>| names.into_iter().filter(|name| name.parse::<u32>().is_ok());
        for pcm in numbers(self.store.directory(&self.front)?) {
            for stream in numbers(self.store.directory(&format!("{}/{pcm}", self.front))?) {
                let nodes = self.nodes(&format!("{}/{pcm}/{stream}", self.front))?;
                streams.push(Stream::attach(&self.xen, &self.card, &format!("{pcm}-{stream}"), &nodes)?);
            }
        }
        Ok(streams)
    }

    fn nodes(&mut self, directory: &str) -> Result<Nodes, Error> {
        let direction = self.store.read_string(&format!("{directory}/{}", node::TYPE))?;
        let direction = Direction::from_node(direction.as_bytes()).ok_or("a stream of no direction")?;
        let mut number =
            |name| -> Result<u32, Error> { Ok(self.store.read_string(&format!("{directory}/{name}"))?.parse()?) };
        Ok(Nodes {
            direction,
            ring_ref: number(node::RING_REF)?,
            event_ref: number(node::EVT_RING_REF)?,
            ring_port: number(node::EVENT_CHANNEL)?,
            event_port: number(node::EVT_EVENT_CHANNEL)?,
        })
    }
}
