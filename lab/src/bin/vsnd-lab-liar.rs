//! `vsnd-lab-liar`: a backend that lies to its guest, on a real Xen.
//!
//! The program runs in dom0 in place of the daemon and serves card 0 of a domain. All of its answers and events are
//! true except for one kind of lie. Others tell what becomes of the guest.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::store::node;
use sndif::v2::{BackRing, EventProducer, HwParams, Interval, Operation, PACKET_BYTES, Request, Response, Trigger};
use sndif::{DirectoryStep, DirectoryWalk, Errno, GrantRef, PAGE_BYTES, SharedMemory, XenbusState};
use xen::{Access, DomainId, EventChannel, Mapped, Port, Xen, XenSpec};

/// Producer indices: of responses in the ring, of events in their page (ring.h, sndif.h).
const RSP_PROD: usize = 8;
const IN_PROD: usize = 4;

#[derive(Debug, Parser)]
#[command(version, about = "A backend that lies, for the lab.")]
struct Arguments {
    /// The guest that is lied to.
    domain: u16,
    /// Subject of the lie.
    lie: Lie,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lie {
    /// No lie: the guest is served as it should be.
    None,
    /// Answers are arbitrary bytes.
    Answers,
    /// Answers are for requests that nobody made.
    Ids,
    /// More answers than requests.
    Producer,
    /// Every operation fails, with numbers that are no error.
    Results,
    /// Parameters: nothing possible, everything possible, the wrong way round.
    Params,
    /// No answer to anything after OPEN.
    Silence,
    /// Positions that jump, go back, or are impossible.
    Positions,
    /// More events than the page holds, in any form.
    Events,
    /// Notifications without a reason.
    Storm,
    /// States in any order.
    States,
    /// Buffers are kept mapped after CLOSE.
    Keep,
    /// Events that fill the page, none of which can be true.
    Flood,
    /// After OPEN, an answer every two seconds.
    Slow,
}

/// Time that [`Lie::Slow`] takes for an answer.
const SLOW: Duration = Duration::from_secs(2);
/// Time for which [`Lie::States`] leaves a connection alone, so that it meets open streams.
const CALM: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(never) => match never {},
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "vsnd-lab-liar: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<std::convert::Infallible> {
    let xen = Xen::open(&XenSpec::Dev, None).context("cannot reach Xen")?;
    let mut liar = Liar {
        guest: DomainId(arguments.domain),
        lie: arguments.lie,
        store: xen.store()?,
        xen,
        streams: Vec::new(),
        front: XenbusState::Unknown,
        connected: false,
        since: Instant::now(),
        random: 1,
    };
    liar.announce()?;
    loop {
        liar.turn()?;
    }
}

struct Liar {
    guest: DomainId,
    lie: Lie,
    xen: Xen,
    store: xenstore::Client,
    streams: Vec<Stream>,
    /// The frontend's state as last seen.
    front: XenbusState,
    connected: bool,
    /// Time of the last connection.
    since: Instant,
    random: u64,
}

/// A connected stream. The pages are mapped twice: to be used as they should be, and as they should not.
struct Stream {
    ring: BackRing<Mapped>,
    events: EventProducer<Mapped>,
    bare_ring: Mapped,
    bare_events: Mapped,
    ring_channel: EventChannel,
    event_channel: EventChannel,
    open: Option<Open>,
    kept: Vec<Mapped>,
    /// Time of the last answer.
    answered: Instant,
}

struct Open {
    buffer: Mapped,
    bytes_per_second: u64,
    running: Option<Instant>,
    /// Bytes at the last report, and between two.
    reported: u64,
    period: u64,
}

impl Stream {
    /// Returns true if [`Lie::Slow`] has just answered.
    fn is_slow(&self) -> bool {
        self.open.is_some() && self.answered.elapsed() < SLOW
    }
}

impl Liar {
    fn back(&self, name: &str) -> String {
        format!("/local/domain/0/backend/vsnd/{}/0/{name}", self.guest)
    }

    fn front(&self, name: &str) -> String {
        format!("{}/{name}", self.card())
    }

    fn card(&self) -> String {
        format!("/local/domain/{}/device/vsnd/0", self.guest)
    }

    fn front_state(&mut self) -> Result<XenbusState> {
        let value = self.store.read_opt(&self.front("state"))?.unwrap_or_default();
        Ok(XenbusState::from_node(&value))
    }

    fn say(&mut self, state: &[u8]) -> Result<()> {
        Ok(self.store.write(&self.back("state"), state)?)
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random ^ self.random >> 33
    }

    /// Offers the card. A guest that was connected to somebody else has to step back first.
    fn announce(&mut self) -> Result<()> {
        for name in [node::FEATURE_VOLUME, node::FEATURE_MUTE, node::FEATURE_READ_AHEAD] {
            self.store.write(&self.back(name), b"1")?;
        }
        self.store.write(&self.back(node::VERSIONS), b"2")?;
        self.store.watch(&self.front("state"), "front")?;
        self.say(XenbusState::Closed.node().as_bytes())?;
        let patience = Instant::now() + Duration::from_secs(2);
        while self.front_state()? != XenbusState::Initialising && Instant::now() < patience {
            self.store.wait_event(Duration::from_millis(100))?;
        }
        self.say(XenbusState::InitWait.node().as_bytes())
    }

    fn turn(&mut self) -> Result<()> {
        self.store.process()?;
        // Reading takes as long as everything else in a turn.
        if !self.store.take_events().is_empty() || self.front == XenbusState::Unknown {
            self.front = self.front_state()?;
        }
        match (self.front, self.connected) {
            (XenbusState::Initialised, false) => self.connect()?,
            (XenbusState::Initialised | XenbusState::Connected, _) | (_, false) => {}
            (_, true) => {
                self.streams.clear();
                self.connected = false;
                self.say(XenbusState::InitWait.node().as_bytes())?;
            }
        }
        if self.lie == Lie::States && self.connected && self.since.elapsed() > CALM {
            let state = (self.random() % 12).to_string();
            self.say(state.as_bytes())?;
        }
        let mut streams = std::mem::take(&mut self.streams);
        for stream in &mut streams {
            self.serve(stream)?;
            self.report(stream)?;
        }
        self.streams = streams;
        let mut fds: Vec<_> =
            self.streams.iter().map(|stream| PollFd::new(&stream.ring_channel, PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(self.store.as_fd(), PollFlags::IN));
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: self.rest_ms() * 1_000_000 }))?;
        Ok(())
    }

    /// Time without a request until the next turn.
    fn rest_ms(&self) -> i64 {
        let by_itself = matches!(self.lie, Lie::Positions | Lie::Events | Lie::Storm | Lie::States | Lie::Flood);
        let runs = |stream: &Stream| stream.open.as_ref().is_some_and(|open| open.running.is_some());
        if by_itself {
            2
        } else if self.streams.iter().any(runs) {
            5
        } else {
            100
        }
    }

    fn connect(&mut self) -> Result<()> {
        for pcm in self.store.directory(&self.card())? {
            for stream in self.store.directory(&self.front(&pcm)).unwrap_or_default() {
                let path = format!("{pcm}/{stream}");
                if self.store.exists(&self.front(&format!("{path}/{}", node::RING_REF)))? {
                    let stream = self.attach(&path)?;
                    self.streams.push(stream);
                }
            }
        }
        self.connected = true;
        self.since = Instant::now();
        self.say(XenbusState::Connected.node().as_bytes())
    }

    fn attach(&mut self, path: &str) -> Result<Stream> {
        let directory = self.front(path);
        let mut number =
            |name: &str| -> Result<u32> { Ok(self.store.read_string(&format!("{directory}/{name}"))?.parse()?) };
        let ring = [GrantRef(number(node::RING_REF)?)];
        let events = [GrantRef(number(node::EVT_RING_REF)?)];
        let (port, event_port) = (Port(number(node::EVENT_CHANNEL)?), Port(number(node::EVT_EVENT_CHANNEL)?));
        let map = |page| self.xen.map(self.guest, page, Access::ReadWrite);
        Ok(Stream {
            ring: BackRing::new(map(&ring)?),
            events: EventProducer::new(map(&events)?),
            bare_ring: map(&ring)?,
            bare_events: map(&events)?,
            ring_channel: self.xen.bind_interdomain(self.guest, port)?,
            event_channel: self.xen.bind_interdomain(self.guest, event_port)?,
            open: None,
            kept: Vec::new(),
            answered: Instant::now(),
        })
    }

    /// Answers what has been asked.
    fn serve(&mut self, stream: &mut Stream) -> Result<()> {
        stream.ring_channel.acknowledge()?;
        while !(self.lie == Lie::Slow && stream.is_slow()) {
            while let Ok(Some(packet)) = stream.ring.take() {
                let Ok(request) = Request::parse(&packet) else { continue };
                let params = match request.operation {
                    Operation::QueryHwParams(params) => Some(params),
                    _ => None,
                };
                let result = self.carry_out(stream, &request.operation);
                let truth = Response { id: request.id, opcode: request.operation.opcode(), result, params };
                if let Some(answer) = self.twist(stream, truth) {
                    stream.ring.respond(&answer);
                    stream.answered = Instant::now();
                }
                if self.lie == Lie::Slow {
                    break;
                }
            }
            if !stream.ring.arm(1) {
                break;
            }
        }
        if stream.ring.publish() {
            stream.ring_channel.notify()?;
        }
        Ok(())
    }

    fn carry_out(&mut self, stream: &mut Stream, operation: &Operation) -> Result<(), Errno> {
        match operation {
            Operation::Open(open) => {
                let buffer = self.map_buffer(open.directory, open.buffer_bytes).map_err(|_| Errno::EIO)?;
                let frame_bytes = open.format.frame_bytes(open.channels).unwrap_or(1);
                stream.open = Some(Open {
                    buffer,
                    bytes_per_second: u64::from(open.rate_hz) * u64::from(frame_bytes),
                    running: None,
                    reported: 0,
                    period: open.period_bytes.max(1).into(),
                });
            }
            Operation::Close => {
                let open = stream.open.take();
                if self.lie == Lie::Keep {
                    stream.kept.extend(open.map(|open| open.buffer));
                }
            }
            Operation::Trigger(trigger) => {
                let start = matches!(trigger, Trigger::Start | Trigger::Resume);
                if let Some(open) = &mut stream.open {
                    open.running = start.then(Instant::now);
                    open.reported = 0;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn map_buffer(&self, first: GrantRef, buffer_bytes: u32) -> Result<Mapped> {
        let mut refs = Vec::new();
        let (mut walk, mut step) = DirectoryWalk::new(first, buffer_bytes)?;
        while let DirectoryStep::Page(page) = step {
            let mut bytes = [0; PAGE_BYTES];
            self.xen.map(self.guest, &[page], Access::ReadOnly)?.read(0, &mut bytes);
            step = walk.page(&bytes, |reference| refs.push(reference))?;
        }
        Ok(self.xen.map(self.guest, &refs, Access::ReadWrite)?)
    }

    /// Returns the packet to answer in place of the truth, if any.
    fn twist(&mut self, stream: &Stream, truth: Response) -> Option<[u8; PACKET_BYTES]> {
        let random = self.random();
        Some(match self.lie {
            Lie::Answers => std::array::from_fn(|_| self.random() as u8),
            Lie::Ids => Response { id: random as u16, ..truth }.emit(),
            Lie::Results => {
                let mut answer = truth.emit();
                // The status (sndif.h, "Response").
                answer[4..8].copy_from_slice(&(random as u32).to_le_bytes());
                answer
            }
            Lie::Params => {
                let odd = |kind| match kind % 4 {
                    0 => Interval { min: 0, max: 0 },
                    1 => Interval { min: u32::MAX, max: 0 },
                    2 => Interval { min: 0, max: u32::MAX },
                    _ => Interval { min: u32::MAX, max: u32::MAX },
                };
                let params = truth.params.map(|params| HwParams {
                    rates_hz: odd(random),
                    channels: odd(random >> 2),
                    buffer_frames: odd(random >> 4),
                    period_frames: odd(random >> 6),
                    ..params
                });
                Response { params, ..truth }.emit()
            }
            Lie::Silence if stream.open.is_some() => return None,
            Lie::Producer => {
                stream.bare_ring.store_release(RSP_PROD, random as u32);
                return None;
            }
            _ => truth.emit(),
        })
    }

    /// Tells of positions, as they are or as they are not.
    fn report(&mut self, stream: &mut Stream) -> Result<()> {
        let random = self.random();
        match self.lie {
            Lie::Positions if stream.open.is_some() => {
                let _ = stream.events.push(random >> (random % 64));
                stream.event_channel.notify()?;
            }
            Lie::Events => {
                for offset in (64..PAGE_BYTES).step_by(8) {
                    stream.bare_events.write(offset, &self.random().to_le_bytes());
                }
                stream.bare_events.store_release(IN_PROD, random as u32);
                stream.event_channel.notify()?;
            }
            Lie::Flood => {
                if stream.open.is_some() {
                    while stream.events.push(u64::MAX / 2).is_ok() {}
                    stream.event_channel.notify()?;
                }
                return Ok(());
            }
            Lie::Storm => {
                for _ in 0..20 {
                    stream.ring_channel.notify()?;
                    stream.event_channel.notify()?;
                }
            }
            _ => {}
        }
        let Some(open) = &mut stream.open else { return Ok(()) };
        let Some(since) = open.running else { return Ok(()) };
        let position = since.elapsed().as_millis() as u64 * open.bytes_per_second / 1000;
        let period_end = (open.reported / open.period + 1) * open.period;
        // Linux's own driver wants to be told when a period is past.
        if position > period_end && stream.events.push(position).is_ok() {
            open.reported = position;
            stream.event_channel.notify()?;
        }
        Ok(())
    }
}
