//! Tests of every rule of the host's policy, against a guest that violates it.

use sndif::v2::{HwParams, Interval, OpenParams, Operation, Response};
use sndif::{Errno, Format, FormatSet, XenbusState};
use testkit::hostile::HostileGuest;
use testkit::{World, wait_for};
use xen::DomainId;

const GUEST: DomainId = DomainId(1);
const UUID: &str = "6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d";
const PLAYBACK: usize = 0;
const CAPTURE: usize = 1;

/// Gives a guest a name and a UUID, like the toolstack.
fn name(world: &mut World, guest: DomainId, name: &str, uuid: &str) {
    for (node, value) in [("name", name.to_owned()), ("vm", format!("/vm/{uuid}"))] {
        world.store().write(&format!("/local/domain/{guest}/{node}"), value.as_bytes()).unwrap();
    }
}

/// A guest called `studio` with a playback and a capture stream, connected under `config`.
fn connected(config: &str) -> (World, HostileGuest) {
    let mut world = World::with_config(|_| config.to_owned());
    name(&mut world, GUEST, "studio", UUID);
    world.attach_duplex(GUEST);
    let guest = HostileGuest::connected(&mut world, GUEST, 2);
    (world, guest)
}

/// Result of a stream's OPEN.
fn open(guest: &mut HostileGuest, stream: usize) -> Result<(), Errno> {
    let buffer = guest.buffer(16_384);
    let params = buffer.open_params();
    let result = guest.streams[stream].open(params);
    guest.streams[stream].close().unwrap();
    result
}

fn query(guest: &mut HostileGuest, asked: HwParams) -> Result<HwParams, Errno> {
    let Response { params, .. } = guest.streams[PLAYBACK].call(Operation::QueryHwParams(asked))?;
    Ok(params.expect("an answer"))
}

#[test]
fn playback_is_allowed_and_capture_is_not_unless_the_host_says_so() {
    for (config, playback, capture) in [
        ("", Ok(()), Err(Errno::EACCES)),
        ("capture = true", Ok(()), Ok(())),
        ("playback = false", Err(Errno::EACCES), Err(Errno::EACCES)),
        ("playback = false\n[[rule]]\ndomain = \"studio\"\nplayback = true\ncapture = true", Ok(()), Ok(())),
        ("capture = true\n[[rule]]\npcm = 0\nstream = 1\ncapture = false", Ok(()), Err(Errno::EACCES)),
        ("capture = true\n[[rule]]\ncard = 1\ncapture = false", Ok(()), Ok(())),
    ] {
        let (_world, mut guest) = connected(config);
        assert_eq!((open(&mut guest, PLAYBACK), open(&mut guest, CAPTURE)), (playback, capture), "{config}");
    }
}

#[test]
fn a_rule_finds_its_guest_by_name_uuid_and_number_also_as_a_pattern() {
    for (domain, found) in [
        ("\"studio\"", true),
        ("\"stud*\"", true),
        ("\"s?udio\"", true),
        ("1", true),
        ("\"6C1F1D3E-*\"", true),
        ("\"kitchen\"", false),
        ("\"*-studio\"", false),
        ("2", false),
    ] {
        let (_world, mut guest) = connected(&format!("[[rule]]\ndomain = {domain}\ncapture = true"));
        assert_eq!(open(&mut guest, CAPTURE).is_ok(), found, "{domain}");
    }
}

#[test]
fn formats_rates_channels_buffer_and_period_are_held_to_what_the_host_allows() {
    let (_world, mut guest) = connected(
        "[limits]\nformats = [\"s16_le\", \"u8\"]\n[[rule]]\ndomain = \"studio\"\nlimits = { formats = [\"s16_le\"], \
         rates-hz = [48000, 44100], channels-max = 1, buffer-bytes-max = 8192, period-us-min = 10000 }",
    );
    let all = query(&mut guest, HwParams::ANY).unwrap();
    assert_eq!(all.formats, FormatSet::EMPTY.with(Format::S16Le));
    assert_eq!((all.rates_hz, all.channels), (Interval::new(44_100, 48_000), Interval::exactly(1)));
    assert_eq!((all.buffer_frames.max, all.period_frames.min), (4096, 441));
    let rate = HwParams { rates_hz: Interval::new(44_101, 47_999), ..HwParams::ANY };
    assert_eq!(query(&mut guest, rate), Err(Errno::EINVAL));
    let buffer = guest.buffer(16_384);
    let good = OpenParams { channels: 1, buffer_bytes: 8192, ..buffer.open_params() };
    for (params, allowed) in [
        (good, true),
        (OpenParams { rate_hz: 44_100, ..good }, true),
        (OpenParams { rate_hz: 32_000, ..good }, false),
        (OpenParams { channels: 2, ..good }, false),
        (OpenParams { format: Format::U8, ..good }, false),
        (OpenParams { buffer_bytes: 16_384, ..good }, false),
    ] {
        assert_eq!(guest.streams[PLAYBACK].open(params).is_ok(), allowed, "{params:?}");
        guest.streams[PLAYBACK].close().unwrap();
    }
}

#[test]
fn a_guest_has_no_more_streams_than_the_host_allows() {
    for config in [
        "[limits]\nstreams-per-card = 1",
        "[[rule]]\ndomain = \"studio\"\nlimits = { streams-per-card = 1 }",
        "[[rule]]\ndomain = \"studio\"\nlimits = { streams-per-domain = 1 }",
    ] {
        let mut world = World::with_config(|_| config.to_owned());
        name(&mut world, GUEST, "studio", UUID);
        world.attach_duplex(GUEST);
        let mut guest = HostileGuest::enter(&world, GUEST);
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
        guest.grant(2);
        guest.publish();
        guest.set_state(XenbusState::Initialised);
        wait_for("the refusal", || world.log().contains("more than 1 ").then_some(()));
        assert_ne!(world.backend_state(GUEST, 0), XenbusState::Connected);
    }
}

#[test]
fn the_limit_of_streams_is_applied_before_directories_are_read() {
    let mut world = World::with_config(|_| "[limits]\nstreams-per-card = 2".to_owned());
    world.attach_duplex(GUEST);
    let mut guest = HostileGuest::enter(&world, GUEST);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    guest.grant(2);
    guest.publish();
    // PCM devices without a stream, each of which would be read.
    for pcm in 1..3 {
        guest.put(&format!("{pcm}/name"), b"empty");
    }
    guest.set_state(XenbusState::Initialised);
    wait_for("the refusal", || world.log().contains("more than 2 PCM devices or streams").then_some(()));
    assert_ne!(world.backend_state(GUEST, 0), XenbusState::Connected);
}

#[test]
fn no_more_than_256_guests_are_served_and_another_one_when_one_of_them_leaves() {
    let mut world = World::with_config(|_| "sink = \"null\"\n".to_owned());
    (1..=257).for_each(|guest| world.attach_playback(DomainId(guest)));
    (1..=256).for_each(|guest| world.wait_backend(DomainId(guest), 0, XenbusState::InitWait));
    wait_for("the refusal", || world.log().contains("no more than 256 guests are served at once").then_some(()));
    assert_eq!(world.backend_state(DomainId(257), 0), XenbusState::Initialising);
    world.detach(DomainId(1), 0).unwrap();
    world.wait_backend(DomainId(257), 0, XenbusState::InitWait);
}

#[test]
fn confused_deputy_a_guest_that_rewrites_its_own_nodes_changes_nothing_that_the_host_decides() {
    let (mut world, mut guest) = connected("[[rule]]\nstream = 1\nsource = \"wav:/nowhere.wav\"");
    let before = world.status().guests[0].cards[0].streams.clone();
    let backend = b"/local/domain/7/backend/vsnd/1/0".as_slice();
    for (path, value) in [
        ("0/0/unique-id", b"alsa<hw:0;0>".as_slice()),
        ("0/1/unique-id", b"pulse"),
        ("backend", backend),
        ("backend-id", b"7"),
        ("0/0/type", b"c"),
        ("0/1/type", b"p"),
    ] {
        guest.put(path, value);
    }
    // While the guest is connected, nothing changes. After a reconnection, only the streams' directions change.
    let after = world.status().guests[0].cards[0].streams.clone();
    assert_eq!(before, after);
    assert_eq!((open(&mut guest, PLAYBACK), open(&mut guest, CAPTURE)), (Ok(()), Err(Errno::EACCES)));
    guest.connect(&mut world, 2);
    let streams = world.status().guests[0].cards[0].streams.clone();
    assert_eq!((streams[0].device.as_str(), streams[0].permitted), ("null", false), "a capture stream now");
    assert!(streams[1].device.starts_with("wav:") && streams[1].device.contains("{domain}"), "{}", streams[1].device);
    assert_eq!(open(&mut guest, PLAYBACK), Err(Errno::EACCES));
}

#[test]
fn a_unique_id_leads_somewhere_only_where_the_host_trusts_it() {
    for (config, device) in [
        ("sink = \"null\"", "null"),
        ("sink = \"null\"\ntrust_unique_id = true", "alsa:hw:7,0"),
        ("sink = \"null\"\n[[rule]]\ndomain = \"kit*\"\ntrust-unique-id = true", "null"),
    ] {
        let mut world = World::with_config(|_| config.to_owned());
        world.attach(GUEST, "[['CARD, short-name=T', 'PCM, name=m', 'STREAM, unique-id=alsa<hw:7;0>, type=p']]");
        let _guest = HostileGuest::connected(&mut world, GUEST, 1);
        assert_eq!(world.status().guests[0].cards[0].streams[0].device, device, "{config}");
    }
}
