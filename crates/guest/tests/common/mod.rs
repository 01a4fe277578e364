//! An emulated Xen with one card, and a backend that is simple, correct, and faulty on request.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guest::{Capture, Card, Config};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::store::Direction;
use sndif::v2::{BackRing, EventProducer, Operation, Request, Response, Span, Trigger};
use sndif::{DirectoryStep, DirectoryWalk, Errno, Format, GrantRef, PAGE_BYTES, SharedMemory, XenbusState};
use xen::{Access, DomainId, EventChannel, Mapped, Port, Xen, emu};

pub const GUEST: DomainId = DomainId(5);
pub const TIMEOUT: Duration = Duration::from_secs(60);

pub const DUPLEX: &str = "[['CARD, short-name=Test, buffer-size=1048576', 'PCM, name=main', \
                          'STREAM, unique-id=p0, type=p', 'STREAM, unique-id=c0, type=c']]";

/// Configuration of 48 kHz stereo s16: four periods of 10 ms.
pub const CONFIG: Config =
    Config { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 1920 };

/// Bytes of a period and of the ring of [`CONFIG`].
pub const PERIOD: usize = 1920;
pub const RING: usize = 4 * PERIOD;

/// Records `frames` frames, or all that comes, and stops. Where READs are refused it starts again.
pub fn record(stream: &mut Capture, frames: Option<usize>) -> guest::Result<Vec<u8>> {
    let geometry = *stream.geometry();
    let mut period = vec![0; geometry.period_bytes() as usize];
    let wanted = frames.map_or(usize::MAX, |frames| frames * geometry.frame_bytes() as usize);
    let mut recorded = Vec::new();
    while recorded.len() < wanted {
        let length = period.len().min(wanted - recorded.len());
        match stream.read(&mut period[..length]) {
            Ok(read) => recorded.extend_from_slice(&period[..read]),
            Err(refusal) => stream.restart(refusal)?,
        }
    }
    stream.stop()?;
    Ok(recorded)
}

pub struct Machine {
    pub emulation: emu::Handle,
    pub guest: Xen,
    pub host: Xen,
    _dir: tempfile::TempDir,
}

pub fn machine() -> Machine {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let guest = emulation.open(GUEST).unwrap();
    let host = emulation.open(DomainId(0)).unwrap();
    Machine { emulation, guest, host, _dir: dir }
}

impl Machine {
    pub fn attach(&self, cards: &str) {
        let mut store = self.host.store().unwrap();
        toolstack::attach(&mut store, GUEST, &toolstack::parse(cards).unwrap(), sndif::Protocol::V2).unwrap();
    }

    pub fn connect(&self, timeout: Duration) -> guest::Result<Card> {
        Card::connect(&self.guest, &self.emulation.spec(), 0, timeout)
    }

    pub fn backend(&self, faults: Faults) -> Backend {
        let xen = self.emulation.open(DomainId(0)).unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (commands, orders) = channel();
        let shared = Arc::clone(&heard);
        let thread = std::thread::spawn(move || Serving::new(xen, faults, shared).run(&orders));
        Backend { commands, thread: Some(thread), heard }
    }
}

/// Faults of a bad backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Keeps the stream's buffer mapped at CLOSE.
    pub keeps_mapped: bool,
    /// Does not offer volume and mute.
    pub no_mixer: bool,
    /// Answers WRITE number n as another operation.
    pub confuses_write: Option<u32>,
    /// Refuses READ number n.
    pub refuses_read: Option<u32>,
    /// Answers nothing from the first START on.
    pub falls_silent: bool,
    /// Refuses OPEN.
    pub refuses_open: Option<Errno>,
    /// Reports only positions that cannot be true, as many as there is room for.
    pub floods: bool,
    /// Notifies for nothing.
    pub storms: bool,
    /// Refuses READ number n and all after it, until the given end.
    pub overruns_at_read: Option<(u32, Until)>,
    /// Plays this many times faster than it should; 0 means 1.
    pub speed: u32,
    /// Lets its device move this long after START.
    pub moves_after: Duration,
}

/// The end of an overrun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Start,
    Open,
    Never,
}

/// Data that the backend was given.
#[derive(Debug, Default)]
pub struct Heard {
    pub played: Vec<u8>,
    pub operations: Vec<Operation>,
    pub volume: Vec<i32>,
    pub muted: Vec<bool>,
    /// Contents of the buffer's pages at OPEN, and of the ring and event page at Connected.
    pub pages_at_open: Vec<u8>,
    pub ring_pages: Vec<u8>,
    pub notifications: u32,
}

enum Command {
    /// Ends without a word, like a killed process.
    Die,
    /// Ends like a daemon that is asked to stop.
    Stop,
}

pub struct Backend {
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
    pub heard: Arc<Mutex<Heard>>,
}

impl Backend {
    pub fn die(mut self) -> Arc<Mutex<Heard>> {
        self.end(Command::Die)
    }

    pub fn stop(mut self) -> Arc<Mutex<Heard>> {
        self.end(Command::Stop)
    }

    pub fn played(&self) -> Vec<u8> {
        self.heard.lock().unwrap().played.clone()
    }

    fn end(&mut self, command: Command) -> Arc<Mutex<Heard>> {
        let _ = self.commands.send(command);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        Arc::clone(&self.heard)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end(Command::Die);
        }
    }
}

struct Buffer {
    pages: Mapped,
    ring_bytes: u32,
    frame_bytes: u32,
    rate: u64,
    channels: usize,
    /// Position at the start of the run; bytes written and played in it.
    origin: u64,
    written: u64,
    played: u64,
    reported: u64,
    period: u64,
    running: Option<Instant>,
    /// Bytes played when `running` began.
    base: u64,
}

struct Served {
    direction: Direction,
    ring: BackRing<Mapped>,
    events: EventProducer<Mapped>,
    ring_channel: EventChannel,
    event_channel: EventChannel,
    open: Option<Buffer>,
    kept: Vec<Buffer>,
}

struct Serving {
    xen: Xen,
    store: xenstore::Client,
    faults: Faults,
    heard: Arc<Mutex<Heard>>,
    streams: Vec<Served>,
    connected: bool,
    writes: u32,
    reads: u32,
    overrun: bool,
    silent: bool,
}

const FRONT: &str = "/local/domain/5/device/vsnd/0";
const BACK: &str = "/local/domain/0/backend/vsnd/5/0";

impl Serving {
    fn new(xen: Xen, faults: Faults, heard: Arc<Mutex<Heard>>) -> Self {
        let store = xen.store().unwrap();
        let (writes, reads, overrun, silent) = (0, 0, false, false);
        Self { xen, store, faults, heard, streams: Vec::new(), connected: false, writes, reads, overrun, silent }
    }

    fn front(&mut self) -> XenbusState {
        let value = self.store.read_opt(&format!("{FRONT}/state")).unwrap();
        value.map_or(XenbusState::Unknown, |value| XenbusState::from_node(&value))
    }

    fn say(&mut self, state: XenbusState) {
        self.store.write(&format!("{BACK}/state"), state.node().as_bytes()).unwrap();
    }

    fn run(mut self, orders: &Receiver<Command>) {
        let feature = if self.faults.no_mixer { "0" } else { "1" };
        for node in ["feature-volume", "feature-mute"] {
            self.store.write(&format!("{BACK}/{node}"), feature.as_bytes()).unwrap();
        }
        // A frontend left over from the last daemon has to step back first.
        if matches!(self.front(), XenbusState::Initialised | XenbusState::Connected) {
            self.say(XenbusState::Closed);
            while !matches!(self.front(), XenbusState::Initialising | XenbusState::Reconfiguring) {
                std::thread::sleep(Duration::from_millis(1));
                if !matches!(orders.try_recv(), Err(TryRecvError::Empty)) {
                    return;
                }
            }
        }
        self.say(XenbusState::InitWait);
        self.store.watch(&format!("{FRONT}/state"), "front").unwrap();
        loop {
            match orders.try_recv() {
                Err(TryRecvError::Empty) => {}
                Ok(Command::Stop) => {
                    self.streams.clear();
                    self.say(XenbusState::Closing);
                    self.say(XenbusState::Closed);
                    return;
                }
                _ => return,
            }
            self.store.process().unwrap();
            if self.store.has_events() {
                self.store.take_events();
                match (self.front(), self.connected) {
                    (XenbusState::Initialised, false) => self.connect(),
                    (XenbusState::Initialised | XenbusState::Connected, _) => {}
                    (_, true) => {
                        self.streams.clear();
                        self.connected = false;
                        self.say(XenbusState::InitWait);
                    }
                    _ => {}
                }
            }
            for index in 0..self.streams.len() {
                self.serve(index);
                let stream = &mut self.streams[index];
                if self.faults.floods && stream.open.is_some() {
                    while stream.events.push(u64::MAX / 2).is_ok() {}
                }
                if self.faults.floods || self.faults.storms {
                    stream.event_channel.notify().unwrap();
                } else {
                    stream.play(&self.heard, self.faults.speed.max(1));
                }
            }
            self.sleep();
        }
    }

    fn sleep(&self) {
        let mut fds: Vec<_> =
            self.streams.iter().map(|stream| PollFd::new(&stream.ring_channel, PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(self.store.as_fd(), PollFlags::IN));
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 }));
    }

    fn number(&mut self, path: &str) -> u32 {
        self.store.read_string(path).unwrap().parse().unwrap()
    }

    fn connect(&mut self) {
        for stream in 0..2 {
            let path = format!("{FRONT}/0/{stream}");
            let Some(kind) = self.store.read_opt(&format!("{path}/type")).unwrap() else { continue };
            let control = self.store.read_opt(&format!("{path}/control-size")).unwrap();
            assert_eq!(control.is_some(), !self.faults.no_mixer);
            let ring_ref = GrantRef(self.number(&format!("{path}/ring-ref")));
            let event_ref = GrantRef(self.number(&format!("{path}/evt-ring-ref")));
            let ring = self.xen.map(GUEST, &[ring_ref], Access::ReadWrite).unwrap();
            let events = self.xen.map(GUEST, &[event_ref], Access::ReadWrite).unwrap();
            let mut bytes = vec![1; 2 * PAGE_BYTES];
            ring.read(0, &mut bytes[..PAGE_BYTES]);
            events.read(0, &mut bytes[PAGE_BYTES..]);
            self.heard.lock().unwrap().ring_pages.extend(bytes);
            let (ring_port, event_port) =
                (self.number(&format!("{path}/event-channel")), self.number(&format!("{path}/evt-event-channel")));
            self.streams.push(Served {
                direction: Direction::from_node(&kind).unwrap(),
                ring: BackRing::new(ring),
                events: EventProducer::new(events),
                ring_channel: self.xen.bind_interdomain(GUEST, Port(ring_port)).unwrap(),
                event_channel: self.xen.bind_interdomain(GUEST, Port(event_port)).unwrap(),
                open: None,
                kept: Vec::new(),
            });
        }
        self.connected = true;
        self.say(XenbusState::Connected);
    }

    fn serve(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        if stream.ring_channel.acknowledge().unwrap() {
            self.heard.lock().unwrap().notifications += 1;
        }
        loop {
            while let Some(packet) = stream.ring.take().unwrap() {
                let request = Request::parse(&packet).unwrap();
                self.heard.lock().unwrap().operations.push(request.operation);
                let mut opcode = request.operation.opcode();
                if let Operation::Write(_) = request.operation {
                    self.writes += 1;
                    if self.faults.confuses_write == Some(self.writes) {
                        opcode = 1;
                    }
                }
                let params = match request.operation {
                    Operation::QueryHwParams(params) => Some(params),
                    _ => None,
                };
                self.silent |= self.faults.falls_silent && request.operation == Operation::Trigger(Trigger::Start);
                let mut result = stream.handle(&request.operation, &self.xen, &self.faults, &self.heard);
                if let Operation::Read(_) = request.operation {
                    self.reads += 1;
                    self.overrun |= self.faults.overruns_at_read.is_some_and(|(read, _)| read == self.reads);
                    if self.overrun || self.faults.refuses_read == Some(self.reads) {
                        result = Err(Errno::EIO);
                    }
                }
                match (request.operation, self.faults.overruns_at_read) {
                    (Operation::Trigger(Trigger::Start), Some((_, Until::Start)))
                    | (Operation::Open(_), Some((_, Until::Open))) => self.overrun = false,
                    _ => {}
                }
                if !self.silent {
                    let response = Response { id: request.id, opcode, result, params };
                    stream.ring.respond(&response.emit());
                }
            }
            if !stream.ring.arm(1) {
                break;
            }
        }
        if stream.ring.publish() {
            stream.ring_channel.notify().unwrap();
        }
    }
}

impl Served {
    fn handle(&mut self, operation: &Operation, xen: &Xen, faults: &Faults, heard: &Mutex<Heard>) -> Result<(), Errno> {
        let mut heard = heard.lock().unwrap();
        if let (Operation::Open(_), Some(errno)) = (operation, faults.refuses_open) {
            return Err(errno);
        }
        match operation {
            Operation::Open(open) => {
                let mut refs = Vec::new();
                let (mut walk, mut step) = DirectoryWalk::new(open.directory, open.buffer_bytes).unwrap();
                while let DirectoryStep::Page(page) = step {
                    let mapped = xen.map(GUEST, &[page], Access::ReadOnly).unwrap();
                    let mut bytes = [0; PAGE_BYTES];
                    mapped.read(0, &mut bytes);
                    step = walk.page(&bytes, |reference| refs.push(reference)).unwrap();
                }
                let pages = xen.map(GUEST, &refs, Access::ReadWrite).unwrap();
                heard.pages_at_open = vec![1; pages.len()];
                pages.read(0, &mut heard.pages_at_open);
                let control = if faults.no_mixer { 0 } else { 4096 };
                self.open = Some(Buffer {
                    pages,
                    ring_bytes: open.buffer_bytes - control,
                    frame_bytes: open.format.frame_bytes(open.channels).unwrap(),
                    rate: u64::from(open.rate_hz),
                    channels: open.channels.into(),
                    origin: 0,
                    written: 0,
                    played: 0,
                    reported: 0,
                    period: open.period_bytes.into(),
                    running: None,
                    base: 0,
                });
                return Ok(());
            }
            Operation::Close => {
                let open = self.open.take();
                if faults.keeps_mapped {
                    self.kept.extend(open);
                }
                return Ok(());
            }
            Operation::QueryHwParams(_) => return Ok(()),
            _ => {}
        }
        let open = self.open.as_mut().ok_or(Errno::EIO)?;
        match operation {
            Operation::Write(span) => {
                assert_eq!(u64::from(span.offset), open.written % u64::from(open.ring_bytes));
                open.written += u64::from(span.length);
                assert!(open.written - open.played <= u64::from(open.ring_bytes));
            }
            Operation::Read(span) => {
                // The captured sound is the position, counted in bytes.
                let captured: Vec<u8> = (0..span.length).map(|at| ((span.offset + at) / 4) as u8).collect();
                open.pages.write(span.offset as usize, &captured);
            }
            Operation::Trigger(Trigger::Start | Trigger::Resume) => {
                (open.running, open.base) = (Some(Instant::now() + faults.moves_after), open.played);
            }
            Operation::Trigger(Trigger::Pause) => open.running = None,
            Operation::Trigger(Trigger::Stop) => {
                open.running = None;
                let position = open.reported.max(open.origin + open.played);
                open.origin = position.next_multiple_of(u64::from(open.ring_bytes));
                (open.written, open.played, open.base) = (0, 0, 0);
                open.reported = open.origin;
                self.events.push(open.origin).unwrap();
                self.event_channel.notify().unwrap();
            }
            Operation::SetVolume(span) => {
                let mut bytes = vec![0; span.length as usize];
                open.pages.read(span.offset as usize, &mut bytes);
                heard.volume = bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
            }
            Operation::GetVolume(span) => {
                let bytes: Vec<u8> = heard.volume.iter().flat_map(|volume| volume.to_le_bytes()).collect();
                assert_eq!(bytes.len(), span.length as usize);
                open.pages.write(span.offset as usize, &bytes);
            }
            Operation::Mute(span) | Operation::Unmute(span) => {
                let mut flags = vec![0; span.length as usize];
                open.pages.read(span.offset as usize, &mut flags);
                heard.muted.resize(open.channels, false);
                for (muted, flag) in heard.muted.iter_mut().zip(flags) {
                    if flag != 0 {
                        *muted = matches!(operation, Operation::Mute(_));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn play(&mut self, heard: &Mutex<Heard>, speed: u32) {
        let Some(open) = &mut self.open else { return };
        let Some(since) = open.running else { return };
        let frame = u64::from(open.frame_bytes);
        let elapsed = u64::try_from(since.elapsed().as_nanos()).unwrap() * u64::from(speed);
        let due = open.base + elapsed * open.rate / 1_000_000_000 * frame;
        let ring = u64::from(open.ring_bytes);
        let dry = self.direction == Direction::Playback && due >= open.written;
        let until = if dry { open.written } else { due };
        if self.direction == Direction::Playback {
            let mut heard = heard.lock().unwrap();
            while open.played < until {
                let offset = open.played % ring;
                let length = (until - open.played).min(ring - offset);
                let mut bytes = vec![0; length as usize];
                open.pages.read(offset as usize, &mut bytes);
                heard.played.extend(bytes);
                open.played += length;
            }
            if dry {
                // The clock stands still while there is nothing to play.
                (open.running, open.base) = (Some(Instant::now()), open.played);
            }
        }
        open.played = until;
        let position = open.origin + open.played;
        let boundary = open.reported / open.period != position / open.period && position % open.period > 0;
        let end = dry && position + frame > open.reported && open.written > 0;
        let position = if dry && position % open.period == 0 { position + frame } else { position };
        if (boundary || end) && position > open.reported && self.events.push(position).is_ok() {
            open.reported = position;
            self.event_channel.notify().unwrap();
        }
    }
}

/// Returns the bytes that the backend captures into a ring of `ring` bytes from the start of a run on; they tell their
/// place.
pub fn captured(ring: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % ring / 4) as u8).collect()
}

impl Heard {
    /// Returns the ranges that READs asked for.
    pub fn read_spans(&self) -> Vec<Span> {
        let span = |operation: &Operation| match operation {
            Operation::Read(span) => Some(*span),
            _ => None,
        };
        self.operations.iter().filter_map(span).collect()
    }
}

/// Returns sound in which every frame differs.
pub fn ramp(frames: usize) -> Vec<u8> {
    (0..frames as u32).flat_map(u32::to_le_bytes).collect()
}
