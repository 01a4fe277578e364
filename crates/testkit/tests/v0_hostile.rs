//! Tests of guests of protocol version 0 that keep no rules: the daemon survives, refuses, leaks nothing, and other
//! guests notice nothing.

use std::time::Duration;

use sndif::v0::{OpenParams, Operation, PACKET_BYTES, RING_SLOTS, Response, opcode};
use sndif::{Format, GrantRef, PAGE_BYTES, Protocol, SharedMemory, XenbusState};
use testkit::hostile::{REQ_PROD, RSP_PROD};
use testkit::signal::noise;
use testkit::v0::Guest2015;
use testkit::{Bystander, PATIENCE, World};
use xen::{Access, DomainId};

const GUEST: DomainId = DomainId(1);
const DUPLEX: &str = "[['CARD', 'PCM', 'STREAM, type=p', 'STREAM, type=c']]";
const STEREO: OpenParams = OpenParams { format: Format::S16Le, channels: 2, rate_hz: 48_000 };

fn world() -> (World, Guest2015) {
    let mut world = World::new();
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    let guest = Guest2015::probe(&mut world, GUEST, 0);
    (world, guest)
}

/// Sends any bytes and returns true if the request succeeded.
fn call(guest: &mut Guest2015, packet: &[u8; PACKET_BYTES]) -> bool {
    guest.ring.put(packet);
    let slot = guest.ring.take(PATIENCE).expect("an answer to everything");
    assert_eq!(slot[..8], packet[8..16], "the id is the request's");
    assert_eq!(slot[8], packet[0], "and so is the operation");
    assert!(slot[12..28].iter().chain(&slot[36..]).all(|&byte| byte == 0), "nothing of the daemon's leaks out");
    i16::from_le_bytes([slot[10], slot[11]]) == 0
}

/// Sends a request of the guest's stream and returns true if it succeeded.
fn send(guest: &mut Guest2015, code: u8, length: u32, refs: &[GrantRef]) -> bool {
    let packet = guest.packet(code, length, refs);
    call(guest, &packet)
}

/// Checks that the daemon runs and still serves this guest.
fn assert_serves(world: &World, guest: &mut Guest2015, number: usize) {
    assert!(world.daemon_runs());
    let sound = noise(99, 8192);
    guest.play(STEREO, &sound, 4096).unwrap();
    guest.close().unwrap();
    world.assert_played("1-0-0-0", number, &sound);
}

#[test]
fn offsets_v0_lengths_and_grants_beyond_the_rules_are_refused_and_leak_nothing() {
    let (mut world, mut guest) = world();
    guest.prepare(STEREO).unwrap();
    let before = world.census();
    let refs = guest.pages.refs().to_vec();
    let foreign = guest.xen.grant(DomainId(5), 1, Access::ReadWrite).unwrap();
    for _ in 0..20 {
        for (length, refs) in [
            (40_961, &refs[..]),
            (u32::MAX, &refs[..]),
            (40_964, &refs[..]),
            (3, &refs[..]),
            (4096, &[GrantRef(0)][..]),
            (4096, &[GrantRef(u32::MAX)][..]),
            (4096, foreign.refs()),
            // The first page is valid, the second does not exist.
            (8192, &refs[..1]),
        ] {
            assert!(!send(&mut guest, opcode::WRITE, length, refs), "{length} bytes");
        }
    }
    // References beyond the length are ignored, and a guest may name the same page ten times.
    assert!(send(&mut guest, opcode::WRITE, 4096, &[refs[0], GrantRef(u32::MAX)]));
    assert!(send(&mut guest, opcode::WRITE, 40_960, &[refs[0]; 10]));
    assert_eq!(world.census().daemon.mapped_pages, before.daemon.mapped_pages);
    drop(foreign);
    guest.close().unwrap();
    assert_serves(&world, &mut guest, 2);
}

#[test]
fn v0_pages_that_may_not_be_written_capture_nothing() {
    let mut world = World::new();
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    let mut guest = Guest2015::probe(&mut world, GUEST, 1);
    guest.prepare(STEREO).unwrap();
    let read_only = guest.xen.grant(DomainId(0), 1, Access::ReadOnly).unwrap();
    assert!(!send(&mut guest, opcode::READ, 4096, read_only.refs()));
    assert!(!send(&mut guest, opcode::WRITE, 4096, read_only.refs()), "a capture stream plays nothing");
    guest.read(&mut [0; 4096]).unwrap();
    assert!(world.daemon_runs());
}

#[test]
fn v0_requests_out_of_place_are_refused() {
    let (world, mut guest) = world();
    let refs = guest.pages.refs().to_vec();
    for code in [opcode::WRITE, opcode::READ, 6, 9, 255] {
        assert!(!send(&mut guest, code, 4096, &refs), "operation {code}");
    }
    assert!(send(&mut guest, opcode::CLOSE, 0, &[]), "CLOSE comes without OPEN");
    for (at, value) in
        [(16, 25_u32), (16, 31), (16, u32::MAX), (20, 0), (20, 256), (20, u32::MAX), (24, 0), (24, u32::MAX)]
    {
        let mut packet = sndif::v0::Request { id: 0, operation: Operation::Open(STEREO) }.emit();
        packet[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(!call(&mut guest, &packet), "{value} at {at}");
    }
    assert_serves(&world, &mut guest, 1);
}

#[test]
fn xsa_155_v0_bytes_written_behind_the_answer_change_nothing() {
    let (world, mut guest) = world();
    guest.prepare(STEREO).unwrap();
    let sound = noise(7, 40_960);
    guest.write(&sound).unwrap();
    guest.pages.write(0, &vec![0xAA; 10 * PAGE_BYTES]);
    guest.close().unwrap();
    world.assert_played("1-0-0-0", 1, &sound);
}

#[test]
fn xsa_155_v0_requests_that_change_while_they_are_read_do_no_harm() {
    let (world, guest) = world();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let refs = guest.pages.refs().to_vec();
    let (read, write) = (guest.packet(opcode::READ, 4096, &refs), guest.packet(opcode::WRITE, u32::MAX, &refs));
    std::thread::scope(|scope| {
        let ring = &guest.ring.page;
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for packet in [&read, &write] {
                    for slot in 0..RING_SLOTS as usize {
                        ring.write(64 + slot * PACKET_BYTES, packet);
                    }
                }
            }
        });
        for request in 1..500_u32 {
            ring.store_release(REQ_PROD, request);
            guest.ring.channel.notify().unwrap();
            assert!(testkit::eventually(PATIENCE, || ring.load_acquire(RSP_PROD) == request), "{}", world.log());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(world.daemon_runs());
}

#[test]
fn ring_overflow_a_v0_index_beyond_the_ring_closes_this_device_alone() {
    for index in [RING_SLOTS + 1, u32::MAX, 1 << 31] {
        let (mut world, guest) = world();
        let bystander = Bystander::start(&mut world);
        guest.ring.page.store_release(REQ_PROD, index);
        guest.ring.channel.notify().unwrap();
        world.wait_backend(GUEST, 0, XenbusState::Closed);
        assert_ne!(world.backend_state(GUEST, 1), XenbusState::Closed, "the other device is another");
        drop(guest);
        world.wait_dead(GUEST);
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
        let mut guest = Guest2015::probe(&mut world, GUEST, 0);
        assert_serves(&world, &mut guest, 1);
        bystander.assert_undisturbed(&world);
    }
}

#[test]
fn a_v0_ring_that_lies_to_the_next_daemon_harms_nobody() {
    let (mut world, guest) = world();
    world.stop_daemon();
    // The next daemon begins at this index, which claims to be the last one's end.
    guest.ring.page.store_release(RSP_PROD, 0xFFFF_FFF0);
    guest.ring.page.store_release(REQ_PROD, 5);
    world.start_daemon();
    let bystander = Bystander::start(&mut world);
    assert!(testkit::eventually(PATIENCE, || world.log().matches("Connected").count() >= 3
        || world.log().contains("protocol violation")));
    bystander.assert_undisturbed(&world);
    assert!(world.daemon_runs());
}

#[test]
fn xsa_331_332_391_a_v0_guest_that_floods_its_ring_starves_nobody() {
    let (mut world, mut guest) = world();
    let bystander = Bystander::start(&mut world);
    let packet = guest.packet(opcode::GET_VOLUME, 0, &[]);
    for round in 0..3000_u32 {
        guest.ring.put(&packet);
        if round % RING_SLOTS == RING_SLOTS - 1 {
            for _ in 0..RING_SLOTS {
                let slot = guest.ring.take(PATIENCE).expect("an answer");
                assert!(Response::parse(&slot).unwrap().success);
            }
        }
    }
    bystander.assert_undisturbed(&world);
}

#[test]
fn xsa_465_a_v0_guest_that_dies_with_a_write_on_its_way_leaves_nothing() {
    let mut world = World::new();
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    let before = world.census();
    for _ in 0..5 {
        let mut guest = Guest2015::probe(&mut world, GUEST, 0);
        guest.prepare(OpenParams { format: Format::U8, channels: 1, rate_hz: 5500 }).unwrap();
        let refs = guest.pages.refs().to_vec();
        let packet = guest.packet(opcode::WRITE, 40_960, &refs);
        guest.ring.put(&packet);
        assert!(guest.ring.take(Duration::from_millis(20)).is_none(), "its answer is not due for seconds");
        drop(guest);
        world.wait_dead(GUEST);
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
    }
    world.assert_settles_at(before);
}

#[test]
fn store_values_v0_nodes_that_make_no_sense_connect_nothing() {
    for (name, value) in
        [("ring-ref", "0"), ("ring-ref", "-1"), ("event-channel", "\u{1b}[2J"), ("ring-ref", "99999999999")]
    {
        let mut world = World::new();
        world.attach_as(GUEST, DUPLEX, Protocol::V0);
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
        let before = world.daemon_usage();
        world.put(GUEST, 0, "ring-ref", b"7");
        world.put(GUEST, 0, "event-channel", b"7");
        world.put(GUEST, 0, name, value.as_bytes());
        world.put(GUEST, 0, "state", b"3");
        world.wait_backend(GUEST, 0, XenbusState::Closed);
        assert!(!world.log().contains('\u{1b}'));
        assert_eq!(world.daemon_usage(), before);
    }
}

#[test]
fn what_v0_streams_keep_counts_towards_the_quota_of_their_guest() {
    let mut world = World::with_config(|_| "sink = \"null\"\n[limits]\nbuffer-bytes-per-domain = 1000\n".to_owned());
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    let mut guest = Guest2015::probe(&mut world, GUEST, 0);
    assert!(guest.prepare(STEREO).is_err());
    assert!(world.daemon_runs());
    assert!(world.log().contains("buffer-bytes-per-domain"), "{}", world.log());
}
