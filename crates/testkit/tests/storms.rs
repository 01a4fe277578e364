//! Tests in which one guest, or four, do everything that the protocol allows, as fast as they can. A bystander with a
//! buffer of 40 ms must not notice. The test runs in real time: `make storm` runs it alone and prints its measurements.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sndif::v2::{OpenParams, Operation, PACKET_BYTES, Request, Span, Trigger};
use sndif::{Format, XenbusState};
use testkit::hostile::{Buffer, HostileGuest, RawStream};
use testkit::{Punctual, Punctuality, World};
use xen::DomainId;

/// Duration of each storm.
const STORM: Duration = Duration::from_secs(3);
/// The bystander's buffer.
const BUFFER: Duration = Duration::from_millis(40);
const LARGE_BYTES: usize = 4 << 20;
const BYSTANDER: DomainId = DomainId(90);
/// Maximum number of streams of a card.
const MANY: usize = 64;

/// Endless activity of a hostile guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    Nothing,
    /// WRITEs of 4 MiB.
    Writes,
    /// OPENs with a buffer of 4 MiB.
    Opens,
    /// SET_VOLUME.
    Volumes,
    /// Capture at the maximum byte rate of a stream, with an idle ring.
    Captures,
    /// OPENs of a device whose server never answers, each followed by a CLOSE.
    Hangs,
    /// Malformed requests.
    Nonsense,
    /// Connections, one after the other.
    Reconnects,
    /// Connections that fail, with as many PCM directories as a card can name.
    FailedConnects,
}

impl Attack {
    const ALL: [Self; 8] = [
        Self::Writes,
        Self::Opens,
        Self::Volumes,
        Self::Captures,
        Self::Hangs,
        Self::Nonsense,
        Self::Reconnects,
        Self::FailedConnects,
    ];

    /// The value of the guest's `vsnd` line.
    fn card(self, streams: usize) -> String {
        let kind = if self == Self::Captures { 'c' } else { 'p' };
        let nodes: String = (0..streams).map(|index| format!(", 'STREAM, unique-id=s{index}, type={kind}'")).collect();
        let limits = "sample-rates=48000;192000, sample-formats=s16_le;float64_le, channels-max=40";
        format!("[['CARD, {limits}, buffer-size={LARGE_BYTES}', 'PCM, name=main'{nodes}]]")
    }

    /// The rule of the daemon's configuration that the attack needs for the hostile guests.
    fn rule(self, silent: &str) -> String {
        let device = match self {
            Self::Hangs => format!("pulse@unix:{silent}"),
            _ => "null".to_owned(),
        };
        (1..=4).map(|guest| format!("[[rule]]\ndomain = {guest}\nsink = \"{device}\"\ncapture = true\n")).collect()
    }

    /// Runs the attack until `stop`; returns the number of requests or connections.
    fn run(self, mut guest: HostileGuest, stop: &AtomicBool) -> usize {
        let goes_on = || !stop.load(Ordering::Acquire);
        let mut count = 0;
        match self {
            Self::Nothing => {}
            Self::Reconnects | Self::FailedConnects => {
                let streams = guest.streams.len();
                while goes_on() {
                    for state in [XenbusState::Initialising, XenbusState::Initialised, XenbusState::Closed] {
                        guest.set_state(state);
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    if self == Self::Reconnects {
                        guest.grant(streams);
                        guest.publish();
                    }
                    count += 1;
                }
            }
            Self::Captures => {
                let _buffers = self.begin(&mut guest);
                count = guest.streams.len();
                while goes_on() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            _ => {
                let buffers = self.begin(&mut guest);
                while goes_on() {
                    for (stream, buffer) in guest.streams.iter_mut().zip(&buffers) {
                        count += self.fill(stream, buffer);
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
        count
    }

    /// Opens and starts all streams, and fills their rings.
    fn begin(self, guest: &mut HostileGuest) -> Vec<Buffer> {
        let bytes = if self == Self::Captures { 64 * 320 } else { LARGE_BYTES };
        let buffers: Vec<Buffer> = guest.streams.iter().map(|_| guest.buffer(bytes)).collect();
        for (stream, buffer) in guest.streams.iter_mut().zip(&buffers) {
            if self != Self::Hangs {
                stream.open(self.params(buffer)).expect("OPEN");
                stream.trigger(Trigger::Start).expect("START");
            }
            if self != Self::Captures {
                // Requests that `fill` finds answered.
                let ask = Operation::GetVolume(Span { offset: 0, length: 8 });
                (0..32).for_each(|_| stream.put(&Request { id: 1, operation: ask }.emit()));
                stream.notify();
            }
        }
        buffers
    }

    fn params(self, buffer: &Buffer) -> OpenParams {
        if self == Self::Captures {
            let frame = OpenParams { rate_hz: 192_000, format: Format::F64Le, channels: 40, ..buffer.open_params() };
            return OpenParams { period_bytes: 16 * 320, ..frame };
        }
        buffer.open_params()
    }

    /// Sends another request for each answered one; returns their number.
    fn fill(self, stream: &mut RawStream, buffer: &Buffer) -> usize {
        let all = Span { offset: 0, length: u32::try_from(LARGE_BYTES).expect("4 MiB") };
        let packet = |operation| Request { id: 1, operation }.emit();
        let first = stream.req_prod;
        while stream.take(Duration::ZERO).is_some() {
            let number = stream.req_prod;
            stream.put(&match self {
                Self::Writes => packet(Operation::Write(all)),
                Self::Volumes => packet(Operation::SetVolume(Span { offset: 0, length: 8 })),
                Self::Hangs if number % 2 == 1 => packet(Operation::Close),
                Self::Nonsense => [0xA5; PACKET_BYTES],
                _ => packet(Operation::Open(self.params(buffer))),
            });
        }
        stream.notify();
        stream.req_prod.wrapping_sub(first) as usize
    }
}

/// Runs a storm; returns the bystander's measurements and the attackers' number of requests or connections.
fn storm(guests: u16, streams: usize, attack: Attack) -> (Punctuality, usize) {
    let mut silent = None;
    let mut world = World::with_config(|dir| {
        let socket = dir.join("silent");
        silent = Some(UnixListener::bind(&socket).expect("a socket"));
        // Enough bytes for the largest buffers of all streams.
        let limits = "sink = \"null\"\n[limits]\nbuffer-bytes-per-domain = 1073741824\n";
        format!("{limits}{}", attack.rule(&socket.display().to_string()))
    });
    let stop = Arc::new(AtomicBool::new(false));
    let attackers: Vec<_> = (1..=guests)
        .map(|number| {
            let domain = DomainId(number);
            world.attach(domain, &attack.card(streams));
            let mut guest = HostileGuest::connected(&mut world, domain, streams);
            if attack == Attack::FailedConnects {
                (0..254).for_each(|pcm| guest.put(&format!("{pcm}/0/ring-ref"), b"none"));
            }
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || attack.run(guest, &stop))
        })
        .collect();
    let bystander = Punctual::start(&mut world, BYSTANDER);
    std::thread::sleep(STORM);
    let punctuality = bystander.finish();
    stop.store(true, Ordering::Release);
    let count = attackers.into_iter().map(|attacker| attacker.join().expect("the daemon serves it")).sum();
    (punctuality, count)
}

/// Returns true if the bystander was disturbed.
fn noticed(seen: &Punctuality) -> bool {
    let excused = seen.stood_still;
    let late = u32::try_from(excused.as_millis() / 10).unwrap_or(u32::MAX);
    seen.worst > BUFFER + excused || seen.writes + late < seen.expected / 100 * 99
}

#[test]
#[ignore = "it measures time, and has a machine for itself with `make storm`"]
#[expect(clippy::print_stderr, reason = "what was measured")]
fn a_bystander_with_a_buffer_of_forty_milliseconds_notices_no_storm() {
    let mut failed = Vec::new();
    let all = Attack::ALL
        .into_iter()
        .flat_map(|attack| [(1, 1, attack), (1, 8, attack), (1, MANY, attack), (4, 8, attack)].into_iter());
    for (guests, streams, attack) in std::iter::once((1, 1, Attack::Nothing)).chain(all) {
        let (seen, count) = storm(guests, streams, attack);
        let line = format!(
            "{attack:?}, {guests} x {streams} streams, {count} times: {} of {} writes, the latest after {:.1} ms, the machine stood still for {:.1} ms",
            seen.writes,
            seen.expected,
            seen.worst.as_secs_f64() * 1e3,
            seen.stood_still.as_secs_f64() * 1e3
        );
        eprintln!("{line}");
        if noticed(&seen) {
            failed.push(line);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
