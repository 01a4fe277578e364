//! One test for every rule of the threat model that concerns the host's side.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sndif::v2::{HwParams, OpenParams, Operation, PACKET_BYTES, Request, Response, Span, Trigger, opcode};
use sndif::{Errno, Format, GrantRef, PAGE_BYTES, SharedMemory, XenbusState};
use testkit::hostile::{Buffer, HostileGuest, IN_CONS, REQ_PROD, RawStream, SLOTS, directory, write_directory};
use testkit::linux::{LinuxFrontend, Wish};
use testkit::signal::{assert_same, noise};
use testkit::{Bystander, DUPLEX, PATIENCE, World, eventually};
use xen::{Access, DomainId};

const GUEST: DomainId = DomainId(1);
const STREAM: &str = "1-0-0-0";

/// A machine with a hostile guest that has a connected card with one playback stream.
fn connected() -> (World, HostileGuest) {
    let mut world = World::new();
    world.attach_playback(GUEST);
    let hostile = HostileGuest::connected(&mut world, GUEST, 1);
    (world, hostile)
}

/// The same, while another guest plays.
fn connected_beside_a_bystander() -> (World, HostileGuest, Bystander) {
    let (mut world, hostile) = connected();
    let bystander = Bystander::start(&mut world);
    (world, hostile, bystander)
}

fn status(packet: &[u8; PACKET_BYTES]) -> i32 {
    i32::from_le_bytes(packet[4..8].try_into().unwrap())
}

#[test]
fn xsa_155_a_request_that_is_rewritten_while_it_is_served_is_taken_once() {
    let (world, mut hostile, bystander) = connected_beside_a_bystander();
    let buffer = hostile.buffer(16_384);
    let stream = &mut hostile.streams[0];
    stream.open(buffer.open_params()).unwrap();
    let ends = AtomicBool::new(false);
    let good = Request { id: 1, operation: Operation::Write(Span { offset: 0, length: 4096 }) }.emit();
    let bad = Request { id: 2, operation: Operation::Write(Span { offset: u32::MAX, length: u32::MAX }) }.emit();
    let RawStream { ring, .. } = stream;
    let mut answers = [0; 2];
    std::thread::scope(|scope| {
        let rewriter = scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                for index in 0..32 {
                    ring.write(RawStream::slot(index) + 8, &bad[8..16]);
                    ring.write(RawStream::slot(index) + 8, &good[8..16]);
                }
            }
        });
        let mut produced: u32 = 1;
        for _ in 0..3000 {
            ring.write(RawStream::slot(produced), &good);
            produced += 1;
            ring.store_release(REQ_PROD, produced);
            stream.channel.notify().unwrap();
            assert!(eventually(PATIENCE, || ring.load_acquire(8) == produced));
            let mut packet = [0; PACKET_BYTES];
            ring.read(RawStream::slot(produced - 1), &mut packet);
            match status(&packet) {
                0 => answers[0] += 1,
                _ => answers[1] += 1,
            }
        }
        ends.store(true, Ordering::Relaxed);
        rewriter.join().unwrap();
    });
    // The response's own bytes are rewritten, too, but never its status: it is one answer or the other.
    assert_eq!(answers[0] + answers[1], 3000);
    assert!(world.daemon_runs());
    bystander.assert_undisturbed(&world);
}

#[test]
fn xsa_155_what_was_written_is_played_whatever_the_guest_does_to_its_pages_afterwards() {
    let (world, mut hostile) = connected();
    let sound = noise(1, 16_384);
    let xen = hostile.xen.clone();
    let buffer = hostile.streams[0].play(&xen, 16_384, &sound);
    buffer.pages.write(0, &[0xEE; 16_384]);
    assert_same(&world.played(STREAM, 1, sound.len()), &sound);
}

#[test]
fn ring_overflow_a_producer_index_out_of_range_breaks_that_card_only() {
    for index in [34, 1 << 31, u32::MAX, 0] {
        let (mut world, mut hostile, bystander) = connected_beside_a_bystander();
        let buffer = hostile.buffer(16_384);
        hostile.streams[0].open(buffer.open_params()).unwrap();
        hostile.streams[0].ring.store_release(REQ_PROD, index);
        hostile.streams[0].notify();
        world.wait_backend(GUEST, 0, XenbusState::Closed);
        assert!(world.log().contains("protocol violation"), "{}", world.log());
        // A connected frontend that does not step back stays without a backend; one that does gets it again.
        hostile.connect(&mut world, 1);
        let sound = noise(1, 16_384);
        let xen = hostile.xen.clone();
        let _buffer = hostile.streams[0].play(&xen, 16_384, &sound);
        assert_same(&world.played(STREAM, 1, sound.len()), &sound);
        bystander.assert_undisturbed(&world);
    }
}

#[test]
fn xsa_216_responses_and_events_are_built_from_zeroes() {
    let (_world, mut hostile) = connected();
    let buffer = hostile.buffer(16_384);
    let stream = &mut hostile.streams[0];
    stream.ring.write(SLOTS, &[0xFF; PAGE_BYTES - SLOTS]);
    stream.events.write(SLOTS, &[0xFF; PAGE_BYTES - SLOTS]);
    let span = Span { offset: 0, length: 8 };
    // Half a second, in which a daemon that is late still has several events to tell.
    let params = OpenParams { rate_hz: 8_000, period_bytes: 1024, ..buffer.open_params() };
    for operation in [
        Operation::Open(params),
        Operation::Write(Span { offset: 0, length: 16_384 }),
        Operation::Read(span),
        Operation::ReadAhead { span, until_bytes: 8 },
        Operation::SetVolume(span),
        Operation::GetVolume(span),
        Operation::Mute(span),
        Operation::Unmute(span),
        Operation::Trigger(Trigger::Start),
        Operation::QueryHwParams(HwParams::ANY),
    ] {
        let mut packet = Request { id: 0xFFFF, operation }.emit();
        packet[3..8].fill(0xFF);
        packet[48..].fill(0xFF);
        let answer = stream.call_raw(&packet);
        let reserved = if operation.opcode() == opcode::HW_PARAM_QUERY { 48 } else { 8 };
        assert_eq!(answer[3], 0, "{operation:?}");
        assert!(answer[reserved..].iter().all(|&byte| byte == 0), "{operation:?}: {answer:?}");
    }
    let mut unknown = [0xFF; PACKET_BYTES];
    unknown[2] = 99;
    let answer = stream.call_raw(&unknown);
    assert!(answer[3] == 0 && answer[8..].iter().all(|&byte| byte == 0), "{answer:?}");
    assert!(eventually(PATIENCE, || stream.events_sent() > 3));
    // The first was there before the page was filled.
    for index in 1..4 {
        let event = stream.event(index);
        assert!([&event[2..8], &event[16..]].concat().iter().all(|&byte| byte == 0), "{event:?}");
    }
}

#[test]
fn xsa_361_362_365_one_bad_reference_of_a_batch_leaves_nothing_mapped() {
    let (world, mut hostile) = connected();
    let before = world.daemon_usage();
    let buffer = hostile.buffer(16 * PAGE_BYTES);
    let xen = hostile.xen.clone();
    let elsewhere = xen.grant(DomainId(5), 1, Access::ReadWrite).unwrap();
    let read_only = xen.grant(DomainId(0), 1, Access::ReadOnly).unwrap();
    let revoked = xen.grant(DomainId(0), 1, Access::ReadWrite).unwrap();
    let revoked_ref = revoked.refs()[0];
    revoked.end_access().unwrap();
    for bad in [GrantRef(u32::MAX), GrantRef(1), elsewhere.refs()[0], read_only.refs()[0], revoked_ref] {
        for place in [0, 7, 15] {
            let mut refs = buffer.pages.refs().to_vec();
            refs[place] = bad;
            write_directory(&buffer.directory, GrantRef(0), &refs);
            assert_eq!(hostile.streams[0].open(buffer.open_params()), Err(Errno::EFAULT), "{bad:?} at {place}");
            assert_eq!(world.daemon_usage(), before);
        }
    }
    write_directory(&buffer.directory, GrantRef(0), buffer.pages.refs());
    hostile.streams[0].open(buffer.open_params()).unwrap();
}

#[test]
fn page_directory_that_makes_no_sense_is_refused() {
    let (world, mut hostile) = connected();
    let before = world.daemon_usage();
    let xen = hostile.xen.clone();
    let pages = xen.grant(DomainId(0), 1024, Access::ReadWrite).unwrap();
    let first = directory(&xen, GrantRef(0), &pages.refs()[..1023]);
    let second = directory(&xen, GrantRef(0), &pages.refs()[1023..]);
    let own = first.refs()[0];
    let params = OpenParams {
        buffer_bytes: 1024 * PAGE_BYTES as u32,
        period_bytes: 4096,
        directory: own,
        ..Buffer::new(&xen, 4096).open_params()
    };
    // A store that allows large buffers.
    hostile.set_state(XenbusState::Closing);
    let mut world = world;
    world.put(GUEST, 0, "0/0/buffer-size", b"4194304");
    hostile.connect(&mut world, 1);
    for (next, errno) in [
        (GrantRef(0), Errno::EINVAL),
        (own, Errno::EINVAL),
        (GrantRef(u32::MAX), Errno::EFAULT),
        (GrantRef(1), Errno::EFAULT),
    ] {
        write_directory(&first, next, &pages.refs()[..1023]);
        assert_eq!(hostile.streams[0].open(params), Err(errno), "next page {next:?}");
        assert_eq!(world.daemon_usage(), before);
    }
    // A directory page within itself, and one full of zeroes.
    write_directory(&first, second.refs()[0], &vec![GrantRef(0); 1023]);
    assert_eq!(hostile.streams[0].open(params), Err(Errno::EINVAL));
    for none in [GrantRef(0), GrantRef(u32::MAX)] {
        let result = hostile.streams[0].open(OpenParams { directory: none, ..params });
        assert!(matches!(result, Err(Errno::EINVAL | Errno::EFAULT)), "{result:?}");
    }
    // More pages than the buffer needs are not looked at: the walk ends where the buffer does.
    write_directory(&first, own, &pages.refs()[..1023]);
    hostile.streams[0].open(OpenParams { buffer_bytes: 4096, ..params }).unwrap();
    write_directory(&first, second.refs()[0], &pages.refs()[..1023]);
    hostile.streams[0].open(params).unwrap();
    hostile.streams[0].close().unwrap();
    assert_eq!(world.daemon_usage(), before);
}

#[test]
fn an_open_beyond_the_limits_is_refused() {
    let (world, mut hostile) = connected();
    let before = world.daemon_usage();
    let buffer = hostile.buffer(16_384);
    let good = buffer.open_params();
    for bad in [
        OpenParams { buffer_bytes: u32::MAX, ..good },
        OpenParams { buffer_bytes: u32::MAX - 3, period_bytes: 0, ..good },
        OpenParams { buffer_bytes: 1 << 31, ..good },
        OpenParams { buffer_bytes: (64 << 10) + 4, ..good },
        OpenParams { buffer_bytes: 0, ..good },
        OpenParams { buffer_bytes: 16_383, ..good },
        OpenParams { period_bytes: u32::MAX, ..good },
        OpenParams { period_bytes: 3, ..good },
        OpenParams { rate_hz: 0, ..good },
        OpenParams { rate_hz: u32::MAX, ..good },
        OpenParams { channels: 0, ..good },
        OpenParams { channels: 255, ..good },
    ] {
        assert_eq!(hostile.streams[0].open(bad), Err(Errno::EINVAL), "{bad:?}");
        assert_eq!(world.daemon_usage(), before, "{bad:?}");
    }
    for format in 0..=255 {
        let mut packet = Request { id: 7, operation: Operation::Open(good) }.emit();
        packet[12] = format;
        let refused = status(&hostile.streams[0].call_raw(&packet)) != 0;
        assert_eq!(refused, !matches!(format, 1 | 2), "format {format}");
        hostile.streams[0].close().unwrap();
    }
    assert_eq!(world.daemon_usage(), before);
}

#[test]
fn offsets_and_lengths_are_checked_without_overflow() {
    let mut world = World::new();
    world.attach_duplex(GUEST);
    let mut hostile = HostileGuest::connected(&mut world, GUEST, 2);
    for index in 0..2 {
        let buffer = hostile.buffer(16_384);
        let stream = &mut hostile.streams[index];
        stream.open(buffer.open_params()).unwrap();
        for (offset, length) in [
            (u32::MAX, 1),
            (1, u32::MAX),
            (0, u32::MAX),
            (u32::MAX, u32::MAX),
            (1 << 31, 1 << 31),
            (16_384, 1),
            (16_380, 8),
            (0, 16_385),
        ] {
            let span = Span { offset, length };
            for operation in [
                Operation::Read(span),
                Operation::Write(span),
                Operation::SetVolume(span),
                Operation::GetVolume(span),
                Operation::Mute(span),
                Operation::Unmute(span),
            ] {
                assert_eq!(stream.call(operation).err(), Some(Errno::EINVAL), "{operation:?}");
            }
        }
        let last = Span { offset: 16_376, length: 8 };
        stream.call(Operation::SetVolume(last)).unwrap();
        stream.call(Operation::GetVolume(last)).unwrap();
        let own = if index == 0 { Operation::Write(last) } else { Operation::Read(last) };
        stream.call(own).unwrap();
        let other = if index == 0 { Operation::Read(last) } else { Operation::Write(last) };
        assert_eq!(stream.call(other).err(), Some(Errno::EINVAL), "the other direction's operation");
    }
}

#[test]
fn unknown_operations_and_triggers_are_answered_and_do_nothing() {
    let (_world, mut hostile) = connected();
    for code in 11..=255 {
        let mut packet = [0xFF; PACKET_BYTES];
        packet[2] = code;
        let answer = hostile.streams[0].call_raw(&packet);
        assert_eq!((answer[2], status(&answer)), (code, Errno::EOPNOTSUPP.status()));
    }
    for kind in 4..=255 {
        let mut packet = Request { id: 0, operation: Operation::Trigger(Trigger::Start) }.emit();
        packet[8] = kind;
        assert_eq!(status(&hostile.streams[0].call_raw(&packet)), Errno::EINVAL.status());
    }
    for operation in [Operation::Write(Span { offset: 0, length: 0 }), Operation::Trigger(Trigger::Start)] {
        assert_eq!(hostile.streams[0].call(operation).err(), Some(Errno::EIO), "not open");
    }
}

#[test]
fn xsa_331_332_391_a_storm_of_events_and_requests_does_not_keep_another_guest_waiting() {
    let (world, mut hostile, bystander) = connected_beside_a_bystander();
    let query = Request { id: 0, operation: Operation::QueryHwParams(HwParams::ANY) }.emit();
    let stream = &mut hostile.streams[0];
    let until = Instant::now() + Duration::from_millis(800);
    let mut answered: u32 = 0;
    while Instant::now() < until {
        // The ring is as full as it can be, and every look gets a notification.
        while stream.req_prod.wrapping_sub(stream.ring.load_acquire(8)) < 32 {
            stream.put(&query);
            answered += 1;
        }
        stream.notify();
        let _ = stream.event_channel.notify();
    }
    assert!(answered > 1000, "{answered}");
    bystander.assert_undisturbed(&world);
}

#[test]
fn a_sound_server_that_does_not_answer_keeps_nobody_waiting_but_who_opens_it() {
    const CARDS: &str = "vsnd=[['CARD, short-name=two', 'PCM, name=two', 'STREAM, unique-id=a, type=p', \
        'STREAM, unique-id=b, type=p']]";
    let mut listener = None;
    let mut world = World::with_config(|dir| {
        let socket = dir.join("silent");
        listener = Some(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        format!("sink = \"pulse@unix:{}\"\n[[rule]]\nstream = 1\nsink = \"null\"\n", socket.display())
    });
    world.attach(GUEST, CARDS);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 2);
    let buffers = [guest.buffer(16_384), guest.buffer(16_384)];
    let [waiting, other] = guest.streams.as_mut_slice() else { panic!("two streams") };
    // A machine that stalls for as long as the server is waited for has more than one try.
    let undisturbed = (0..5).any(|_| {
        waiting.put(&Request { id: 1, operation: Operation::Open(buffers[0].open_params()) }.emit());
        waiting.put(&Request { id: 2, operation: Operation::Close }.emit());
        waiting.notify();
        for _ in 0..10 {
            other.open(buffers[1].open_params()).unwrap();
            other.close().unwrap();
        }
        let undisturbed = waiting.take(Duration::ZERO).is_none();
        let answers = [(); 2].map(|()| waiting.take(PATIENCE));
        if undisturbed {
            let answers = answers.map(|packet| Response::parse(&packet.expect("an answer")).unwrap());
            assert_eq!(answers.map(|answer| answer.id), [1, 2]);
            assert_eq!(answers.map(|answer| answer.result), [Err(Errno::ENODEV), Ok(())]);
        }
        undisturbed
    });
    assert!(undisturbed, "the daemon waited for the server");
    assert!(world.log().contains("did not open in time"), "{}", world.log());
}

#[test]
fn xsa_349_a_store_that_is_rewritten_ten_thousand_times_costs_no_memory_and_disturbs_nobody() {
    let (mut world, mut hostile, bystander) = connected_beside_a_bystander();
    let resident = || -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE_BYTES
    };
    let before = resident();
    let states = [XenbusState::Closing, XenbusState::Initialised, XenbusState::Initialising, XenbusState::Connected];
    for round in 0..10_000_usize {
        match round % 5 {
            4 => hostile.put("0/0/ring-ref", round.to_string().as_bytes()),
            step => hostile.set_state(states[step]),
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert!(world.log().len() < 100_000, "the log has {} bytes", world.log().len());
    bystander.assert_undisturbed(&world);
    hostile.connect(&mut world, 1);
}

#[test]
fn xsa_392_a_guest_that_never_takes_its_events_loses_nothing_but_them() {
    let (world, mut hostile, bystander) = connected_beside_a_bystander();
    let xen = hostile.xen.clone();
    let sound = noise(1, 48_000);
    let buffer = hostile.buffer(48_000);
    let stream = &mut hostile.streams[0];
    // A second and a half: a daemon without a processor reports many periods in one event, and needs time for 63 events.
    stream.open(OpenParams { rate_hz: 8_000, period_bytes: 4, ..buffer.open_params() }).unwrap();
    buffer.pages.write(0, &sound);
    stream.write(0, 48_000).unwrap();
    stream.trigger(Trigger::Start).unwrap();
    assert!(eventually(PATIENCE, || stream.events_sent() == 63));
    assert_same(&world.played(STREAM, 1, sound.len()), &sound);
    assert_eq!(stream.events_sent(), 63, "nothing is written over what was not taken");
    // The guest sleeps through more, and closes and opens as before.
    stream.close().unwrap();
    let _buffer = stream.play(&xen, 16_384, &sound[..16_384]);
    assert_same(&world.played(STREAM, 2, 16_384), &sound[..16_384]);
    bystander.assert_undisturbed(&world);
}

#[test]
fn a_consumer_index_that_makes_no_sense_stops_this_guests_events_only() {
    let (world, mut hostile, bystander) = connected_beside_a_bystander();
    let xen = hostile.xen.clone();
    for (round, consumer) in [u32::MAX, 64, 1 << 31, 1000, 0].into_iter().enumerate() {
        let sound = noise(round as u64, 16_384);
        let stream = &mut hostile.streams[0];
        stream.events.store_release(IN_CONS, consumer);
        let _buffer = stream.play(&xen, 16_384, &sound);
        assert_same(&world.played(STREAM, round + 1, sound.len()), &sound);
        stream.close().unwrap();
    }
    bystander.assert_undisturbed(&world);
}

#[test]
fn store_values_of_any_kind_are_refused_and_escaped_in_the_log() {
    let hostile_values: [&[u8]; 11] = [
        b"",
        b"-1",
        b"0",
        b"99999999999999999999",
        b"0x10",
        b" 7",
        b"7\n2026-01-01 ERROR vsndd: forged",
        b"\xff\xfe\x80",
        b"\x1b[2J\x1b[31mred",
        b"%s%n",
        &[b'9'; 2000],
    ];
    let nodes = [
        "0/0/ring-ref",
        "0/0/event-channel",
        "0/0/evt-ring-ref",
        "0/0/evt-event-channel",
        "0/0/type",
        "0/0/channels-max",
        "channels-min",
        "0/sample-rates",
        "sample-formats",
        "0/0/buffer-size",
        "0/0/control-size",
    ];
    let mut world = World::new();
    let bystander = Bystander::start(&mut world);
    // Guests for every node, since each is held off after a refusal, for longer each time: they wait side by side, and have few values each.
    let cases = nodes.iter().flat_map(|node| hostile_values.chunks(3).map(move |values| (*node, values)));
    let mut cases: Vec<(HostileGuest, &str, &[&[u8]])> = (1..)
        .zip(cases)
        .map(|(number, (node, values))| {
            world.attach_playback(DomainId(number));
            (HostileGuest::connected(&mut world, DomainId(number), 1), node, values)
        })
        .collect();
    let before = world.daemon_usage();
    for round in 0..3 {
        let mut asked = Vec::new();
        for (guest, node, values) in &mut cases {
            let Some(value) = values.get(round) else { continue };
            guest.set_state(XenbusState::Initialising);
            asked.push((guest, *node, *value));
        }
        for (guest, node, value) in &mut asked {
            world.wait_backend(guest.xen.domain(), 0, XenbusState::InitWait);
            guest.publish();
            guest.put("0/0/unique-id", value);
            guest.put(node, value);
            guest.set_state(XenbusState::Initialised);
        }
        for (guest, node, value) in asked {
            // No bytes for control is what stands there without a node; lists may have spaces in them.
            let accepted = matches!((node, value), ("0/0/control-size", b"0") | ("0/sample-rates", b" 7"));
            let wanted = if accepted { XenbusState::Connected } else { XenbusState::Closed };
            let domain = guest.xen.domain();
            let as_wanted = eventually(PATIENCE, || world.backend_state(domain, 0) == wanted);
            assert!(as_wanted, "{node} = {:?}: {}", value.escape_ascii().to_string(), world.backend_state(domain, 0));
            guest.remove(node);
            guest.put("0/0/type", b"p");
        }
    }
    let mut guests: Vec<HostileGuest> = cases.into_iter().map(|(guest, ..)| guest).collect();
    for guest in &mut guests {
        guest.put("0/0/unique-id", b"\x1b[31mred\nforged");
        guest.connect(&mut world, 1);
    }
    assert_eq!(world.daemon_usage(), before);
    let log = world.log();
    assert!(log.contains("red"), "the label is shown");
    assert!(!log.contains('\x1b') && !log.contains("\nforged") && !log.contains("\n2026-01-01 ERROR"), "{log}");
    bystander.assert_undisturbed(&world);
}

#[test]
fn states_that_make_no_sense_do_no_harm() {
    let (mut world, mut hostile) = connected();
    for value in [&b""[..], b"9", b"44", b"-1", b"\xff", b"4\n", &[b'4'; 2000]] {
        hostile.put("state", value);
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
        hostile.connect(&mut world, 1);
    }
    hostile.remove("state");
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    hostile.remove("0");
    hostile.set_state(XenbusState::Initialised);
    world.wait_backend(GUEST, 0, XenbusState::Closed);
}

#[test]
fn a_directory_of_another_protocol_is_left_alone_and_named_once() {
    let mut world = World::new();
    let store = world.store();
    for (path, value) in [
        ("/local/domain/3/device/vsnd/0/backend", "/local/domain/0/backend/vsnd/3/0"),
        ("/local/domain/3/device/vsnd/0/backend-id", "0"),
        ("/local/domain/3/device/vsnd/0/state", "1"),
        ("/local/domain/3/device/vsnd/0/version", "1.0"),
        ("/local/domain/0/backend/vsnd/3/0/frontend-id", "3"),
        ("/local/domain/0/backend/vsnd/3/0/online", "1"),
        ("/local/domain/0/backend/vsnd/3/0/state", "1"),
        ("/local/domain/0/backend/vsnd/3/0/frontend", "/local/domain/3/device/vsnd/0"),
    ] {
        store.write(path, value.as_bytes()).unwrap();
    }
    // Changes that are none of our business.
    for round in 0..20 {
        store.write("/local/domain/0/backend/vsnd/3/0/hotplug-status", format!("{round}").as_bytes()).unwrap();
    }
    assert!(eventually(PATIENCE, || world.log().contains("left alone")), "{}", world.log());
    world.attach_playback(GUEST);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    let store = world.store();
    let mut nodes = store.directory("/local/domain/0/backend/vsnd/3/0").unwrap();
    nodes.sort();
    assert_eq!(nodes, ["frontend", "frontend-id", "hotplug-status", "online", "state"]);
    assert_eq!(store.read("/local/domain/0/backend/vsnd/3/0/state").unwrap(), b"1");
    assert_eq!(world.log().matches("left alone").count(), 1, "{}", world.log());
    // If it becomes one of ours after all, it is served.
    world.put(DomainId(3), 0, "0/0/type", b"p");
    world.wait_backend(DomainId(3), 0, XenbusState::InitWait);
}

#[test]
fn confused_deputy_a_frontend_node_that_points_elsewhere_is_not_followed() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    let store = world.store();
    for (path, value) in [
        ("/local/domain/0/backend/vsnd/3/0/state", "1"),
        ("/local/domain/0/backend/vsnd/3/0/online", "1"),
        ("/local/domain/0/backend/vsnd/3/0/frontend", "/local/domain/1/device/vsnd/0"),
    ] {
        store.write(path, value.as_bytes()).unwrap();
    }
    let frontend = LinuxFrontend::probe(&world.enter(GUEST));
    frontend.wait_card();
    assert_eq!(world.backend_state(DomainId(3), 0), XenbusState::Initialising);
    assert!(!world.store().exists("/local/domain/0/backend/vsnd/3/0/versions").unwrap());
    assert!(eventually(PATIENCE, || world.log().contains("left alone")));
}

#[test]
fn capture_is_refused_until_the_host_allows_it() {
    let mut world = World::with_config(|_| String::new());
    world.attach_duplex(GUEST);
    let mut hostile = HostileGuest::connected(&mut world, GUEST, 2);
    let before = world.daemon_usage();
    let buffer = hostile.buffer(16_384);
    assert_eq!(hostile.streams[1].open(buffer.open_params()), Err(Errno::EACCES));
    assert_eq!(world.daemon_usage(), before);
    // A stream cannot be turned round while it is connected, nor by connecting as something else.
    hostile.put("0/0/type", b"c");
    hostile.connect(&mut world, 2);
    assert_eq!(hostile.streams[0].open(buffer.open_params()), Err(Errno::EACCES));
}

/// Largest number of steps that a guest takes before it ends.
const STEPS: usize = 15;

fn advance(world: &mut World, hostile: &mut HostileGuest, buffers: &mut Vec<Buffer>, step: usize) {
    let params = |buffers: &[Buffer]| buffers[0].open_params();
    match step {
        0 => world.wait_backend(GUEST, 0, XenbusState::InitWait),
        1 => hostile.grant(2),
        2 => hostile.publish(),
        3 => hostile.set_state(XenbusState::Initialised),
        4 => world.wait_backend(GUEST, 0, XenbusState::Connected),
        5 => hostile.set_state(XenbusState::Connected),
        6 => buffers.push(hostile.buffer(16_384)),
        // Not waited for: it ends in the middle of the answer.
        7 => {
            hostile.streams[0].put(&Request { id: 0, operation: Operation::Open(params(buffers)) }.emit());
            hostile.streams[0].notify();
        }
        8 => drop(hostile.streams[0].take(PATIENCE).unwrap()),
        9 => hostile.streams[0].write(0, 16_384).unwrap(),
        10 => hostile.streams[0].trigger(Trigger::Start).unwrap(),
        11 => hostile.streams[0].trigger(Trigger::Pause).unwrap(),
        12 => hostile.streams[0].trigger(Trigger::Resume).unwrap(),
        13 => hostile.streams[0].trigger(Trigger::Stop).unwrap(),
        _ => hostile.streams[0].close().unwrap(),
    }
}

#[test]
fn xsa_465_a_guest_may_end_in_any_state_and_in_any_way() {
    let mut world = World::new();
    world.attach(GUEST, DUPLEX);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    let before = world.census();
    for steps in 0..=STEPS {
        for way in ["dies", "closes", "steps back", "takes its nodes away", "keeps quiet, then is detached"] {
            let mut hostile = HostileGuest::enter(&world, GUEST);
            let mut buffers = Vec::new();
            for step in 0..steps {
                advance(&mut world, &mut hostile, &mut buffers, step);
            }
            match way {
                "closes" => {
                    hostile.set_state(XenbusState::Closing);
                    hostile.set_state(XenbusState::Closed);
                }
                "steps back" => hostile.set_state(XenbusState::Initialising),
                "takes its nodes away" => {
                    hostile.remove("state");
                    hostile.remove("0");
                }
                "keeps quiet, then is detached" => {
                    world.detach(GUEST, 0).unwrap();
                    world.attach(GUEST, DUPLEX);
                }
                _ => {}
            }
            drop((hostile, buffers));
            world.wait_dead(GUEST);
            world.wait_backend(GUEST, 0, XenbusState::InitWait);
            let settled = eventually(PATIENCE, || world.daemon_usage() == before.daemon);
            assert!(settled, "after {steps} steps the guest {way}: {:?}\n{}", world.daemon_usage(), world.log());
        }
    }
    world.assert_settles_at(before);
    // And the card still works.
    let frontend = LinuxFrontend::probe(&world.enter(GUEST));
    frontend.wait_card();
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    pcm.hw_params(&Wish::COMFORTABLE).unwrap();
    pcm.aplay(&noise(1, 4096)).unwrap();
}

#[test]
fn page_directory_a_page_that_is_named_twice_is_refused() {
    let (world, mut hostile) = connected();
    let buffer = hostile.buffer(16 * PAGE_BYTES);
    let before = world.daemon_usage();
    for (at, same) in [(1, 0), (15, 3)] {
        let mut refs = buffer.pages.refs().to_vec();
        refs[at] = refs[same];
        let directory = directory(&hostile.xen, GrantRef(0), &refs);
        let open = OpenParams { directory: directory.refs()[0], ..buffer.open_params() };
        assert_eq!(hostile.streams[0].open(open), Err(Errno::EINVAL));
        assert_eq!(world.daemon_usage(), before);
    }
    // One page a thousand times over.
    let refs = vec![buffer.pages.refs()[0]; 1_000];
    let directory = directory(&hostile.xen, GrantRef(0), &refs);
    let open = OpenParams {
        directory: directory.refs()[0],
        buffer_bytes: (refs.len() * PAGE_BYTES) as u32,
        ..buffer.open_params()
    };
    assert_eq!(hostile.streams[0].open(open), Err(Errno::EINVAL));
    assert!(world.log().contains("named twice"), "{}", world.log());
    hostile.streams[0].open(buffer.open_params()).expect("what is right is opened");
}

#[test]
fn the_buffers_of_a_guest_have_a_quota_that_closing_gives_back() {
    let mut world = World::with_config(|_| "sink = \"null\"\n[limits]\nbuffer-bytes-per-domain = 100000\n".to_owned());
    let card = "[['CARD', 'PCM, name=main', 'STREAM, unique-id=a, type=p', 'STREAM, unique-id=b, type=p']]";
    world.attach(GUEST, card);
    world.attach_playback(DomainId(9));
    let mut guest = HostileGuest::connected(&mut world, GUEST, 2);
    let mut other = HostileGuest::connected(&mut world, DomainId(9), 1);
    let buffers = [guest.buffer(65_536), guest.buffer(65_536)];
    let [first, second] = guest.streams.as_mut_slice() else { panic!("two streams") };
    for _ in 0..3 {
        first.open(buffers[0].open_params()).unwrap();
        assert_eq!(second.open(buffers[1].open_params()), Err(Errno::ENOMEM));
        // An OPEN takes the place of the one before.
        first.open(buffers[0].open_params()).unwrap();
        first.close().unwrap();
        second.open(buffers[1].open_params()).unwrap();
        second.close().unwrap();
    }
    first.open(buffers[0].open_params()).unwrap();
    let buffer = other.buffer(65_536);
    other.streams[0].open(buffer.open_params()).expect("another guest has a quota of its own");
    assert!(world.log().contains("buffer-bytes-per-domain"), "{}", world.log());
}

#[test]
fn a_stream_that_no_machine_plays_in_real_time_is_refused() {
    let mut world = World::with_config(|_| "sink = \"null\"\n".to_owned());
    let card = "[['CARD, sample-rates=768000, sample-formats=float64_le;s16_le, channels-max=255, buffer-size=4194304',
        'PCM, name=main', 'STREAM, unique-id=p, type=p']]";
    world.attach(GUEST, card);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
    let buffer = guest.buffer(2_040 * 64);
    let absurd = OpenParams {
        rate_hz: 768_000,
        format: Format::F64Le,
        channels: 255,
        period_bytes: 2_040 * 16,
        ..buffer.open_params()
    };
    assert_eq!(guest.streams[0].open(absurd), Err(Errno::EINVAL));
    let wide =
        OpenParams { format: Format::S16Le, channels: 32, period_bytes: 64 * 16, buffer_bytes: 64 * 1_000, ..absurd };
    guest.streams[0].open(wide).expect("49 MB a second");
    assert!(world.log().contains("64 MiB of frames in a second"), "{}", world.log());
}
