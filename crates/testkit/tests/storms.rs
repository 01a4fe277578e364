//! One guest does all that the protocol lets it do, as fast as it can; another one with a buffer of 40 ms must not notice. In real time:
//! `make storm` runs it alone and prints what it measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sndif::v2::{Operation, Request, Span, Trigger};
use testkit::hostile::{Buffer, HostileGuest, RawStream};
use testkit::{Punctual, World};
use xen::DomainId;

/// How long each storm lasts.
const STORM: Duration = Duration::from_secs(3);
/// The bystander's buffer.
const BUFFER: Duration = Duration::from_millis(40);
const LARGE_BYTES: usize = 4 << 20;
const BYSTANDER: DomainId = DomainId(90);

/// Request that a stream of the storm repeats.
#[derive(Debug, Clone, Copy)]
enum Attack {
    Nothing,
    Writes,
    Opens,
    Volumes,
}

/// Keeps the ring of a stream full of the request.
fn attack(stream: &mut RawStream, buffer: &Buffer, what: Attack) {
    let all = Span { offset: 0, length: u32::try_from(LARGE_BYTES).expect("4 MiB") };
    let operation = match what {
        Attack::Nothing => return,
        Attack::Writes => Operation::Write(all),
        Attack::Opens => Operation::Open(buffer.open_params()),
        Attack::Volumes => Operation::SetVolume(Span { offset: 0, length: 8 }),
    };
    while stream.take(Duration::ZERO).is_some() {
        stream.put(&Request { id: 1, operation }.emit());
    }
    stream.notify();
}

fn storm(guests: u16, streams: usize, what: Attack) -> testkit::Punctuality {
    let mut world = World::with_config(|_| {
        // Room for 63 of the largest buffers.
        "sink = \"null\"\n[limits]\nbuffer-bytes-per-domain = 1073741824\n".to_owned()
    });
    let stop = Arc::new(AtomicBool::new(false));
    let attackers: Vec<_> = (1..=guests)
        .map(|number| {
            let domain = DomainId(number);
            let nodes: String = (0..streams).map(|index| format!(", 'STREAM, unique-id=p{index}, type=p'")).collect();
            world.attach(domain, &format!("[['CARD, buffer-size={LARGE_BYTES}', 'PCM, name=main'{nodes}]]"));
            let mut guest = HostileGuest::connected(&mut world, domain, streams);
            let buffers: Vec<Buffer> = guest.streams.iter().map(|_| guest.buffer(LARGE_BYTES)).collect();
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                for (stream, buffer) in guest.streams.iter_mut().zip(&buffers) {
                    stream.open(buffer.open_params()).expect("OPEN");
                    stream.trigger(Trigger::Start).expect("START");
                    // Requests that `attack` finds answered.
                    for _ in 0..32 {
                        stream.put(
                            &Request { id: 1, operation: Operation::GetVolume(Span { offset: 0, length: 8 }) }.emit(),
                        );
                    }
                    stream.notify();
                }
                while !stop.load(Ordering::Acquire) {
                    for (stream, buffer) in guest.streams.iter_mut().zip(&buffers) {
                        attack(stream, buffer, what);
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
            })
        })
        .collect();
    let bystander = Punctual::start(&mut world, BYSTANDER);
    std::thread::sleep(STORM);
    let punctuality = bystander.finish();
    stop.store(true, Ordering::Release);
    for attacker in attackers {
        attacker.join().expect("the daemon serves it");
    }
    punctuality
}

#[test]
#[ignore = "it measures time, and has a machine for itself with `make storm`"]
#[expect(clippy::print_stderr, reason = "what was measured")]
fn a_bystander_with_a_buffer_of_forty_milliseconds_notices_no_storm() {
    let mut failed = Vec::new();
    for (guests, streams, what) in [
        (1, 1, Attack::Nothing),
        (1, 1, Attack::Writes),
        (1, 8, Attack::Writes),
        (1, 63, Attack::Writes),
        (4, 8, Attack::Writes),
        (1, 1, Attack::Opens),
        (1, 8, Attack::Opens),
        (1, 63, Attack::Volumes),
    ] {
        let seen = storm(guests, streams, what);
        eprintln!("{guests} x {streams} streams, {what:?}: {seen:?}");
        let excused = seen.stood_still;
        let late = u32::try_from(excused.as_millis() / 10).unwrap_or(u32::MAX);
        if seen.worst > BUFFER + excused || seen.writes + late < seen.expected / 100 * 99 {
            failed.push(format!("{guests} x {streams} streams, {what:?}: {seen:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
