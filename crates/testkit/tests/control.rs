//! Tests of control: the administrator's queries and changes while guests play and record.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use control::{Client, ClientError, EventKind, Reply, Request, Run, Status, Target};
use host_audio::wav::Writer;
use sndif::Format;
use testkit::hostile::HostileGuest;
use testkit::linux::{LinuxFrontend, Wish};
use testkit::signal::{assert_same, noise};
use testkit::{PATIENCE, World, eventually, wait_for};
use xen::DomainId;

const GUEST: DomainId = DomainId(1);
const PLAYED: &str = "1-0-0-0";

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn write_source(path: &Path, sound: &[u8]) {
    let mut writer = Writer::create(path, Format::S16Le, Wish::UNHURRIED.rate_hz, 2).unwrap();
    writer.write(sound).unwrap();
    writer.finish();
}

/// A guest with a card under mainline's driver.
fn linux(world: &mut World) -> (xen::Xen, LinuxFrontend) {
    world.attach_duplex(GUEST);
    let xen = world.enter(GUEST);
    let frontend = LinuxFrontend::probe(&xen);
    frontend.wait_card();
    (xen, frontend)
}

/// Waits until `frames` frames went through a stream since it was connected.
fn wait_frames(world: &World, stream: usize, frames: u64) {
    wait_for("frames", || (world.status().guests[0].cards[0].streams[stream].frames >= frames).then_some(()));
}

/// Waits for `frames` further frames: the last request may have been answered late.
fn wait_more_frames(world: &World, stream: usize, frames: u64) {
    wait_frames(world, stream, world.status().guests[0].cards[0].streams[stream].frames + frames);
}

/// Device of the first stream.
fn device(world: &World) -> String {
    world.status().guests[0].cards[0].streams[0].device.clone()
}

fn done(reply: Result<Reply, ClientError>) -> usize {
    match reply {
        Ok(Reply::Done { streams, .. }) => streams,
        other => panic!("{other:?}"),
    }
}

#[test]
fn capture_is_allowed_and_denied_while_a_guest_records() {
    let sound = noise(7, 64_000 * 4);
    let mut world = World::with_config(|dir| {
        let source = dir.join("source.wav");
        write_source(&source, &sound);
        format!("when-denied = \"silence\"\nsource = \"wav:{}\"\n", source.display())
    });
    let (_xen, frontend) = linux(&mut world);
    let mut pcm = frontend.open_capture(0, 0).unwrap();
    pcm.hw_params(&Wish::UNHURRIED).unwrap();
    let recorded = thread::scope(|scope| {
        let recorder = scope.spawn(move || pcm.arecord(64_000).unwrap());
        wait_frames(&world, 1, 6_000);
        assert_eq!(done(world.ask(&Request::Capture { target: target("1"), allow: true, for_s: None })), 1);
        wait_more_frames(&world, 1, 10_000);
        done(world.ask(&Request::Capture { target: target("1/0/0/1"), allow: false, for_s: None }));
        recorder.join().unwrap()
    });
    assert_eq!(recorded.len(), sound.len(), "the guest's clock went on");
    let begin = recorded.iter().position(|&byte| byte != 0).expect("what was allowed is heard");
    let end = recorded.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    assert!(begin >= 6_000 * 4, "nothing before it was allowed: {begin}");
    assert!(end < recorded.len() - 800 * 4, "nothing after it was denied: {end}");
    assert_same(&recorded[begin..end], &sound[..end - begin]);
    assert!(world.log().contains("audit: 1: capture allowed, by user "), "{}", world.log());
    assert!(world.log().contains("audit: 1/0/0/1: capture denied, by user "));
}

#[test]
fn what_is_refused_outright_can_be_opened_once_it_is_allowed() {
    let mut world = World::with_config(|_| String::new());
    world.attach_duplex(GUEST);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 2);
    let buffer = guest.buffer(16_384);
    for allow in [false, true, false] {
        done(world.ask(&Request::Capture { target: target("1"), allow, for_s: None }));
        assert_eq!(guest.streams[1].open(buffer.open_params()).is_ok(), allow);
        guest.streams[1].close().unwrap();
    }
}

#[test]
fn an_override_outlives_the_daemon_and_the_guest() {
    let mut world = World::with_config(|_| "capture = true\n".to_owned());
    world.attach_duplex(GUEST);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 2);
    done(world.ask(&Request::Capture { target: target("1"), allow: false, for_s: None }));
    done(world.ask(&Request::Volume { target: target("1/0/0/0"), volume_db: -3.5 }));
    done(world.ask(&Request::Mute { target: target("1/0"), on: true }));
    world.stop_daemon();
    world.start_daemon();
    guest.connect(&mut world, 2);
    let decided = |world: &World| {
        let streams = world.status().guests[0].cards[0].streams.clone();
        (streams[0].volume_db, streams[0].muted, streams[1].permitted)
    };
    assert_eq!(decided(&world), (-3.5, true, false));
    let buffer = guest.buffer(16_384);
    assert!(guest.streams[1].open(buffer.open_params()).is_err());
    drop(buffer);
    drop(guest);
    world.wait_dead(GUEST);
    world.remove_nodes(GUEST, 0);
    wait_for("the guest is gone", || world.status().guests.is_empty().then_some(()));
    world.attach_duplex(GUEST);
    let _guest = HostileGuest::connected(&mut world, GUEST, 2);
    assert_eq!(decided(&world), (-3.5, true, false), "the guest of that name starts again");
}

#[test]
fn the_hosts_volume_and_mute_are_heard_at_once_and_added_to_the_guests() {
    let mut world = World::with_config(|_| "volume-max-db = 0\n".to_owned());
    let (_xen, frontend) = linux(&mut world);
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    pcm.hw_params(&Wish::COMFORTABLE).unwrap();
    let frames = 240_000;
    let sound: Vec<u8> = std::iter::repeat_n(10_000_i16.to_le_bytes(), frames * 2).flatten().collect();
    thread::scope(|scope| {
        let player = scope.spawn(|| pcm.aplay(&sound).unwrap());
        wait_frames(&world, 0, 24_000);
        assert_eq!(done(world.ask(&Request::Volume { target: target("1/0/0/0"), volume_db: -6.0206 })), 1);
        wait_more_frames(&world, 0, 36_000);
        done(world.ask(&Request::Mute { target: target("1"), on: true }));
        wait_more_frames(&world, 0, 36_000);
        done(world.ask(&Request::Mute { target: target("1"), on: false }));
        // Above the ceiling: no sample becomes louder than in the guest.
        done(world.ask(&Request::Volume { target: target("1/0/0/0"), volume_db: 6.0 }));
        player.join().unwrap();
    });
    // Play more, since the requests above may have come late.
    pcm.aplay(&sound[..9_600 * 4]).unwrap();
    let frames = frames + 9_600;
    let played = world.played(PLAYED, 1, frames * 4);
    let samples: Vec<i16> = played.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
    let mut levels: Vec<i16> = samples.clone();
    levels.dedup();
    assert!(samples.iter().all(|&sample| (0..=10_000).contains(&sample)), "the ceiling holds");
    for level in [10_000, 5_000, 0] {
        let near = samples.iter().filter(|&&sample| (sample - level).abs() <= 2).count();
        assert!(near > 24_000, "{near} samples at {level}");
    }
    let last = &samples[frames * 2 - 4800..frames * 2];
    assert!(last.iter().all(|&sample| sample == 10_000), "unmuted, at the ceiling");
}

#[test]
fn reloading_leaves_alone_what_plays_and_moves_what_leads_elsewhere() {
    let mut world = World::new();
    let (_xen, frontend) = linux(&mut world);
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    pcm.hw_params(&Wish::UNHURRIED).unwrap();
    let sound = noise(3, 40_000 * 4);
    let good = fs::read_to_string(world.config_path()).unwrap();
    let other = world.dir().join("other.wav");
    thread::scope(|scope| {
        let player = scope.spawn(|| pcm.aplay(&sound).unwrap());
        wait_frames(&world, 0, 2_000);
        let configured = device(&world);
        // The same configuration again, with a limit that does not concern this stream.
        fs::write(world.config_path(), format!("{good}[limits]\nstreams-per-card = 3\n")).unwrap();
        assert_eq!(done(world.ask(&Request::Reload)), 2);
        // A broken file is refused as a whole, and the error names the line.
        fs::write(world.config_path(), format!("{good}playback = false\ncapture = maybe\n")).unwrap();
        let error = world.ask(&Request::Reload).unwrap_err().to_string();
        let line = good.lines().count() + 2;
        assert!(error.contains(&format!("vsndd.toml:{line}:")) && error.contains("still holds"), "{error}");
        wait_frames(&world, 0, 12_000);
        // With a missing device, the stream keeps its device.
        fs::write(world.config_path(), "sink = \"wav:/nowhere/at/all.wav\"\n").unwrap();
        done(world.ask(&Request::Reload));
        assert!(world.log().contains("not moved to wav:/nowhere/at/all.wav: "), "{}", world.log());
        assert_eq!(device(&world), configured, "where it plays, not where it was to");
        fs::write(world.config_path(), format!("sink = \"wav:{}\"\n", other.display())).unwrap();
        world.hang_up();
        wait_for("another device", || (device(&world) == format!("wav:{}", other.display())).then_some(()));
        player.join().unwrap();
    });
    let first = world.sounds(PLAYED);
    assert_eq!(first.len(), 1, "not opened again by a reload that does not concern it");
    assert!(first[0].len() >= 12_000 * 4);
    assert_same(&first[0], &sound[..first[0].len()]);
    let second = host_audio::wav::read_file(&other).unwrap().data;
    let at = sound.len() - second.len();
    assert!(at >= first[0].len() && at - first[0].len() < 8_000, "{at} after {}", first[0].len());
    assert_same(&second, &sound[at..]);
}

#[test]
fn streams_that_are_moved_to_a_server_that_never_answers_stay_where_they_are_and_nobody_waits() {
    // One line is logged for each stream; the log accepts this many lines of a guest.
    const STREAMS: usize = 8;
    let mut world = World::new();
    let streams: String = (0..STREAMS).map(|index| format!(", 'STREAM, unique-id=p{index}, type=p'")).collect();
    world.attach(GUEST, &format!("[['CARD, short-name=Test', 'PCM, name=main'{streams}]]"));
    let mut guest = HostileGuest::connected(&mut world, GUEST, STREAMS);
    let xen = guest.xen.clone();
    let sound = noise(1, 16_384);
    let _buffers: Vec<_> = guest.streams.iter_mut().map(|stream| stream.play(&xen, 16_384, &sound)).collect();
    let socket = world.dir().join("mute");
    let _listener = UnixListener::bind(&socket).unwrap();
    let configured = device(&world);
    fs::write(world.config_path(), format!("sink = \"pulse@unix:{}\"\n", socket.display())).unwrap();
    // The worker answers in time only if it does not wait for one device after the other.
    assert_eq!(done(world.ask(&Request::Reload)), STREAMS);
    let told = || world.log().matches("not moved to pulse@unix:").count();
    wait_for("all of them stay", || (told() == STREAMS).then_some(()));
    assert_eq!(device(&world), configured);
}

#[test]
fn what_happens_is_told_to_those_who_follow() {
    let mut world = World::new();
    let mut follower = Client::connect(&world.socket()).unwrap();
    assert!(matches!(follower.ask(&Request::Events { follow: true }), Ok(Reply::Events { .. })));
    world.attach_playback(GUEST);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
    let sound = noise(1, 16_384);
    let xen = guest.xen.clone();
    let _buffer = guest.streams[0].play(&xen, 16_384, &sound);
    assert_eq!(world.status().guests[0].cards[0].streams[0].run, Run::Running);
    guest.streams[0].close().unwrap();
    guest.streams[0].call_raw(&[0xFF; 64]);
    done(world.ask(&Request::Mute { target: target("1"), on: true }));
    done(world.ask(&Request::Reload));
    use EventKind::{Audit, Card, Close, Open, Reload, Violation, Xrun};
    let mut kinds = Vec::new();
    while kinds.last() != Some(&Reload) {
        let event = follower.next_event().unwrap();
        assert!(event.time_ms > 1_700_000_000_000);
        if !matches!(event.kind, Reload) {
            assert_eq!(event.domain, Some(1), "{event:?}");
        }
        kinds.push(event.kind);
    }
    kinds.dedup();
    kinds.retain(|kind| *kind != Xrun);
    assert_eq!(kinds, [Card, Open, Close, Violation, Audit, Reload]);
    let Ok(Reply::Events { events }) = world.ask(&Request::Events { follow: false }) else { panic!("no events") };
    assert!(events.len() >= 6);
}

#[test]
fn levels_are_measured_while_somebody_looks() {
    let mut world = World::new();
    let (_xen, frontend) = linux(&mut world);
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    pcm.hw_params(&Wish::COMFORTABLE).unwrap();
    let sound: Vec<u8> = std::iter::repeat_n([0, 0x40, 0, 0], 192_000).flatten().collect();
    thread::scope(|scope| {
        let player = scope.spawn(|| pcm.aplay(&sound).unwrap());
        wait_frames(&world, 0, 4_800);
        assert!(world.status().guests[0].cards[0].streams[0].levels_db.is_empty());
        wait_for("a level", || {
            let Ok(Reply::Status(status)) = world.ask(&Request::List { levels: true }) else { panic!("no status") };
            let levels = &status.guests[0].cards[0].streams[0].levels_db;
            let left = levels.first().copied().flatten()?;
            assert!((left + 6.02).abs() < 0.1 && levels.len() == 2 && levels[1].is_none(), "{levels:?}");
            Some(())
        });
        player.join().unwrap();
    });
}

#[test]
fn a_running_stream_is_described() {
    let mut world = World::new();
    let (_xen, frontend) = linux(&mut world);
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    let agreed = pcm.hw_params(&Wish::COMFORTABLE).unwrap();
    thread::scope(|scope| {
        let player = scope.spawn(|| pcm.aplay(&noise(5, 144_000 * 4)).unwrap());
        wait_frames(&world, 0, 24_000);
        // A player that is late for once stops its stream and starts it again.
        let running = |status: &Status| status.guests[0].cards[0].streams[0].run == Run::Running;
        let status = wait_for("the stream runs", || Some(world.status()).filter(running));
        let card = &status.guests[0].cards[0];
        let stream = &card.streams[0];
        assert_eq!((card.protocol.as_str(), card.state.as_str(), card.connections), ("v2", "Connected", 1));
        assert_eq!(stream.format.as_deref(), Some("s16_le"));
        assert_eq!((stream.rate_hz, stream.channels), (48_000, 2));
        assert_eq!(u64::from(stream.period_frames), agreed.period_frames);
        assert!(stream.latency_us.is_some_and(|latency| latency < 1_000_000), "{:?}", stream.latency_us);
        assert!(stream.notifications_in > 0 && stream.notifications_out > 0 && stream.requests > 0);
        assert!(stream.device.starts_with("wav:") && stream.permitted && !stream.device_lost);
        assert_eq!(status.pid, std::process::id());
        player.join().unwrap();
    });
}

#[test]
fn a_request_that_cannot_be_is_refused_with_a_reason() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    let _guest = HostileGuest::connected(&mut world, GUEST, 1);
    for (request, reason) in [
        (Request::Volume { target: target("1"), volume_db: 21.0 }, "between -100 and 20"),
        (Request::Volume { target: target("1"), volume_db: f64::MAX }, "between -100 and 20"),
        (
            Request::Mute { target: target("studio"), on: true },
            "no guest `studio` has a sound card; there are: domain-1",
        ),
        (Request::Mute { target: target("1/7"), on: true }, "no such card or stream"),
        (Request::Mute { target: target("1/0/0/9"), on: true }, "no such card or stream"),
    ] {
        let error = world.ask(&request).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    for (line, reason) in [
        ("hello\n", "not a request"),
        ("{\"request\":\"explode\"}\n", "unknown variant `explode`"),
        ("{\"request\":\"list\",\"colour\":1}\n", "unknown field `colour`"),
        ("{\"request\":\"mute\",\"target\":\"1/x\",\"on\":true}\n", "`1/x` does not name streams"),
        ("\n", "not a request"),
    ] {
        let mut socket = UnixStream::connect(world.socket()).unwrap();
        socket.write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        BufReader::new(&socket).read_line(&mut reply).unwrap();
        assert!(reply.starts_with("{\"reply\":\"refused\"") && reply.contains(reason), "{line}: {reply}");
    }
    // A request without an end is answered, and the connection is closed.
    let mut socket = UnixStream::connect(world.socket()).unwrap();
    let _ = socket.write_all(&[b'x'; 8192]);
    let mut reply = Vec::new();
    // Unread bytes of the request make the connection end with a reset, so errors are ignored.
    let _ = socket.read_to_end(&mut reply);
    assert!(String::from_utf8_lossy(&reply).contains("at most 4096 bytes"));
    assert!(world.daemon_runs());
}

#[test]
fn many_who_ask_and_do_not_read_disturb_nobody() {
    let mut world = World::new();
    let (_xen, frontend) = linux(&mut world);
    let idle: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(world.socket()).unwrap()).collect();
    for mut socket in idle.iter().take(20).map(|socket| socket.try_clone().unwrap()) {
        socket.set_nonblocking(true).unwrap();
        let _ = socket.write(&b"{\"request\":\"list\"}\n".repeat(1000));
    }
    let sound = noise(9, 12_000 * 4);
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    pcm.hw_params(&Wish::UNHURRIED).unwrap();
    pcm.aplay(&sound).unwrap();
    world.assert_played(PLAYED, 1, &sound);
    drop(idle);
    assert!(eventually(PATIENCE, || Client::connect(&world.socket())
        .is_ok_and(|mut client| client.ask(&Request::List { levels: false }).is_ok())));
}

#[test]
fn the_socket_is_for_the_daemons_user_and_its_group_alone() {
    let mut world = World::new();
    let mode = fs::metadata(world.socket()).unwrap().permissions().mode() & 0o777;
    assert!(matches!(mode, 0o600 | 0o660), "{mode:o}");
    // Only one daemon at a time; the socket of a killed daemon does not prevent a start.
    let second = UnixListener::bind(world.socket());
    assert!(second.is_err());
    world.stop_daemon();
    assert!(!world.socket().exists(), "it goes with the daemon");
    drop(UnixListener::bind(world.socket()).unwrap());
    assert!(world.socket().exists());
    world.start_daemon();
    assert!(world.status().guests.is_empty());
}

#[test]
fn metrics_are_given_to_prometheus() {
    let mut world =
        World::with_config(|dir| format!("[metrics]\nlisten = \"unix:{}\"\n", dir.join("metrics.sock").display()));
    world.attach_playback(GUEST);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
    guest.streams[0].call_raw(&[0xFF; 64]);
    let mut socket = UnixStream::connect(world.dir().join("metrics.sock")).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    for line in ["vsndd_guests 1", "vsndd_streams 1", "vsndd_violations_total{kind=\"request\"} 1", "# EOF"] {
        assert!(text.lines().any(|there| there == line), "{line} is missing in:\n{text}");
    }
}
