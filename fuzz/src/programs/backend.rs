//! Programs of hostile guests against the host's cores.

use sndif::store::LimitNodes;
use sndif::v2::{HwParams, OpenParams, Operation, Request, Span, Trigger};
use sndif::{Format, FormatSet, GrantRef, Protocol, SharedMemory, XenbusState, ring_slots, v0};

use super::bystander::Bystander;
use super::card::Card;
use super::{Step, index, program};

/// Moments at which something is due in one operation.
const WAKES_MAX: u32 = 400;

/// Two hostile cards, one of each protocol, and a guest that plays. No operation disturbs that one; no answer is missing,
/// doubled or about something else; what was broken stays broken until its guest steps back and some time passed.
pub fn backend_program(bytes: &[u8]) {
    let (shape, steps) = program(bytes);
    let state = |number: u8| XenbusState::from_node(&[b'0' + number % 9]);
    let mut world = World {
        now_ns: 0,
        cards: [
            Card::new(Protocol::V2, shape.value, state(shape.a)),
            Card::new(Protocol::V0, shape.value ^ 0xffff, state(shape.b)),
        ],
        bystander: Bystander::new(),
    };
    for step in steps {
        world.step(step);
        world.cards.iter().for_each(Card::check);
    }
    // Unplugging takes everything away, whatever state it is in.
    for card in &mut world.cards {
        card.set_online(false, world.now_ns);
        assert!(card.lines.iter().all(|line| line.served.is_none()));
    }
}

struct World {
    now_ns: u64,
    cards: [Card; 2],
    bystander: Bystander,
}

impl World {
    fn step(&mut self, step: Step) {
        let now_ns = self.now_ns;
        let tail = step.emit();
        let card = &mut self.cards[usize::from(step.who & 1)];
        let at = usize::from(step.who >> 1) % card.lines.len();
        match step.what % 32 {
            0..=13 => {
                ask(card, at, step, None);
                if step.b & 3 != 0 {
                    card.serve(at, now_ns, &tail[4..]);
                }
            }
            14 => {
                ask(card, at, step, Some((step.value % 80, step.b)));
                card.serve(at, now_ns, &tail[4..]);
            }
            15 => {
                // Mostly the marks, as an index that cannot be ends the connection.
                let word = if step.a < 24 { usize::from(step.a % 4) * 4 } else { usize::from(step.a % 2) * 8 + 4 };
                let ring = &card.lines[at].ring;
                ring.store_release(word, index(ring.load_acquire(word), step.b >= 64, step.value));
                card.serve(at, now_ns, &tail[4..]);
            }
            16 | 17 => {
                let events = &card.lines[at].events;
                let read = events.load_acquire(4);
                events.store_release(0, if step.b < 200 { read } else { index(read, step.b & 1 == 0, step.value) });
                if step.b < 20 {
                    events.store_release(8, index(40, step.b & 1 == 0, step.value));
                }
            }
            18 => {
                let slot = usize::from(step.a) % 32 * 64 + 64;
                card.lines[at].ring.write(slot, &tail);
            }
            19..=21 => self.pass(step),
            22 | 23 => {
                if let Some(served) = &mut card.lines[at].served {
                    served.look(now_ns, &tail[2..]);
                    card.serve(at, now_ns, &tail[4..]);
                }
            }
            24 if step.a >= 64 => {
                if card.lines[at].served.is_none() {
                    reconnect(card, step, now_ns);
                }
            }
            24 => {
                if let Some(served) = &mut card.lines[at].served {
                    served.fails(now_ns);
                }
            }
            25 if step.a >= 64 => reconnect(card, step, now_ns),
            25 if step.a >= 16 => {}
            25 => {
                let state = XenbusState::from_node(&[b'0' + step.b % 9]);
                card.write_state(state, step.value & 1 == 0, now_ns);
            }
            26 => card.set_online(step.a >= 32, now_ns),
            27 if step.a < 32 => write_nodes(card, step),
            27 => card.write_nodes(&LimitNodes::default()),
            28 if step.a < 64 => card.write_directory(step.a, step.b, step.value),
            28 => card.restore_directories(),
            29 => card.permit(step.a >= 32),
            30 => {
                for line in 0..card.lines.len() {
                    card.serve(line, now_ns, &tail[4..]);
                }
            }
            _ => card.wake(now_ns, &tail[2..]),
        }
    }

    /// Lets time pass; who has something to do is looked at when that is due.
    fn pass(&mut self, step: Step) {
        let most_us = match step.b {
            0 if step.a < 32 => 12_000_000,
            0..16 => 300_000,
            _ => 5000,
        };
        let end = self.now_ns + u64::from(step.value) % (most_us * 1000);
        let tail = step.emit();
        for wakes in 0.. {
            let hostile = if wakes < WAKES_MAX { self.cards.iter().filter_map(Card::next_wake_ns).min() } else { None };
            let at = self.bystander.next_wake_ns().min(hostile.unwrap_or(u64::MAX));
            if at > end {
                break;
            }
            self.now_ns = self.now_ns.max(at);
            if wakes < WAKES_MAX {
                self.cards.iter_mut().for_each(|card| card.wake(self.now_ns, &tail[2..]));
            }
            self.bystander.wake(self.now_ns);
        }
        self.now_ns = end;
    }
}

/// Connects like a guest that wants to: it steps back, publishes, and confirms, with one step left out at times.
fn reconnect(card: &mut Card, step: Step, now_ns: u64) {
    use XenbusState as S;
    let path = [S::Closing, S::Closed, S::Initialising, S::Initialised, S::Connected];
    let skipped = usize::from(step.b) % 16;
    for (at, state) in path.into_iter().enumerate() {
        if at != skipped {
            card.write_state(state, state == S::Initialised, now_ns);
        }
    }
}

fn write_nodes(card: &mut Card, step: Step) {
    const VALUES: [&[u8]; 12] =
        [b"1", b"2", b"8", b"0", b"255", b"256", b"8000,44100", b"s16_le,u8", b"65536", b"-1", b"\xff\xfe", b""];
    let pick = |shift: u32| {
        let at = (step.value >> shift) as usize % 32;
        VALUES.get(at).copied()
    };
    card.write_nodes(&LimitNodes {
        channels_min: pick(0),
        channels_max: pick(5),
        sample_rates: pick(10),
        sample_formats: pick(15),
        buffer_size: pick(20),
    });
}

/// Puts a request into the ring, unless that is full; `damage` changes a byte of it.
fn ask(card: &mut Card, at: usize, step: Step, damage: Option<(u32, u8)>) {
    let line = &mut card.lines[at];
    let put = |packet: &mut [u8]| {
        if let Some((at, byte)) = damage {
            let length = packet.len();
            packet[at as usize % length] = byte;
        }
        let slots = ring_slots(packet.len());
        if line.next.wrapping_sub(line.ring.load_acquire(8)) < slots {
            line.ring.write(64 + (line.next % slots) as usize * packet.len(), packet);
            line.next = line.next.wrapping_add(1);
            line.ring.store_release(0, line.next);
        }
    };
    match card.protocol {
        Protocol::V2 => {
            let mut put = put;
            put(&mut Request { id: step.value as u16, operation: operation(step) }.emit());
        }
        Protocol::V0 => {
            let mut put = put;
            put(&mut v0::Request { id: step.value.into(), operation: v0_operation(step) }.emit());
        }
    }
}

/// An operation as a guest may well send it: small sizes of the right order.
fn operation(step: Step) -> Operation {
    let Step { a, b, value, .. } = step;
    let (low, high) = (value & 0xffff, value >> 16);
    let span = Span { offset: low % 512 * 4, length: high % 512 * 4 + u32::from(high > 0xfff0) };
    match a % 16 {
        0 | 1 => {
            let formats = [Format::S16Le, Format::S8, Format::ImaAdpcm, Format::F64Le];
            let format = formats[if low & 0xf00 == 0 { low as usize % 4 } else { 0 }];
            let frame = format.frame_bytes(2).unwrap_or(1);
            let frames = 2 + high % 511 + if low & 0xf000 == 0 { 8192 } else { 0 };
            Operation::Open(OpenParams {
                rate_hz: [8000, 44_100, 48_000, 192_000][low as usize >> 4 & 3],
                format,
                channels: if low & 0xff0 == 0x770 { 255 } else { 2 },
                buffer_bytes: frames * frame,
                directory: GrantRef(0x100 + if low & 0xf000 == 0x1000 { low & 7 } else { 0 }),
                period_bytes: frames / (1 + low % 5) * frame,
            })
        }
        2 => Operation::Close,
        3 | 4 => Operation::Trigger(Trigger::Start),
        5 => Operation::Trigger(Trigger::Stop),
        6 => Operation::Trigger(if value & 1 == 0 { Trigger::Pause } else { Trigger::Resume }),
        7 => Operation::QueryHwParams(HwParams { formats: FormatSet::from_bits(low.into()), ..HwParams::ANY }),
        8 => Operation::SetVolume(Span { length: 8, ..span }),
        9 => Operation::GetVolume(Span { length: 8, ..span }),
        10 => match value & 1 {
            0 => Operation::Mute(Span { length: 2, ..span }),
            _ => Operation::Unmute(Span { length: 2, ..span }),
        },
        11 if value & 2 == 0 => {
            let end = u64::from(span.offset) + u64::from(span.length);
            Operation::ReadAhead { span, until_bytes: u64::from(b) * u64::from(value >> 20) + end }
        }
        11 => Operation::Read(span),
        12 if value & 1 == 0 => Operation::Write(Span { offset: value, length: value.rotate_left(16) }),
        _ if step.who & 2 == 0 => Operation::Write(span),
        _ => Operation::Read(span),
    }
}

fn v0_operation(step: Step) -> v0::Operation {
    let Step { a, value, .. } = step;
    let transfer = || {
        let length = value >> 16 & 0x3ff8 | u32::from(value & 0xff0 == 0);
        v0::Transfer::new(length.min(v0::TRANSFER_BYTES_MAX), &[GrantRef(9); 10]).expect("at most ten pages")
    };
    match a % 16 {
        0 | 1 => v0::Operation::Open(v0::OpenParams {
            format: if value & 0xf0 == 0 { Format::F64Le } else { Format::S16Le },
            channels: if value & 0xf00 == 0 { 7 } else { 2 },
            rate_hz: [8000, 44_100, 48_000, 192_000][value as usize & 3],
        }),
        2 => v0::Operation::Close,
        3 => v0::Operation::SetVolume(v0::Stereo { left: v0::Level::new(value.cast_signed()), right: v0::Level::OFF }),
        4 => v0::Operation::GetVolume,
        5..=7 => v0::Operation::Read(transfer()),
        _ => v0::Operation::Write(transfer()),
    }
}
