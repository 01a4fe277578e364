//! Tests that either side may vanish and come back at any moment.

use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

use config::{Settings, Worker};
use proptest::prelude::*;
use sndif::XenbusState;
use testkit::hostile::HostileGuest;
use testkit::linux::{Errno, LinuxFrontend, Timings, Wish};
use testkit::signal::noise;
use testkit::{Bystander, PATIENCE, Threads, World, eventually};
use vsndd::{Daemon, Launch, Running};
use xen::{DomainId, Xen, XenSpec};
use xenstore::Perm;

const GUEST: DomainId = DomainId(1);
const STREAM: &str = "1-0-0-0";

/// A driver with short time-outs for a vanished backend, which are still longer than a machine's stalls.
fn impatient(xen: &Xen) -> LinuxFrontend {
    let timings = Timings { answer: Duration::from_secs(2), wake_up: Duration::from_secs(2) };
    let frontend = LinuxFrontend::probe_with(xen, 0, timings);
    frontend.wait_card();
    frontend
}

fn play(frontend: &LinuxFrontend, seed: u64) -> Vec<u8> {
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    pcm.hw_params(&Wish::COMFORTABLE).unwrap();
    let sound = noise(seed, 1920 * 4);
    pcm.aplay(&sound).unwrap();
    sound
}

/// A second run of this test program, as a process that can be killed.
struct Process(Child);

impl Process {
    const DIR: &'static str = "VSND_TEST_XEN";

    /// Starts one of the ignored tests below and waits until it reports that it is ready.
    fn start(world: &World, role: &str) -> Self {
        let XenSpec::Emu(dir) = world.spec() else { panic!("an emulated Xen") };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", role, "--ignored", "--nocapture"])
            .env(Self::DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self(child)
    }

    /// Xen in the emulation that the process belongs to; `None` if it was not started by a test.
    fn xen(domain: DomainId) -> Option<Xen> {
        let dir = std::env::var_os(Self::DIR)?;
        Some(Xen::open(&XenSpec::Emu(dir.into()), Some(domain)).unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "run by other tests as a process of its own"]
fn guest_process() {
    let Some(xen) = Process::xen(GUEST) else { return };
    let frontend = LinuxFrontend::probe(&xen);
    frontend.wait_card();
    let mut pcm = frontend.open_playback(0, 0).unwrap();
    pcm.hw_params(&Wish::COMFORTABLE).unwrap();
    pcm.prepare().unwrap();
    pcm.writei(&noise(1, 9600 * 4)).unwrap();
    eprintln!("ready");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
#[ignore = "run by other tests as a process of its own"]
fn daemon_process() {
    let Some(xen) = Process::xen(DomainId(0)) else { return };
    let store = xen.store().unwrap();
    let shared = xen.store_fd().unwrap();
    let mut daemon = Daemon::new(xen, store, shared, Settings::default(), Threads::default()).unwrap();
    daemon.begin().unwrap();
    eprintln!("ready");
    daemon.run(io::stdin().as_fd()).unwrap();
}

#[test]
fn a_daemon_that_is_killed_is_replaced_by_the_next() {
    let mut world = World::without_daemon(|_| String::new());
    world.attach_playback(GUEST);
    let xen = world.enter(GUEST);
    let mut daemon = Process::start(&world, "daemon_process");
    let frontend = impatient(&xen);
    for round in 1..=3 {
        play(&frontend, round as u64);
        let mut pcm = frontend.open_playback(0, 0).unwrap();
        pcm.hw_params(&Wish::COMFORTABLE).unwrap();
        pcm.prepare().unwrap();
        pcm.writei(&noise(9, 9600 * 4)).unwrap();
        // While the guest plays, the host's side vanishes without a message.
        daemon.kill();
        assert_eq!(world.backend_state(GUEST, 0), XenbusState::Connected);
        assert_eq!(pcm.writei(&noise(9, 9600 * 4)), Err(Errno::EIO), "no period elapses any more");
        daemon = Process::start(&world, "daemon_process");
        // The application gives up, and finds a new card.
        drop(pcm);
        frontend.wait_registrations(round + 1);
    }
    drop(frontend);
    daemon.kill();
    // The mappings and ports of the dead daemon are gone, and the next one serves normally.
    world.start_daemon();
    let sound = play(&impatient(&xen), 5);
    world.assert_played(STREAM, 1, &sound);
}

#[test]
fn a_guest_that_is_killed_while_it_plays_leaves_nothing_and_may_come_back() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    let bystander = Bystander::start(&mut world);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    let before = world.census();
    for _ in 0..5 {
        Process::start(&world, "guest_process").kill();
        world.wait_dead(GUEST);
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
        world.assert_settles_at(before);
    }
    let killed = world.sounds(STREAM).len();
    let xen = world.enter(GUEST);
    let sound = play(&impatient(&xen), 7);
    world.assert_played(STREAM, killed + 1, &sound);
    bystander.assert_undisturbed(&world);
}

#[test]
fn a_guest_that_drops_dead_at_any_moment_of_its_playing_leaves_nothing() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    let before = world.census();
    for round in 0..20 {
        let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
        let xen = guest.xen.clone();
        let buffer = guest.streams[0].play(&xen, 38_400, &noise(1, 38_400));
        std::thread::sleep(Duration::from_micros(1300 * round));
        drop((guest, buffer, xen));
        world.wait_dead(GUEST);
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
    }
    world.assert_settles_at(before);
}

#[test]
fn a_daemon_restart_while_a_guest_plays_costs_that_sound_only() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    let xen = world.enter(GUEST);
    let frontend = impatient(&xen);
    for round in 1..=3 {
        std::thread::scope(|scope| {
            let player = scope.spawn(|| {
                let mut pcm = frontend.open_playback(0, 0).unwrap();
                pcm.hw_params(&Wish::COMFORTABLE).unwrap();
                pcm.aplay(&noise(9, 1920 * 4 * 500))
            });
            assert!(eventually(PATIENCE, || world.daemon_usage().mapped_pages > 2));
            world.stop_daemon();
            let ended = player.join().unwrap();
            assert!(matches!(ended, Err(Errno::EBADFD | Errno::ENODEV | Errno::EIO | Errno::ETIMEDOUT)), "{ended:?}");
        });
        assert!(!frontend.has_card());
        world.start_daemon();
        frontend.wait_registrations(round + 1);
        let sound = play(&frontend, round as u64);
        let sounds = eventually(PATIENCE, || (1..12).any(|n| matches_sound(&world, n, &sound)));
        assert!(sounds, "the next sound is heard");
    }
}

fn matches_sound(world: &World, number: usize, sound: &[u8]) -> bool {
    world.sounds(STREAM).get(number - 1).is_some_and(|played| played == sound)
}

#[test]
fn a_frontend_that_missed_the_daemons_end_is_taken_through_closed() {
    // The daemon vanishes without a message: the guest stays connected and does not notice.
    let mut world = World::new();
    world.attach_playback(GUEST);
    let xen = world.enter(GUEST);
    let frontend = impatient(&xen);
    world.stop_daemon();
    assert!(eventually(PATIENCE, || frontend.state() == XenbusState::Initialising));
    drop(frontend);
    for stale in [XenbusState::Connected, XenbusState::Initialised, XenbusState::Reconfiguring, XenbusState::Closing] {
        let mut guest = HostileGuest::enter(&world, GUEST);
        guest.grant(1);
        guest.publish();
        guest.set_state(stale);
        let path = "/local/domain/0/backend/vsnd/1/0/state";
        world.store().write(path, XenbusState::Connected.node().as_bytes()).unwrap();
        let offers = |world: &World| world.log().matches("card 0: InitWait").count();
        let before = offers(&world);
        world.start_daemon();
        // libxl would wait for ten seconds.
        assert!(eventually(Duration::from_secs(4), || offers(&world) > before), "{}", world.log());
        guest.connect(&mut world, 1);
        world.stop_daemon();
    }
}

#[test]
fn a_device_that_is_unplugged_and_plugged_in_again_works() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    let xen = world.enter(GUEST);
    let before = world.census();
    for round in 0..3 {
        let frontend = impatient(&xen);
        let sound = play(&frontend, round);
        world.assert_played(STREAM, round as usize + 1, &sound);
        drop(frontend);
        world.detach(GUEST, 0).unwrap();
        assert!(eventually(PATIENCE, || world.daemon_usage() == before.daemon));
        world.attach_playback(GUEST);
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
    }
    world.assert_settles_at(before);
}

#[test]
fn a_guest_that_removed_its_own_half_is_unplugged_like_any_other() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
    guest.remove("state");
    world.detach(GUEST, 0).unwrap();
    let closed = "card 0: Closed";
    assert!(eventually(PATIENCE, || world.log().contains(closed)), "the toolstack sees it: {}", world.log());
}

#[test]
fn a_driver_domain_removes_its_half_of_what_is_detached() {
    const DRIVER_DOMAIN: DomainId = DomainId(3);
    let mut world = World::without_daemon(|_| String::new());
    // libxl makes a domain's directory readable by that domain.
    let home = format!("/local/domain/{DRIVER_DOMAIN}");
    world.store().mkdir(&home).unwrap();
    world.store().set_perms(&home, &[Perm::none(0), Perm::read(DRIVER_DOMAIN.0)]).unwrap();
    world.start_daemon_in(DRIVER_DOMAIN);
    let ours = format!("{home}/backend/vsnd/{GUEST}");
    for dies in [false, true] {
        let (before, removed) = (world.daemon_usage(), world.log().matches("removed").count());
        world.attach(GUEST, &testkit::PLAYBACK.replace("CARD, ", "CARD, backend=3, "));
        let xen = world.enter(GUEST);
        let frontend = impatient(&xen);
        play(&frontend, 1);
        assert!(world.daemon_usage() != before);
        if dies {
            // Like `xl destroy`: the guest is gone before its devices.
            drop((frontend, xen));
            world.wait_dead(GUEST);
        }
        world.detach(GUEST, 0).unwrap();
        let gone = || world.log().matches("removed").count() > removed && world.daemon_usage() == before;
        assert!(eventually(PATIENCE, gone), "{:?}\n{}", world.daemon_usage(), world.log());
        assert_eq!(world.store().directory(&ours).unwrap_or_default(), Vec::<String>::new());
    }
    assert!(!world.log().contains("ERROR"), "{}", world.log());
}

#[test]
fn a_device_that_was_replaced_between_two_looks_is_served() {
    let mut world = World::new();
    world.attach_playback(GUEST);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    let backend = "/local/domain/0/backend/vsnd/1/0";
    for _ in 0..3 {
        let replaced = world.store().transaction(|transaction| {
            transaction.rm(backend)?;
            for (name, value) in
                [("frontend", "/local/domain/1/device/vsnd/0"), ("frontend-id", "1"), ("online", "1"), ("state", "1")]
            {
                transaction.write(&format!("{backend}/{name}"), value.as_bytes())?;
            }
            Ok(())
        });
        replaced.unwrap();
        world.wait_backend(GUEST, 0, XenbusState::InitWait);
        assert!(world.store().exists(&format!("{backend}/versions")).unwrap());
    }
}

#[test]
fn what_the_toolstack_removed_is_never_made_again() {
    let mut world = World::new();
    for round in 0..100 {
        world.attach_playback(GUEST);
        let mut guest = HostileGuest::enter(&world, GUEST);
        if round % 2 == 0 {
            world.wait_backend(GUEST, 0, XenbusState::InitWait);
        }
        guest.grant(1);
        guest.publish();
        guest.set_state(XenbusState::Initialised);
        std::thread::sleep(Duration::from_micros(37 * round));
        // The state after a forced destruction of the domain.
        world.remove_nodes(GUEST, 0);
        drop(guest);
        world.wait_dead(GUEST);
    }
    let mut left = Vec::new();
    let gone = eventually(PATIENCE, || {
        left = world.store().directory("/local/domain/0/backend/vsnd/1").unwrap_or_default();
        left.is_empty() && world.daemon_usage() == xen::Usage { mapped_pages: 0, ports: 0, ..world.daemon_usage() }
    });
    assert!(gone, "{left:?} {:?}", world.daemon_usage());
    std::thread::sleep(Duration::from_millis(300));
    assert!(world.store().directory("/local/domain/0/backend/vsnd/1").unwrap_or_default().is_empty());
}

/// Event in the history of a card; events may come in any order.
#[derive(Debug, Clone, Copy)]
enum Turn {
    State(u8),
    Publish,
    PublishNonsense,
    RemoveStream,
    RestoreStream,
    RestartDaemon,
    StopDaemon,
    Die,
    Unplug,
    Pause,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        6 => (0_u8..10).prop_map(Turn::State),
        3 => Just(Turn::Publish),
        1 => Just(Turn::PublishNonsense),
        1 => Just(Turn::RemoveStream),
        1 => Just(Turn::RestoreStream),
        1 => Just(Turn::RestartDaemon),
        1 => Just(Turn::StopDaemon),
        1 => Just(Turn::Die),
        1 => Just(Turn::Unplug),
        2 => Just(Turn::Pause),
    ];
    proptest::collection::vec(turn, 1..25)
}

fn live_through(turns: &[Turn]) {
    let mut world = World::new();
    world.attach_playback(GUEST);
    let mut guest = HostileGuest::enter(&world, GUEST);
    let mut runs = true;
    for &turn in turns {
        match turn {
            Turn::State(9) => guest.remove("state"),
            Turn::State(state) => guest.put("state", state.to_string().as_bytes()),
            Turn::Publish => {
                guest.grant(1);
                guest.publish();
            }
            Turn::PublishNonsense => guest.put("0/0/ring-ref", b"4294967295"),
            Turn::RemoveStream => guest.remove("0"),
            Turn::RestoreStream => guest.put("0/0/type", b"p"),
            Turn::RestartDaemon | Turn::StopDaemon => {
                if runs {
                    world.stop_daemon();
                }
                runs = matches!(turn, Turn::RestartDaemon);
                if runs {
                    world.start_daemon();
                }
            }
            Turn::Die => {
                drop(guest);
                world.wait_dead(GUEST);
                guest = HostileGuest::enter(&world, GUEST);
            }
            Turn::Unplug => {
                if runs {
                    world.detach(GUEST, 0).unwrap();
                } else {
                    world.remove_nodes(GUEST, 0);
                }
                world.attach_playback(GUEST);
            }
            Turn::Pause => std::thread::sleep(Duration::from_millis(3)),
        }
    }
    if !runs {
        world.start_daemon();
    }
    // After any history, a good driver gets a card and is heard.
    guest.put("0/0/type", b"p");
    guest.set_state(XenbusState::Initialising);
    let xen = guest.xen.clone();
    drop(guest);
    let frontend = impatient(&xen);
    let sound = play(&frontend, 1);
    world.assert_played(STREAM, 1, &sound);
    assert_eq!(world.daemon_usage().mapped_pages, 2, "{:?}", world.daemon_usage());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_a_good_driver_connects_and_plays(turns in turns()) {
        live_through(&turns);
    }
}

/// Runs a daemon whose workers `launch` starts, until `stop` is closed.
fn serve(host: Xen, launch: impl Launch + 'static, stop: &UnixStream) {
    let (store, shared) = (host.store().unwrap(), host.store_fd().unwrap());
    let mut daemon = Daemon::new(host, store, shared, Settings::default(), launch).unwrap();
    daemon.begin().unwrap();
    daemon.run(stop.as_fd()).unwrap();
}

/// A worker's link, between which and the broker's a test stands: our end of it, whose reports go to the broker, and the
/// worker's.
fn relayed(broker: &UnixStream) -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let (mut reports, mut broker) = (ours.try_clone()?, broker.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut reports, &mut broker);
        broker.shutdown(Shutdown::Both)
    });
    Ok((ours, theirs))
}

/// A system on which all messages of the broker to the first worker, except the first one, arrive late.
struct Late {
    held: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
    launches: Arc<AtomicU32>,
    threads: Threads,
}

impl Launch for Late {
    fn launch(
        &mut self,
        own: DomainId,
        guest: DomainId,
        name: &str,
        lent: OwnedFd,
        link: UnixStream,
        limits: &Worker,
    ) -> io::Result<Box<dyn Running>> {
        self.launches.fetch_add(1, Ordering::SeqCst);
        let Some((said, release)) = self.held.take() else {
            return self.threads.launch(own, guest, name, lent, link, limits);
        };
        let (ours, theirs) = relayed(&link)?;
        std::thread::spawn(move || {
            let mut worker = ours;
            for (number, order) in BufReader::new(link).split(b'\n').map_while(Result::ok).enumerate() {
                if number > 0 {
                    let _ = said.send(());
                    let _ = release.recv();
                }
                if worker.write_all(&[&order, b"\n".as_slice()].concat()).is_err() {
                    break;
                }
            }
            worker.shutdown(Shutdown::Both)
        });
        self.threads.launch(own, guest, name, lent, theirs, limits)
    }
}

#[test]
fn a_card_that_comes_as_the_last_one_goes_keeps_its_worker() {
    let mut world = World::without_daemon(|_| String::new());
    world.attach_playback(GUEST);
    let host = world.enter(DomainId(0));
    let (stop, stopped) = UnixStream::pair().unwrap();
    let (says, said) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let launches = Arc::new(AtomicU32::new(0));
    let late = Late { held: Some((says, released)), launches: Arc::clone(&launches), threads: Threads::default() };
    let daemon = std::thread::spawn(move || serve(host, late, &stopped));
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    // The broker sees no card. The next card comes before the worker learns of that.
    world.remove_nodes(GUEST, 0);
    said.recv_timeout(PATIENCE).unwrap();
    world.attach_playback(GUEST);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    drop(release);
    let xen = world.enter(GUEST);
    let frontend = impatient(&xen);
    frontend.open_playback(0, 0).unwrap();
    assert_eq!(launches.load(Ordering::SeqCst), 1);
    // The worker ends when no card is left, and the next card gets a new worker.
    drop(frontend);
    world.detach(GUEST, 0).unwrap();
    world.attach_playback(GUEST);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    drop(stop);
    daemon.join().unwrap();
}

/// A system on which a worker begins no sooner than the gate is open.
struct Gated {
    gate: Arc<RwLock<()>>,
    launches: Arc<AtomicU32>,
    threads: Threads,
}

impl Launch for Gated {
    fn launch(
        &mut self,
        own: DomainId,
        guest: DomainId,
        name: &str,
        lent: OwnedFd,
        link: UnixStream,
        limits: &Worker,
    ) -> io::Result<Box<dyn Running>> {
        self.launches.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = relayed(&link)?;
        let gate = Arc::clone(&self.gate);
        std::thread::spawn(move || {
            drop(gate.read());
            let (mut orders, mut worker) = (link, ours);
            let _ = io::copy(&mut orders, &mut worker);
            worker.shutdown(Shutdown::Both)
        });
        self.threads.launch(own, guest, name, lent, theirs, limits)
    }
}

#[test]
fn no_more_workers_start_at_once_than_a_machine_can_start() {
    const AT_ONCE: u32 = 16;
    let guests = 1..=20;
    let mut world = World::without_daemon(|_| String::new());
    guests.clone().for_each(|guest| world.attach_playback(DomainId(guest)));
    let host = world.enter(DomainId(0));
    let (stop, stopped) = UnixStream::pair().unwrap();
    let (gate, launches) = (Arc::new(RwLock::new(())), Arc::new(AtomicU32::new(0)));
    let gated = Gated { gate: Arc::clone(&gate), launches: Arc::clone(&launches), threads: Threads::default() };
    let closed = gate.write().unwrap();
    let daemon = std::thread::spawn(move || serve(host, gated, &stopped));
    assert!(eventually(PATIENCE, || launches.load(Ordering::SeqCst) >= AT_ONCE), "the first workers");
    // Time for more of them.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(launches.load(Ordering::SeqCst), AT_ONCE);
    drop(closed);
    guests.clone().for_each(|guest| world.wait_backend(DomainId(guest), 0, XenbusState::InitWait));
    assert_eq!(launches.load(Ordering::SeqCst), 20, "each of them was started once");
    drop(stop);
    daemon.join().unwrap();
}

/// A system that refuses to start the first processes.
struct Busy {
    refusals: u32,
    threads: Threads,
}

impl Launch for Busy {
    fn launch(
        &mut self,
        own: DomainId,
        guest: DomainId,
        name: &str,
        lent: OwnedFd,
        link: UnixStream,
        limits: &Worker,
    ) -> io::Result<Box<dyn Running>> {
        match self.refusals.checked_sub(1) {
            Some(left) => {
                self.refusals = left;
                Err(io::ErrorKind::WouldBlock.into())
            }
            None => self.threads.launch(own, guest, name, lent, link, limits),
        }
    }
}

#[test]
fn a_worker_that_cannot_be_started_is_tried_again() {
    let mut world = World::without_daemon(|_| String::new());
    world.attach_playback(GUEST);
    let host = world.enter(DomainId(0));
    let (stop, stopped) = UnixStream::pair().unwrap();
    let busy = Busy { refusals: 2, threads: Threads::default() };
    let daemon = std::thread::spawn(move || serve(host, busy, &stopped));
    let xen = world.enter(GUEST);
    LinuxFrontend::probe(&xen).wait_card();
    drop(stop);
    daemon.join().unwrap();
}
