//! Streams of either side, driven by a program of operations that the input spells, one byte an operation
//! and its operands behind it.

use std::collections::VecDeque;

use backend::{DeviceLimits, Frames, HostLimits, Offer, Outcome, Pace, StreamConfig};
use frontend::Geometry;
use sndif::store::{Direction, LimitNodes, Limits};
use sndif::v2::{Event, HwParams, OpenParams, Operation, Request, Response, Span, Trigger};
use sndif::{Errno, Format, FormatSet, GrantRef, SharedMemory};

use crate::input::Input;
use sndif::test_utils::Pages;

use crate::page::Restless;

const MILLISECOND: u64 = 1_000_000;

/// A stream that ran dry so long ago is told past the boundary that follows.
const PAST_END_NS: u64 = 20 * MILLISECOND;

/// The backend's stream under a hostile guest and a moody host device. Positions never run back, lie at most
/// a frame past what was taken (a period more, once the stream was dry for 20 ms), come once a millisecond (but
/// for that of STOP), and a stream never asks to be woken at a moment that is past.
pub fn backend_stream(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut host = Host::new(&mut input);
    let mut map = |_: GrantRef, _: u32| Ok(());
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => {
                let request = Request::parse(&input.packet());
                if let Ok(request) = request {
                    host.request(&request, &mut input, &mut map);
                }
            }
            1..=3 => {
                let operation = operation(&mut input);
                host.request(&Request { id: 7, operation }, &mut input, &mut map);
            }
            4 => host.now_ns += u64::from(input.u32() % 40_000_000),
            5 | 6 => {
                let mood = input.u8();
                host.look(mood, &mut input, |_| mood & 12 != 12);
            }
            _ => host.fails(),
        }
        while host.kept_read().is_some() {}
    }
}

/// An operation as a guest may well send it: sizes of the right order.
fn operation(input: &mut Input<'_>) -> Operation {
    let small = |input: &mut Input<'_>| u32::from(input.u16()) % 5000;
    let what = input.u8() % 16;
    match what {
        0 => {
            let frames = 1 + small(input);
            let format = Format::from_code(input.u8() % 25).unwrap_or(Format::S16Le);
            let format = if input.u8() < 200 { Format::S16Le } else { format };
            let frame = format.frame_bytes(2).unwrap_or(1);
            let period_bytes = small(input) % frames * frame;
            Operation::Open(OpenParams {
                rate_hz: [8000, 44_100, 48_000, 192_000][usize::from(input.u8() % 4)],
                format,
                channels: 2,
                buffer_bytes: frames * frame,
                directory: GrantRef(9),
                period_bytes,
            })
        }
        1 => Operation::Close,
        2 | 3 => Operation::Trigger(Trigger::Start),
        4 => Operation::Trigger(Trigger::Stop),
        5 => Operation::Trigger(if input.flag() { Trigger::Pause } else { Trigger::Resume }),
        6 => Operation::QueryHwParams(HwParams { formats: FormatSet::from_bits(input.u32().into()), ..HwParams::ANY }),
        _ => {
            let span = Span { offset: small(input) * 4, length: small(input) };
            match what {
                7 => Operation::SetVolume(span),
                8 => Operation::GetVolume(span),
                9 => Operation::Mute(span),
                10 => Operation::Read(span),
                11 => {
                    let turns = u64::from(input.u8() % 8);
                    let ring = u64::from(small(input)) * 4;
                    let end = u64::from(span.offset) + u64::from(span.length);
                    Operation::ReadAhead { span, until_bytes: turns * ring + end }
                }
                _ => Operation::Write(span),
            }
        }
    }
}

/// Offer of the streams here.
pub(crate) fn offer() -> Offer {
    let nodes = LimitNodes {
        channels_max: Some(b"8"),
        sample_rates: Some(b"8000,44100,48000,192000"),
        sample_formats: Some(b"s8,s16_le,s24_be,ima_adpcm,float64_le,gsm"),
        buffer_size: Some(b"200000"),
        ..LimitNodes::default()
    };
    let store = Limits::DEFAULT.narrowed_by(&nodes).expect("legal nodes");
    Offer { store, device: DeviceLimits::ANY, host: HostLimits::default(), control_bytes: 0 }
}

/// Maps a buffer of so many bytes with this directory.
pub(crate) type Map<'a> = &'a mut dyn FnMut(GrantRef, u32) -> Result<(), Errno>;

/// Largest buffer that a guest may open here.
pub(crate) const BUFFER_BYTES_MAX: u32 = 200_000;

/// The backend's stream with a host device that is played by the input.
pub(crate) struct Host {
    pub(crate) core: backend::Stream<Restless>,
    pace: Pace,
    noise: u32,
    pub(crate) now_ns: u64,
    frame_bytes: u64,
    ring_bytes: u64,
    period_bytes: u64,
    taken: u64,
    told: u64,
    owed_after_stop: bool,
    last_event_ns: Option<u64>,
    /// READs without an answer, and up to where they ask.
    kept: VecDeque<(u16, u64)>,
}

impl Host {
    fn new(input: &mut Input<'_>) -> Self {
        let shape = input.u8();
        let direction = if shape & 1 == 0 { Direction::Playback } else { Direction::Capture };
        let config = StreamConfig { direction, offer: offer(), permitted: shape & 4 == 0, write_hold_off: false };
        let mut host = Self::with(config, shape.into(), 0);
        host.pace = if shape & 2 == 0 { Pace::Clock } else { Pace::Device };
        host
    }

    pub(crate) fn with(config: StreamConfig, noise: u32, now_ns: u64) -> Self {
        Self {
            core: backend::Stream::new(config),
            pace: Pace::Clock,
            noise,
            now_ns,
            frame_bytes: 1,
            ring_bytes: 1,
            period_bytes: 0,
            taken: 0,
            told: 0,
            owed_after_stop: false,
            last_event_ns: None,
            kept: VecDeque::new(),
        }
    }

    /// Handles a request wholly; its answer, which is checked.
    pub(crate) fn request(&mut self, request: &Request, input: &mut Input<'_>, map: Map<'_>) -> Option<Response> {
        let requests = self.core.counters().requests;
        let opened = Response { id: request.id, opcode: request.operation.opcode(), result: Ok(()), params: None };
        let response = match self.core.request(request, self.now_ns) {
            Outcome::Open(geometry, directory) => 'open: {
                assert!(geometry.buffer_bytes <= BUFFER_BYTES_MAX);
                if let Err(errno) = map(directory, geometry.buffer_bytes) {
                    break 'open Response { result: Err(errno), ..opened };
                }
                let memory = Restless::new(geometry.buffer_bytes, self.noise);
                self.pace = if input.flag() { Pace::Clock } else { Pace::Device };
                self.core.opened(geometry, memory, self.pace, |mirror| mirror.fill(0));
                self.frame_bytes = geometry.frame_bytes.into();
                self.ring_bytes = geometry.ring_bytes.into();
                self.period_bytes = geometry.period_bytes.into();
                self.forget();
                opened
            }
            Outcome::Stopped(response) => {
                self.taken = self.taken.max(self.told).next_multiple_of(self.ring_bytes);
                let wanted = self.core.geometry().is_some_and(|geometry| geometry.period_bytes > 0);
                self.owed_after_stop |= wanted && self.taken > self.told;
                response
            }
            Outcome::Copying(_) => self.copy(),
            Outcome::Kept => {
                let Operation::ReadAhead { until_bytes, .. } = request.operation else { panic!("{request:?} is kept") };
                self.kept.push_back((request.id, until_bytes));
                assert!(self.kept.len() <= 32);
                return None;
            }
            Outcome::Respond(response)
            | Outcome::Closed(response)
            | Outcome::Started(response)
            | Outcome::Paused(response)
            | Outcome::Resumed(response)
            | Outcome::VolumeChanged(response) => response,
        };
        assert_eq!((response.id, response.opcode), (opened.id, opened.opcode));
        if let Operation::QueryHwParams(asked) = request.operation {
            assert_eq!(response.params.is_some(), response.result.is_ok());
            assert!(response.params.is_none_or(|got| !got.is_empty() && got.intersection(&asked) == got));
        } else {
            assert_eq!(response.params, None);
        }
        assert_eq!(self.core.counters().requests, requests + 1);
        let ends = matches!(request.operation, Operation::Close)
            || matches!(request.operation, Operation::Open(_)) && response.result.is_err();
        assert!(!ends || self.core.geometry().is_none(), "what an OPEN replaces stays open");
        self.forget_if_closed();
        Some(response)
    }

    /// The next answer to a READ that was kept: in order, and with frames only of what was told.
    pub(crate) fn kept_read(&mut self) -> Option<Response> {
        let response = self.core.kept_read()?;
        let (id, until) = self.kept.pop_front().expect("an answer to what was kept");
        let known = if self.period_bytes > 0 { self.told } else { self.taken };
        assert_eq!(response.id, id);
        assert!(response.result.is_err() || until <= known, "{until} is not told, but {known}");
        Some(response)
    }

    /// Returns true while READs are kept.
    pub(crate) fn keeps_reads(&self) -> bool {
        !self.kept.is_empty()
    }

    /// All parts of a long WRITE or READ.
    fn copy(&mut self) -> Response {
        let parts = BUFFER_BYTES_MAX.div_ceil(1 << 18) + 1;
        let answered = (0..parts).find_map(|_| self.core.copy(self.now_ns));
        answered.expect("a copy ends")
    }

    /// The host device is gone: the clock takes over.
    pub(crate) fn fails(&mut self) {
        self.core.set_pace(Pace::Clock, self.now_ns);
        self.pace = Pace::Clock;
    }

    fn forget_if_closed(&mut self) {
        if self.core.geometry().is_none() {
            assert_eq!((self.core.event(u64::MAX), self.core.next_wake_ns()), (None, None));
            self.forget();
        }
    }

    fn forget(&mut self) {
        (self.taken, self.told, self.owed_after_stop, self.last_event_ns) = (0, 0, false, None);
    }

    /// The device takes or gives what it likes; `push` puts a position into the event page, if that has room.
    pub(crate) fn look(&mut self, mood: u8, input: &mut Input<'_>, push: impl FnOnce(u64) -> bool) {
        let mut frames = if mood & 1 == 0 { 1 << 16 } else { usize::from(input.u16()) };
        while let Some(stretch) = self.core.frames_to_play(self.now_ns, frames) {
            let bytes = stretch.len();
            assert!(bytes > 0 && bytes as u64 <= self.ring_bytes);
            self.core.played(bytes);
            self.taken += bytes as u64;
            frames -= bytes / self.frame_bytes as usize;
        }
        while let Some(room) = self.core.room_to_capture(self.now_ns, frames) {
            room.fill(mood);
            let bytes = room.len();
            assert!(bytes > 0 && bytes as u64 <= self.ring_bytes);
            self.core.captured(bytes);
            self.taken += bytes as u64;
            frames -= bytes / self.frame_bytes as usize;
        }
        if self.pace == Pace::Device && self.core.direction() == Direction::Playback {
            self.core.set_queued_frames(if mood & 2 == 0 { 0 } else { input.u16().into() });
        }
        self.tell(push);
        let wake = self.core.next_wake_ns();
        assert!(wake.is_none_or(|at| at > self.now_ns), "woken at {wake:?}, at {}", self.now_ns);
    }

    pub(crate) fn tell(&mut self, push: impl FnOnce(u64) -> bool) {
        let Some(position) = self.core.event(self.now_ns) else {
            assert!(!self.owed_after_stop);
            return;
        };
        assert!(position > self.told);
        let since_last_ns = self.last_event_ns.map_or(0, |last| self.now_ns - last);
        let past_end = if since_last_ns >= PAST_END_NS { self.period_bytes } else { 0 };
        assert!(position <= self.taken + past_end + self.frame_bytes, "told {position} of {}", self.taken);
        let in_time = self.last_event_ns.is_none_or(|last| self.now_ns - last >= MILLISECOND);
        assert!(in_time || self.owed_after_stop);
        if push(position) {
            self.core.event_sent(position, self.now_ns);
            (self.told, self.owed_after_stop, self.last_event_ns) = (position, false, Some(self.now_ns));
        } else {
            self.core.event_deferred(self.now_ns);
        }
    }
}

/// The frontend's stream over pages in which a hostile backend writes what it likes. What it believes stays
/// within its own buffer, positions never run back, and the first violation stays.
pub fn frontend_stream(bytes: &[u8]) {
    let mut input = Input(bytes);
    let direction = if input.flag() { Direction::Playback } else { Direction::Capture };
    let (ring, events) = (Pages::new(1), Pages::new(1));
    let mut stream = frontend::Stream::new(direction, ring.clone(), events.clone(), 0);
    stream.set_reads_ahead(bytes.len().is_multiple_of(2));
    let (mut answered, mut told, mut broken) = (0_u32, 0_u32, None);
    let mut position = 0;
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => ring.store_release(usize::from(input.u8() % 4) * 4, input.u32()),
            1 => events.store_release(usize::from(input.u8() % 2) * 4, input.u32()),
            2 => {
                // Believable answers, of which the input spells the result.
                let request: [u8; 64] = read(&ring, answered % 32);
                let (id, opcode) = (u16::from_le_bytes([request[0], request[1]]), request[2]);
                let result = Errno::from_status(-i32::from(input.u8() % 2)).map_or(Ok(()), Err);
                ring.write(slot(answered % 32), &Response { id, opcode, result, params: None }.emit());
                answered = answered.wrapping_add(1);
                ring.store_release(8, answered);
            }
            3 => {
                let event = Event { id: told as u16, position_bytes: input.u32().into() };
                events.write(slot(told % 63), &event.emit());
                told = told.wrapping_add(1);
                events.store_release(4, told);
            }
            4 => drop(ring.write(slot(u32::from(input.u8()) % 32), &input.packet())),
            5 => {
                let operation = frontend_operation(&stream, &mut input);
                let _ = stream.submit(operation);
                let _ = stream.publish();
            }
            6 => {
                for _ in 0..40 {
                    match stream.next_completion() {
                        Ok(Some(_)) => assert_eq!(broken, None),
                        Ok(None) => break,
                        Err(violation) => {
                            assert_eq!(*broken.get_or_insert(violation), violation);
                            break;
                        }
                    }
                }
            }
            _ => match stream.take_events() {
                Ok(progress) => assert!(broken.is_none() && progress.events <= 63),
                Err(violation) => assert_eq!(*broken.get_or_insert(violation), violation),
            },
        }
        let Some(geometry) = stream.geometry() else {
            position = 0;
            continue;
        };
        let ring_bytes = geometry.ring_bytes();
        assert!(stream.filled_bytes() <= ring_bytes && stream.available_bytes() <= ring_bytes);
        let span = stream.next_span(u32::MAX);
        assert!(span.is_none_or(
            |span| span.length > 0 && u64::from(span.offset) + u64::from(span.length) <= u64::from(ring_bytes)
        ));
        assert!(stream.position_bytes() >= position || stream.position_bytes() == 0);
        position = stream.position_bytes();
    }
}

fn slot(index: u32) -> usize {
    64 + index as usize * 64
}

fn read(page: &Pages, index: u32) -> [u8; 64] {
    let mut packet = [0; 64];
    page.read(slot(index), &mut packet);
    packet
}

fn frontend_operation(stream: &frontend::Stream<Pages>, input: &mut Input<'_>) -> Operation {
    match input.u8() % 8 {
        0 | 1 => Geometry::new(Format::S16Le, 2, 48_000, 1 + u32::from(input.u8()), 2048)
            .and_then(|geometry| geometry.open_params(0, GrantRef(9)))
            .map_or(Operation::Close, Operation::Open),
        2 => Operation::Close,
        3 => Operation::Trigger(Trigger::Start),
        4 => Operation::Trigger(if input.flag() { Trigger::Stop } else { Trigger::Pause }),
        5 => Operation::QueryHwParams(HwParams::ANY),
        _ => match stream.next_span(u32::from(input.u16())) {
            Some(span) if input.flag() => Operation::Write(span),
            Some(_) if input.flag() => stream.next_read(u32::MAX).unwrap_or(Operation::Close),
            Some(span) => Operation::Read(span),
            None => Operation::Write(Span { offset: input.u32(), length: input.u32() }),
        },
    }
}
