//! Tests that the same resources are held before and after: descriptors, mappings, grants, ports, watches.
//!
//! Descriptors and mappings are counted for the whole process, so these tests take turns.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sndif::v2::{OpenParams, Operation, Request, Trigger};
use sndif::{Errno, GrantRef, XenbusState};
use testkit::hostile::{HostileGuest, write_directory};
use testkit::linux::{LinuxFrontend, Wish};
use testkit::signal::noise;
use testkit::{Census, DUPLEX, PATIENCE, World, eventually, file_descriptors, mappings};
use xen::DomainId;

const GUEST: DomainId = DomainId(1);

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All counts.
#[derive(PartialEq)]
struct Held {
    census: Census,
    descriptors: BTreeMap<String, usize>,
    mappings: usize,
}

impl Held {
    /// Counts once all effects of earlier steps are complete.
    fn now(world: &mut World) -> Self {
        // Counting itself opens a connection, whose other end is closed a little later.
        let mut count = || {
            let census = world.census();
            std::thread::sleep(Duration::from_millis(150));
            Self { census, descriptors: file_descriptors(), mappings: mappings() }
        };
        let mut last = count();
        let settled = eventually(PATIENCE, || {
            let previous = std::mem::replace(&mut last, count());
            previous == last
        });
        assert!(settled, "what is held never stays the same");
        last
    }

    fn assert_again(&self, world: &mut World) {
        world.assert_settles_at(self.census);
        // The thread of the last file may end only now.
        eventually(PATIENCE, || file_descriptors() == self.descriptors && mappings() == self.mappings);
        assert_eq!(file_descriptors(), self.descriptors);
        assert_eq!(mappings(), self.mappings);
    }
}

#[test]
fn cve_2026_72085_a_thousand_opens_good_and_bad_leave_nothing() {
    let _turn = alone();
    let mut world = World::with_config(|_| "sink = \"null\"\ncapture = true\n".to_owned());
    world.attach(GUEST, DUPLEX);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 2);
    let buffer = guest.buffer(32_768);
    let good = buffer.open_params();
    let mut round = |number: usize| {
        let stream = &mut guest.streams[number % 2];
        let mut refs = buffer.pages.refs().to_vec();
        match number % 5 {
            0 => {
                refs[7] = GrantRef(u32::MAX);
                write_directory(&buffer.directory, GrantRef(0), &refs);
                assert_eq!(stream.open(good), Err(Errno::EFAULT));
            }
            1 => assert_eq!(stream.open(OpenParams { buffer_bytes: u32::MAX, ..good }), Err(Errno::EINVAL)),
            2 => {
                refs[0] = GrantRef(0);
                write_directory(&buffer.directory, GrantRef(0), &refs);
                assert_eq!(stream.open(good), Err(Errno::EINVAL));
            }
            _ => {
                write_directory(&buffer.directory, GrantRef(0), &refs);
                stream.open(good).unwrap();
                stream.trigger(Trigger::Start).unwrap();
                if number % 5 == 3 {
                    // OPEN after OPEN.
                    stream.open(good).unwrap();
                }
                stream.close().unwrap();
            }
        }
    };
    (0..20).for_each(&mut round);
    let before = Held::now(&mut world);
    (0..1000).for_each(&mut round);
    before.assert_again(&mut world);
}

#[test]
fn opens_of_files_leave_nothing() {
    let _turn = alone();
    let mut world = World::new();
    world.attach_playback(GUEST);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
    let xen = guest.xen.clone();
    let mut round = |_| {
        let buffer = guest.streams[0].play(&xen, 16_384, &noise(1, 16_384));
        guest.streams[0].close().unwrap();
        buffer.pages.end_access().expect("CLOSE was answered, so nothing is mapped");
    };
    (0..3).for_each(&mut round);
    let before = Held::now(&mut world);
    (0..100).for_each(&mut round);
    before.assert_again(&mut world);
}

#[test]
fn connections_come_and_go_without_a_trace() {
    let _turn = alone();
    let mut world = World::new();
    world.attach_duplex(GUEST);
    let xen = world.enter(GUEST);
    let round = |number: u64| {
        let frontend = LinuxFrontend::probe(&xen);
        frontend.wait_card();
        let mut pcm = frontend.open_playback(0, 0).unwrap();
        pcm.hw_params(&Wish::COMFORTABLE).unwrap();
        pcm.prepare().unwrap();
        if number.is_multiple_of(3) {
            pcm.writei(&noise(number, 9600 * 4)).unwrap();
        }
        drop(pcm);
        frontend.remove().expect("the backend lets go in time");
    };
    (0..3).for_each(round);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    let before = Held::now(&mut world);
    // The maximum number of connections before a card is held off.
    (0..12).for_each(round);
    world.wait_backend(GUEST, 0, XenbusState::InitWait);
    before.assert_again(&mut world);
    assert_eq!(xen.usage().quarantined_pages, 0);
}

#[test]
fn cards_come_and_go_without_a_trace() {
    let _turn = alone();
    let mut world = World::new();
    let round = |world: &mut World| {
        world.attach(GUEST, DUPLEX);
        let mut guest = HostileGuest::connected(world, GUEST, 2);
        let xen = guest.xen.clone();
        let buffer = guest.streams[0].play(&xen, 16_384, &noise(1, 16_384));
        world.detach(GUEST, 0).unwrap();
        drop((guest, buffer, xen));
        world.wait_dead(GUEST);
        world.wait_unserved();
    };
    (0..3).for_each(|_| round(&mut world));
    let before = Held::now(&mut world);
    (0..50).for_each(|_| round(&mut world));
    before.assert_again(&mut world);
}

#[test]
fn daemons_come_and_go_without_a_trace() {
    let _turn = alone();
    let mut world = World::new();
    world.attach_duplex(GUEST);
    let xen = world.enter(GUEST);
    let frontend = LinuxFrontend::probe(&xen);
    let round = |world: &mut World, number: usize| {
        frontend.wait_registrations(number);
        let mut pcm = frontend.open_playback(0, 0).unwrap();
        pcm.hw_params(&Wish::COMFORTABLE).unwrap();
        pcm.aplay(&noise(number as u64, 1920 * 4)).unwrap();
        drop(pcm);
        world.stop_daemon();
        assert!(eventually(PATIENCE, || !frontend.has_card()));
        world.start_daemon();
    };
    (1..=3).for_each(|number| round(&mut world, number));
    frontend.wait_registrations(4);
    let before = Held::now(&mut world);
    (4..=13).for_each(|number| round(&mut world, number));
    frontend.wait_registrations(14);
    before.assert_again(&mut world);
}

/// Number of threads of this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("/proc is mounted").count()
}

/// Time that each other thread of this process has run, or waited for a processor. A thread that spins does one or the
/// other all the time.
fn busy_times() -> BTreeMap<String, Duration> {
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    let others = tasks.filter(|task| task.file_name() != *own);
    let busy = others.filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let times = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let ns = times.split_whitespace().take(2).map(|ns| ns.parse::<u64>().expect("a number")).sum();
        Some((format!("{} {}", name.trim(), task.file_name().display()), Duration::from_nanos(ns)))
    });
    busy.collect()
}

#[test]
fn ten_thousand_opens_of_a_device_that_hangs_leave_nothing_and_no_thread_spins() {
    let _turn = alone();
    let mut fifo = None;
    let mut world = World::with_config(|dir| {
        let path = dir.join("fifo");
        assert!(Command::new("mkfifo").arg(&path).status().expect("coreutils").success());
        let sink = format!("sink = \"alsa:file:FILE='{}',FORMAT=raw\"\n", path.display());
        fifo = Some(path);
        sink
    });
    world.attach_playback(GUEST);
    let mut guest = HostileGuest::connected(&mut world, GUEST, 1);
    let buffer = guest.buffer(16_384);
    let open = buffer.open_params();
    let rounds = |guest: &mut HostileGuest, count| {
        for _ in 0..count {
            // Opening the FIFO waits until somebody reads from it.
            assert_eq!(guest.streams[0].open(open), Err(Errno::ENODEV));
            guest.streams[0].close().unwrap();
        }
    };
    let leave = |guest: &mut HostileGuest, world: &mut World| {
        // Not waited for: the guest leaves in the middle, and comes back.
        guest.streams[0].put(&Request { id: 0, operation: Operation::Open(open) }.emit());
        guest.streams[0].notify();
        guest.connect(world, 1);
    };
    leave(&mut guest, &mut world);
    rounds(&mut guest, 3);
    let (before, threads_before) = (Held::now(&mut world), threads());
    rounds(&mut guest, 10_000);
    // A few more connections, and the card would be held off.
    (0..12).for_each(|_| leave(&mut guest, &mut world));
    before.assert_again(&mut world);
    assert!(eventually(PATIENCE, || threads() <= threads_before), "{} threads, {threads_before} before", threads());
    let (began, busy) = (Instant::now(), busy_times());
    std::thread::sleep(Duration::from_millis(500));
    let half = began.elapsed() / 2;
    for (thread, now) in busy_times() {
        let used = now.saturating_sub(busy.get(&thread).copied().unwrap_or_default());
        assert!(used < half, "thread {thread} was busy for {used:?} of {:?}", half * 2);
    }
    // Attempts that hang go on, and end.
    let _reader = fs::File::open(fifo.expect("made above")).expect("the attempts write into it");
}
