//! Tests of cards of protocol version 0: with the daemon, and with backends like those of 2015.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use guest::{Card, Config, Error, Violation};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::store::Direction;
use sndif::v0::{BackRing, Operation, Request, Response};
use sndif::{Format, GrantRef, Protocol, SharedMemory, XenbusState};
use testkit::signal::{assert_same, noise};
use testkit::{World, wait_for};
use xen::{Access, DomainId, EventChannel, Mapped, Port, Xen};

const GUEST: DomainId = DomainId(5);
const HOST: DomainId = DomainId(0);
const TIMEOUT: Duration = Duration::from_secs(60);
const DUPLEX: &str = "[['CARD', 'PCM', 'STREAM, type=p', 'STREAM, type=c']]";
const CONFIG: Config =
    Config { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 4800 };

fn connect(world: &mut World, card: u32) -> Card {
    let xen = world.enter(GUEST);
    Card::connect(&xen, &world.spec(), card, TIMEOUT).unwrap()
}

fn duplex() -> World {
    let mut world = World::new();
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    world
}

#[test]
fn v0_is_spoken_where_the_backend_names_a_stream_and_no_versions() {
    let mut world = duplex();
    let card = connect(&mut world, 0);
    assert_eq!(card.protocol(), Protocol::V0);
    let streams = card.streams();
    assert_eq!((streams.len(), streams[0].direction), (1, Direction::Playback));
    world.attach(DomainId(6), DUPLEX);
    let xen = world.enter(DomainId(6));
    let newer = Card::connect(&xen, &world.spec(), 0, TIMEOUT).unwrap();
    assert_eq!(newer.protocol(), Protocol::V2);
}

#[test]
fn the_daemon_plays_what_was_written_with_v0() {
    let mut world = duplex();
    let card = connect(&mut world, 0);
    // One card plays many sounds: periods of one and of many pages, and an end within one.
    for (number, period_frames) in [480, 5000, 100_000].into_iter().enumerate() {
        let sound = noise(number as u64, 100_004);
        let mut stream = card.playback(0, 0, &Config { period_frames, ..CONFIG }).unwrap();
        stream.write(&sound).unwrap();
        stream.drain().unwrap();
        assert_eq!(stream.position(), sound.len() as u64);
        stream.stop().unwrap();
        stream.close().unwrap();
        let stats = stream.stats();
        assert_eq!((stats.errors, stats.violations, stats.reconnects), (0, 0, 0));
        drop(stream);
        world.assert_played("5-0-0-0", number + 1, &sound);
    }
}

#[test]
fn the_guest_records_what_the_host_hears_with_v0() {
    let source = noise(3, 96_000);
    let mut world = World::with_config(|dir| {
        let path = dir.join("source.wav");
        let mut writer = host_audio::wav::Writer::create(&path, Format::S16Le, 48_000, 2).unwrap();
        writer.write(&source).unwrap();
        writer.finish();
        format!("source = \"wav:{}\"\ncapture = true\n", path.display())
    });
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    let card = connect(&mut world, 1);
    let mut stream = card.capture(0, 0, &CONFIG).unwrap();
    let mut heard = vec![0; source.len()];
    let mut done = 0;
    while done < heard.len() {
        done += stream.read(&mut heard[done..]).unwrap();
    }
    stream.close().unwrap();
    assert_same(&heard, &source);
}

#[test]
fn volume_and_mute_of_v0_reach_the_backend_and_outlive_it() {
    let mut world = duplex();
    let card = connect(&mut world, 0);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    assert_eq!(stream.volume().unwrap(), [Some(0), Some(0)]);
    stream.set_volume(&[-6000, -45_000]).unwrap();
    assert_eq!(stream.volume().unwrap(), [Some(-6000), Some(-45_000)]);
    stream.set_mute(&[true, false]).unwrap();
    assert_eq!(stream.volume().unwrap(), [None, Some(-45_000)]);
    stream.set_mute(&[false]).unwrap();
    stream.set_volume(&[20_000]).unwrap();
    assert_eq!(stream.volume().unwrap(), [Some(0), Some(0)], "the scale ends at 0 dB");
    stream.set_volume(&[-100_000, -300]).unwrap();
    assert_eq!(stream.volume().unwrap(), [None, Some(-300)], "and below −45 dB is silence");
    stream.close().unwrap();
    drop(stream);
    world.stop_daemon();
    world.start_daemon();
    wait_for("the card", || card.on_wake().unwrap().then_some(()));
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    assert_eq!(stream.volume().unwrap(), [None, Some(-300)], "a new backend is told");
}

#[test]
fn a_v0_stream_goes_on_with_the_next_daemon() {
    let mut world = duplex();
    let card = connect(&mut world, 0);
    let sound = noise(8, 384_000);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let (first, second) = sound.split_at(192_000);
    stream.write(first).unwrap();
    world.stop_daemon();
    world.start_daemon();
    stream.write(second).unwrap();
    stream.drain().unwrap();
    assert_eq!(stream.stats().reconnects, 1);
    stream.close().unwrap();
    // Frames that were answered and not heard, the lead, went with the old daemon; no others did, and none came twice.
    let [before, after] = [world.played("5-0-0-0", 1, 1), world.played("5-0-0-0", 2, 192_000)];
    assert_same(&before, &sound[..before.len()]);
    let rest = &sound[sound.len() - after.len()..];
    assert_same(&after, rest);
    let lost = sound.len() - before.len() - after.len();
    assert!(lost <= 192_000 / 10 + 4 * 1920, "{lost} bytes were lost");
}

#[test]
fn what_a_v0_backend_refuses_is_an_error_with_a_next_step() {
    let mut world = World::with_config(|_| "capture = false\n".into());
    world.attach_as(GUEST, DUPLEX, Protocol::V0);
    let card = connect(&mut world, 1);
    let error = card.capture(0, 0, &CONFIG).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the backend refuses OPEN; its protocol (v0) has no reasons, but its log may tell one"
    );
    let mut world = duplex();
    let card = connect(&mut world, 0);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    assert!(matches!(card.playback(0, 0, &CONFIG), Err(Error::StreamInUse { .. })));
    let silent = connect(&mut world, 1).capture(0, 0, &Config { rate_hz: 0, ..CONFIG }).unwrap_err();
    assert_eq!(silent.to_string(), "no stream has 2 channel(s) of s16_le at 0 Hz");
    assert!(matches!(card.capture(0, 0, &CONFIG), Err(Error::Direction(Direction::Playback))));
    assert!(matches!(stream.write(&[0; 3]), Err(Error::PartialFrame { bytes: 3, frame_bytes: 4 })));
}

#[test]
fn operations_that_v0_lacks_are_not_offered() {
    let mut world = duplex();
    let card = connect(&mut world, 0);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.start().unwrap();
    assert!(matches!(stream.pause(), Err(Error::NotOffered("pause"))));
    assert!(matches!(stream.resume(), Err(Error::NotOffered("pause"))));
    assert!(matches!(stream.event_fds(), Err(Error::NotOffered("position events"))));
    assert!(matches!(stream.try_write(&[0; 4]), Err(Error::NotOffered("position events"))));
    // A buffer's worth of areas is free, and those that a WRITE uses are not.
    let (buffer, period) = (stream.geometry().ring_bytes(), stream.geometry().period_bytes());
    assert_eq!((stream.room_bytes(), stream.queued_bytes(), stream.is_running()), (buffer, 0, false));
    stream.write(&noise(1, period as usize)).unwrap();
    assert_eq!((stream.room_bytes(), stream.queued_bytes(), stream.is_running()), (buffer - period, period, true));
    stream.drain().unwrap();
    assert_eq!((stream.room_bytes(), stream.queued_bytes(), stream.is_running()), (buffer, 0, false));
    stream.close().unwrap();
    assert!(matches!(stream.write(&[0; 4]), Err(Error::Closed)));
}

/// A backend like one of 2015: it makes no offer, waits for the frontend, and answers each request in turn.
struct Backend {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    played: Arc<Mutex<Vec<u8>>>,
}

impl Backend {
    /// Serves card 0; `answer` may change each response.
    fn start(xen: Xen, mut answer: impl FnMut(&mut Response) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let played = Arc::new(Mutex::new(Vec::new()));
        let (asked, heard) = (Arc::clone(&stop), Arc::clone(&played));
        let serve = move || {
            let mut store = xen.store().expect("the store");
            let front = format!("/local/domain/{GUEST}/device/vsnd/0");
            let read = |store: &mut xenstore::Client, name: &str| {
                let value = store.read_opt(&format!("{front}/{name}")).expect("the store");
                value.and_then(|value| sndif::store::number(&value))
            };
            wait_for("the frontend", || (read(&mut store, "state") == Some(3)).then_some(()));
            let (ring, port) = (read(&mut store, "ring-ref").unwrap(), read(&mut store, "event-channel").unwrap());
            let page: Mapped = xen.map(GUEST, &[GrantRef(ring)], Access::ReadWrite).expect("a ring");
            let channel: EventChannel = xen.bind_interdomain(GUEST, Port(port)).expect("a channel");
            let state = format!("/local/domain/0/backend/vsnd/{GUEST}/0/state");
            store.write(&state, XenbusState::Connected.node().as_bytes()).expect("our own node");
            let mut ring = BackRing::new(page);
            while !asked.load(Ordering::Acquire) {
                while let Some(packet) = ring.take().expect("a frontend that keeps the rules") {
                    let request = Request::parse(&packet).expect("a request that makes sense");
                    // A frontend that gave up has taken its pages back.
                    if let Operation::Write(transfer) = request.operation
                        && let Ok(pages) = xen.map(GUEST, transfer.refs(), Access::ReadOnly)
                    {
                        let mut bytes = vec![0; transfer.length() as usize];
                        assert!(pages.read(0, &mut bytes));
                        heard.lock().unwrap().extend(bytes);
                    }
                    assert_eq!(request.id, 4711, "requests carry the stream's number");
                    let opcode = request.operation.opcode();
                    let mut response = Response { id: request.id, opcode, success: true, volume: None };
                    answer(&mut response);
                    ring.respond(&response.emit());
                    if ring.publish() {
                        channel.notify().expect("the channel lives");
                    }
                }
                if !ring.arm(1) {
                    let tick = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                    let _ = poll(&mut [PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::IN)], Some(&tick));
                    let _ = channel.acknowledge();
                }
            }
        };
        let thread = std::thread::Builder::new().name("backend".into()).spawn(serve).expect("a thread");
        Self { stop, thread: Some(thread), played }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

fn with_backend(answer: impl FnMut(&mut Response) + Send + 'static) -> (World, Card, Backend) {
    let mut world = World::without_daemon(|_| String::new());
    world.attach_as(GUEST, "[['CARD', 'PCM', 'STREAM, type=p']]", Protocol::V0);
    let ours = format!("/local/domain/0/backend/vsnd/{GUEST}/0");
    world.store().write(&format!("{ours}/stream_id"), b"4711").unwrap();
    world.store().rm(&format!("{ours}/type")).unwrap();
    let backend = Backend::start(world.enter(HOST), answer);
    let card = connect(&mut world, 0);
    (world, card, backend)
}

#[test]
fn a_backend_of_2015_is_played_to() {
    let (_world, card, backend) = with_backend(|_| {});
    assert_eq!(card.streams().len(), 2, "a device that nobody described goes either way");
    let sound = noise(1, 100_000);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.write(&sound).unwrap();
    stream.drain().unwrap();
    stream.close().unwrap();
    assert_same(&backend.played.lock().unwrap(), &sound);
}

#[test]
fn a_refused_write_is_reported_and_the_stream_can_be_opened_again() {
    let mut writes = 0;
    let (_world, card, _backend) = with_backend(move |response| {
        writes += u32::from(response.opcode == 3);
        response.success = writes != 3 || response.opcode != 3;
    });
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    let error = stream.write(&noise(1, 100_000)).and_then(|()| stream.drain()).unwrap_err();
    assert!(matches!(error, Error::RefusedWithoutReason { operation: "WRITE" }), "{error}");
    drop(stream);
    let mut stream = card.playback(0, 0, &CONFIG).unwrap();
    stream.write(&noise(1, 100_000)).unwrap();
    stream.close().unwrap();
}

#[test]
fn a_v0_backend_that_answers_something_else_is_not_believed() {
    for change in [|response: &mut Response| response.opcode = 1, |response: &mut Response| response.id = 1] {
        let (_world, card, _backend) = with_backend(move |response| {
            if response.opcode == 3 {
                change(response);
            }
        });
        let mut stream = card.playback(0, 0, &CONFIG).unwrap();
        let error = stream.write(&noise(1, 100_000)).unwrap_err();
        assert!(matches!(error, Error::Violation(Violation::OutOfOrder { .. })), "{error}");
        drop(stream);
        assert!(matches!(card.playback(0, 0, &CONFIG), Err(Error::StreamBroken { .. })));
    }
}
