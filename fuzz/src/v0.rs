//! Targets for protocol version 0: packets, and streams of either side, driven by operations from the input.

use backend::v0::{Outcome, Ready, StreamConfig};
use backend::{DeviceLimits, Frames, Pace};
use sndif::store::Direction;
use sndif::test_utils::Pages;
use sndif::v0::{
    Level, OpenParams, Operation, PACKET_BYTES, RING_SLOTS, Request, Response, Stereo, TRANSFER_BYTES_MAX, Transfer,
    opcode,
};
use sndif::{Format, GrantRef, SharedMemory};

use crate::input::Input;
use crate::page::Restless;
use crate::seeds::{Seeds, named};

/// Time that the guests of 2015 wait for an answer.
const TIMEOUT_NS: u64 = 5_000_000_000;

/// Parses any packet as a request and a response. A parsed packet must be the same after emitting and parsing again,
/// and name no more than ten pages.
pub fn v0_packets(bytes: &[u8]) {
    let packet: [u8; PACKET_BYTES] = Input(bytes).array();
    match Request::parse(&packet) {
        Ok(request) => {
            assert_eq!(Request::parse(&request.emit()), Ok(request));
            if let Operation::Read(transfer) | Operation::Write(transfer) = request.operation {
                assert!(transfer.length() <= TRANSFER_BYTES_MAX && transfer.refs().len() <= 10);
                assert!(transfer.refs().len() * sndif::PAGE_BYTES >= transfer.length() as usize);
            }
        }
        Err(rejected) => assert_eq!(rejected.opcode, packet[0]),
    }
    if let Ok(response) = Response::parse(&packet) {
        assert_eq!(Response::parse(&response.emit()), Ok(response));
    }
}

/// Runs the backend's stream with a hostile guest and an unreliable host device. Each request must be answered once, in
/// order and before a guest of 2015 gives up, if the stream is served whenever it requests that. No more than the
/// written bytes may be played.
pub fn v0_backend_stream(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut host = Host::new(&mut input);
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => {
                if let Ok(request) = Request::parse(&input.array()) {
                    host.request(&request, &mut input);
                }
            }
            1..=3 => {
                let operation = operation(&mut input);
                host.request(&Request { id: 7, operation }, &mut input);
            }
            4 => host.pass(u64::from(input.u32() % 3_000_000_000), &mut input),
            5 | 6 => host.look(&mut input),
            _ => host.fails(),
        }
    }
}

/// A plausible operation of a guest.
fn operation(input: &mut Input<'_>) -> Operation {
    match input.u8() % 16 {
        0..=2 => Operation::Open(OpenParams {
            format: if input.flag() { Format::S16Le } else { Format::from_code(input.u8() % 25).unwrap_or(Format::U8) },
            channels: input.u8() % 9,
            rate_hz: [5500, 8000, 48_000, 192_000][usize::from(input.u8() % 4)],
        }),
        3 => Operation::Close,
        4 => Operation::SetVolume(Stereo { left: Level::new(input.u8().into()), right: Level::OFF }),
        5 => Operation::GetVolume,
        what => {
            let length = u32::from(input.u16()) % (TRANSFER_BYTES_MAX + 1);
            let length = if input.flag() { length & !7 } else { length };
            let transfer = Transfer::new(length, &[GrantRef(9); 10]).expect("at most ten pages");
            if what < 9 { Operation::Read(transfer) } else { Operation::Write(transfer) }
        }
    }
}

/// The backend's stream with a host device that the input controls.
pub(crate) struct Host {
    pub(crate) core: backend::v0::Stream,
    pace: Pace,
    noise: u32,
    pub(crate) now_ns: u64,
    /// The waiting request: id, operation and time of arrival.
    asked: Option<(u64, u8, u64)>,
    /// Bytes of WRITEs, and played bytes, since OPEN.
    written: u64,
    played: u64,
    /// The last answer, if it was not taken yet.
    answer: Option<Response>,
}

impl Host {
    fn new(input: &mut Input<'_>) -> Self {
        let shape = input.u8();
        let direction = [None, None, Some(Direction::Playback), Some(Direction::Capture)][usize::from(shape % 4)];
        let allowed = |bit: u8| (shape & bit == 0).then_some(DeviceLimits::ANY);
        let config = StreamConfig {
            direction,
            playback: allowed(16),
            capture: allowed(32),
            lead_bytes_max: 1 << (shape / 64 * 5 + 8),
        };
        Self::with(config, shape.into(), 0)
    }

    pub(crate) fn with(config: StreamConfig, noise: u32, now_ns: u64) -> Self {
        let core = backend::v0::Stream::new(config);
        let pace = if noise & 4 == 0 { Pace::Clock } else { Pace::Device };
        Self { core, pace, noise, now_ns, asked: None, written: 0, played: 0, answer: None }
    }

    /// Returns true if a request has to be answered before the next may be taken.
    pub(crate) fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// Takes the waiting answer.
    pub(crate) fn take_answer(&mut self) -> Option<Response> {
        self.answer.take()
    }

    /// Removes the host device: the clock paces the stream from now on.
    pub(crate) fn fails(&mut self) {
        self.core.set_pace(Pace::Clock, self.now_ns);
        self.pace = Pace::Clock;
    }

    /// Handles a request, unless another one waits for its answer.
    pub(crate) fn request(&mut self, request: &Request, input: &mut Input<'_>) {
        if self.is_waiting() {
            return;
        }
        let (id, code) = (request.id, request.operation.opcode());
        let mut given = None;
        let mut check = |response: Response| {
            assert_eq!((response.id, response.opcode), (id, code));
            given = Some(response);
        };
        if matches!(request.operation, Operation::Open(_)) {
            (self.written, self.played) = (0, 0);
        }
        match self.core.request(request, self.now_ns) {
            Outcome::Respond(response) | Outcome::VolumeChanged(response) => check(response),
            Outcome::Refuse(response, _) => {
                assert!(!response.success);
                check(response);
            }
            Outcome::Open(response, direction) => {
                check(response);
                if let Some(direction) = direction {
                    self.core.start(direction, self.pace, self.now_ns);
                }
            }
            Outcome::Start(direction) if input.u8() < 230 => {
                self.core.start(direction, self.pace, self.now_ns);
                self.asked = Some((id, code, self.now_ns));
            }
            Outcome::Start(_) => check(self.core.fail().expect("it waits")),
            Outcome::Wait => self.asked = Some((id, code, self.now_ns)),
        }
        self.answer = given;
        assert_eq!(self.asked.is_some(), self.core.is_waiting());
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        while let Some((id, code, since_ns)) = self.asked {
            let response = match self.core.ready(self.now_ns) {
                None => return,
                Some(Ready::Respond(response) | Ready::Refuse(response, _) | Ready::Closed(response)) => Some(response),
                Some(Ready::Copy(transfer)) => {
                    self.noise = self.noise.wrapping_mul(0x915F_77F5).wrapping_add(1);
                    if code == opcode::WRITE {
                        self.written += u64::from(transfer.length());
                    }
                    if self.noise.is_multiple_of(13) {
                        self.core.fail()
                    } else {
                        let bytes = u32::try_from(transfer.refs().len() * sndif::PAGE_BYTES).expect("ten pages");
                        self.core.copy(&Restless::new(bytes, self.noise), self.now_ns)
                    }
                }
            };
            if let Some(response) = response {
                assert_eq!((response.id, response.opcode), (id, code));
                assert!(self.now_ns - since_ns < TIMEOUT_NS, "too late for the guest");
                self.asked = None;
                self.answer = Some(response);
            } else if self.core.ready(self.now_ns).is_none() {
                return;
            }
        }
    }

    /// Lets time pass, and serves the stream whenever it requests that.
    fn pass(&mut self, ns: u64, input: &mut Input<'_>) {
        let end = self.now_ns + ns;
        for _ in 0..1000 {
            let Some(wake) = self.core.next_wake_ns().filter(|&wake| wake < end) else { break };
            self.now_ns = self.now_ns.max(wake);
            self.look(input);
        }
        self.now_ns = match self.core.next_wake_ns() {
            Some(wake) => end.min(wake.max(self.now_ns)),
            None => end,
        };
    }

    pub(crate) fn look(&mut self, input: &mut Input<'_>) {
        let mood = input.u8();
        let ring = self.core.geometry().map_or(0, |geometry| geometry.ring_bytes as usize);
        let frame = self.core.geometry().map_or(1, |geometry| geometry.frame_bytes as usize);
        let mut frames = if mood & 1 == 0 { 1 << 16 } else { usize::from(input.u16()) };
        while let Some(stretch) = self.core.frames_to_play(self.now_ns, frames) {
            let bytes = stretch.len();
            assert!(bytes > 0 && bytes <= ring && bytes.is_multiple_of(frame));
            self.core.played(bytes);
            self.played += bytes as u64;
            frames -= bytes / frame;
        }
        assert!(self.played <= self.written, "more is played than was written");
        while let Some(room) = self.core.room_to_capture(self.now_ns, frames) {
            room.fill(mood);
            let bytes = room.len();
            assert!(bytes <= ring && bytes.is_multiple_of(frame));
            self.core.captured(bytes);
            frames -= bytes / frame;
        }
        if self.pace == Pace::Device {
            self.core.set_queued_frames(if mood & 2 == 0 { 0 } else { input.u16().into() });
        }
        self.settle();
        let wake = self.core.next_wake_ns();
        assert!(self.asked.is_none() || wake.is_some(), "a waiting guest is forgotten");
    }
}

/// Runs the frontend's stream over a page in which a hostile backend writes any bytes. Every answer must be to the
/// oldest request, nothing may be counted twice, and the first violation must stay.
pub fn v0_frontend_stream(bytes: &[u8]) {
    let mut input = Input(bytes);
    let ring = Pages::new(1);
    let mut stream = frontend::v0::Stream::new(ring.clone(), 7);
    let (mut answered, mut broken, mut asked) = (0_u32, None, std::collections::VecDeque::new());
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => ring.store_release(usize::from(input.u8() % 4) * 4, input.u32()),
            1..=3 => {
                // Plausible answers, with a result from the input.
                let mut request = [0; PACKET_BYTES];
                ring.read(slot(answered), &mut request);
                let response = Response { id: 7, opcode: request[0], success: input.u8() < 200, volume: None };
                ring.write(slot(answered), &response.emit());
                answered = answered.wrapping_add(1);
                ring.store_release(8, answered);
            }
            4 => drop(ring.write(slot(input.u8().into()), &input.array::<PACKET_BYTES>())),
            5 | 6 => {
                let operation = operation(&mut input);
                if stream.submit(operation, u64::from(stream.counters().requests as u32)).is_ok() {
                    asked.push_back(operation);
                }
                let _ = stream.publish();
            }
            _ => {
                for _ in 0..40 {
                    match stream.next_completion() {
                        Ok(Some(completion)) => {
                            assert_eq!(broken, None);
                            assert_eq!(Some(completion.operation), asked.pop_front());
                        }
                        Ok(None) => break,
                        Err(violation) => {
                            assert_eq!(*broken.get_or_insert(violation), violation);
                            break;
                        }
                    }
                }
            }
        }
        assert!(stream.in_flight() <= RING_SLOTS && stream.transfers_in_flight() <= RING_SLOTS);
        assert!(stream.counters().responses <= stream.counters().requests);
    }
}

fn slot(index: u32) -> usize {
    64 + (index % RING_SLOTS) as usize * PACKET_BYTES
}

fn open() -> Operation {
    Operation::Open(OpenParams { format: Format::S16Le, channels: 2, rate_hz: 48_000 })
}

fn transfer(length: u32) -> Transfer {
    Transfer::new(length, &[GrantRef(9); 10]).expect("at most ten pages")
}

/// Seeds of [`v0_packets`].
pub(crate) fn packet_seeds() -> Seeds {
    let volume = Stereo { left: Level::new(-50), right: Level::OFF };
    let requests = [
        ("open", open()),
        ("close", Operation::Close),
        ("write", Operation::Write(transfer(40_960))),
        ("read", Operation::Read(transfer(4096))),
        ("volume", Operation::SetVolume(volume)),
    ];
    let mut seeds: Seeds =
        requests.map(|(name, operation)| named(name, Request { id: 7, operation }.emit())).into_iter().collect();
    let told = Response { id: 7, opcode: opcode::GET_VOLUME, success: true, volume: Some(volume) };
    seeds.push(named("response", told.emit()));
    seeds
}

/// A request in the form in which [`v0_backend_stream`] reads a whole packet.
fn packet(operation: Operation) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(Request { id: 7, operation }.emit());
    bytes
}

/// The first transfer of a stream: it reads one more byte, which makes the host device open.
fn first(operation: Operation) -> Vec<u8> {
    let mut bytes = packet(operation);
    bytes.push(0);
    bytes
}

fn pass(milliseconds: u32) -> Vec<u8> {
    let mut bytes = vec![4];
    bytes.extend((milliseconds * 1_000_000).to_le_bytes());
    bytes
}

/// Seeds of [`v0_backend_stream`].
pub(crate) fn backend_seeds() -> Seeds {
    let look = || vec![5, 0];
    let program =
        |shape: u8, steps: Vec<Vec<u8>>| std::iter::once(vec![shape]).chain(steps).flatten().collect::<Vec<u8>>();
    let transfers = |operation: Operation, count: usize, milliseconds: u32| -> Vec<Vec<u8>> {
        let request = |n| if n == 0 { first(operation) } else { packet(operation) };
        (0..count).flat_map(|n| [request(n), pass(milliseconds), look()]).collect()
    };
    let play = transfers(Operation::Write(transfer(4096)), 8, 22);
    let record = transfers(Operation::Read(transfer(1920)), 6, 12);
    let close = || vec![packet(Operation::Close), pass(200), look()];
    let with = |middle: Vec<Vec<u8>>| [vec![packet(open())], middle, close()].concat();
    vec![
        named("play", program(0b1000_0000, with(play.clone()))),
        named("play_device", program(0b1000_0110, with(play))),
        named("record", program(0b1000_0011, with(record))),
        named(
            "long_write",
            program(
                0b1000_0010,
                with(vec![packet(Operation::Write(transfer(40_960))), pass(2900), pass(2900), look()]),
            ),
        ),
    ]
}

/// Seeds of [`v0_frontend_stream`].
pub(crate) fn frontend_seeds() -> Seeds {
    // Submit and publish OPEN (with the first format and rate), a good answer, take it.
    let opened = [5, 0, 0, 0, 2, 2, 1, 0, 7];
    let write = [5, 15, 0, 16, 0];
    let answered = [1, 0];
    vec![
        named("write", [&opened[..], &write, &write, &answered, &answered, &[7]].concat()),
        named("refused", [&opened[..], &write, &[1, 255, 7]].concat()),
        named("index", [&opened[..], &[0, 2, 0xff, 0, 0, 0, 7, 7]].concat()),
    ]
}
