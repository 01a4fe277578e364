//! A guest is served by a process: the consequences of one that is killed, hangs or wants too much, also for others.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{self, Process, RECORDING, World, eventually, program, samples, signal, stderr, text};
use crate::sandbox::worker_tries;

/// The emulation, and the daemon's log, which is printed if the test fails.
struct Logged(World);

impl std::ops::Deref for Logged {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
            eprintln!("the daemon's log:\n{log}");
        }
    }
}

/// Two guests with a card, and a daemon that records what they play.
fn two_guests(arguments: &[&str]) -> (Logged, Process) {
    let world = Logged(World::new());
    world.attach(2);
    let sink = format!("wav:{}", text(&world.path("{domain}.wav")));
    let mut command = world.daemon_command();
    let log = std::fs::File::create(world.path("daemon.log")).expect("created");
    let daemon = Process::ready(command.args(["--sink", &sink]).args(arguments).stderr(log));
    (world, daemon)
}

fn play(world: &World, domain: &str) {
    let output = world.guest(&["play", RECORDING, "--domain", domain]).output().expect("runs");
    assert!(output.status.success(), "domain {domain}: {}", stderr(&output));
}

fn vsnd(world: &World, arguments: &[&str]) -> String {
    let output = world.guest(arguments).env_remove("VSND_SOCKET").output().expect("runs");
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// The process that serves a guest, as the daemon says; `None` if none does at the moment.
fn worker(world: &World, domain: u16) -> Option<u32> {
    let guest = listed(world, domain).filter(|guest| guest["worker"] == "serving")?;
    Some(u32::try_from(guest["pid"].as_u64().expect("a process")).expect("a process"))
}

/// A guest as `vsnd list --json` shows it.
fn listed(world: &World, domain: u16) -> Option<serde_json::Value> {
    let status: serde_json::Value = serde_json::from_str(&vsnd(world, &["list", "--json"])).expect("JSON");
    status["guests"].as_array().expect("guests").iter().find(|guest| guest["domain"] == domain).cloned()
}

fn send(process: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process).expect("a process")).expect("a process");
    kill_process(pid, signal).expect("signalled");
}

fn is_there(process: u32) -> bool {
    std::fs::metadata(format!("/proc/{process}")).is_ok()
}

#[test]
fn a_worker_that_is_killed_is_replaced_and_nobody_else_notices() {
    let (world, daemon) = two_guests(&[]);
    let (killed, other) = (worker(&world, 1).expect("served"), worker(&world, 2).expect("served"));
    assert_ne!(killed, other);
    let mut player = world.guest(&["play", RECORDING, "--domain", "2"]).spawn().expect("starts");
    send(killed, Signal::KILL);
    assert!(player.wait().expect("ends").success());
    eventually("another worker serves", || worker(&world, 1).is_some_and(|worker| worker != killed));
    assert_eq!(worker(&world, 2), Some(other));
    assert!(vsnd(&world, &["events"]).contains("its worker ended"));
    play(&world, "1");
    assert_eq!(daemon.terminate(), Some(0));
    for domain in ["1", "2"] {
        assert_eq!(samples(&world.path(&format!("{domain}.wav"))), samples(RECORDING.as_ref()), "domain {domain}");
    }
}

#[test]
fn a_player_waits_for_a_guest_that_is_held_off_because_its_workers_ended_again_and_again() {
    let (world, daemon) = two_guests(&[]);
    let mut killed = 0;
    for delay_ms in [200, 400, 800, 1600, 3200, 6400] {
        eventually("a worker serves", || worker(&world, 1).is_some_and(|worker| worker != killed));
        killed = worker(&world, 1).expect("served");
        send(killed, Signal::KILL);
        eventually("it is missed", || worker(&world, 1) != Some(killed));
        eprintln!("held off for {delay_ms} ms");
    }
    play(&world, "1");
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(samples(&world.path("1.wav")), samples(RECORDING.as_ref()));
}

#[test]
fn a_worker_that_hangs_is_killed_and_meanwhile_the_daemon_answers() {
    let (world, daemon) = two_guests(&[]);
    let (hung, other) = (worker(&world, 1).expect("served"), worker(&world, 2).expect("served"));
    send(hung, Signal::STOP);
    assert_eq!(worker(&world, 2), Some(other), "what is known is told, and nobody waits for the other");
    vsnd(&world, &["mute", "2"]);
    vsnd(&world, &["unmute", "2"]);
    play(&world, "2");
    eventually("it is killed", || !is_there(hung));
    eventually("another worker serves", || worker(&world, 1).is_some_and(|worker| worker != hung));
    assert!(vsnd(&world, &["events"]).contains("its worker does not answer"));
    play(&world, "1");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_guest_whose_worker_ends_again_and_again_waits_longer_each_time() {
    let (world, _daemon) = two_guests(&[]);
    let mut last = worker(&world, 1).expect("served");
    for wait_ms in [200, 400, 800] {
        let killed = Instant::now();
        send(last, Signal::KILL);
        let mut next = None;
        eventually("another worker serves", || {
            next = worker(&world, 1).filter(|&worker| worker != last);
            next.is_some()
        });
        assert!(killed.elapsed() >= Duration::from_millis(wait_ms), "{:?}", killed.elapsed());
        last = next.expect("served");
    }
}

#[test]
fn overrides_and_metrics_of_a_guest_go_on_with_its_next_worker() {
    let (world, _daemon) = two_guests(&[]);
    vsnd(&world, &["mute", "1"]);
    let killed = worker(&world, 1).expect("served");
    send(killed, Signal::KILL);
    eventually("another worker serves", || worker(&world, 1).is_some_and(|worker| worker != killed));
    play(&world, "1");
    assert!(samples(&world.path("1.wav")).iter().all(|&sample| sample == 0), "it is muted");
}

#[test]
fn a_guest_whose_worker_is_being_replaced_is_listed_with_its_state() {
    let (world, _daemon) = two_guests(&[]);
    let _guest = world.enter(1);
    // After each kill the next worker comes later.
    let mut killed = 0;
    let mut kill = || {
        let guest = listed(&world, 1).expect("always listed");
        if let Some(process) = worker(&world, 1).filter(|process| *process != killed) {
            send(process, Signal::KILL);
            killed = process;
        }
        guest
    };
    eventually("its state is told", || {
        let guest = kill();
        assert_eq!(guest["name"], "domain-1", "{guest}");
        guest["worker"] == "restarting" && guest["pid"] == 0 && guest["cards"] == serde_json::json!([])
    });
    eventually("its state is told in words", || {
        kill();
        let list = vsnd(&world, &["list"]);
        assert!(list.contains("\n2 guests,"), "{list}");
        list.contains("\ndomain-1, domain 1\n  restarting, nothing is heard of it until another worker serves it\n")
    });
}

#[test]
fn a_guest_whose_worker_is_being_replaced_is_commanded_as_well() {
    let (world, _daemon) = two_guests(&[]);
    // The guest has its name from the beginning.
    let _guest = world.enter(1);
    let kill = || {
        let killed = worker(&world, 1).expect("served");
        send(killed, Signal::KILL);
        eventually("the daemon has seen it", || worker(&world, 1) != Some(killed));
    };
    // Each time the next worker comes later.
    for _ in 0..3 {
        kill();
        eventually("another worker serves", || worker(&world, 1).is_some());
    }
    kill();
    assert_eq!(vsnd(&world, &["mute", "*"]), "*: muted (no stream is connected; it holds for those to come)\n");
    play(&world, "1");
    assert!(samples(&world.path("1.wav")).iter().all(|&sample| sample == 0), "it is muted");
}

#[test]
fn a_daemon_that_is_killed_leaves_no_worker() {
    let (world, mut daemon) = two_guests(&[]);
    let workers = world.workers(&daemon);
    assert_eq!(workers.len(), 2);
    daemon.kill();
    eventually("the workers end", || !workers.iter().any(|&worker| is_there(worker)));
}

#[test]
fn a_worker_lives_as_long_as_its_guest_has_a_card() {
    let (world, daemon) = two_guests(&[]);
    assert_eq!(world.workers(&daemon).len(), 2);
    let xen = world.path("xen");
    let detach = ["emu", "--dir", text(&xen), "detach", "--domain", "2"];
    let output = common::vsnd(&detach);
    assert!(output.status.success(), "{}", stderr(&output));
    eventually("its worker ends", || world.workers(&daemon).len() == 1);
    world.attach(2);
    eventually("another worker serves", || worker(&world, 2).is_some());
    play(&world, "2");
}

#[test]
fn signals_to_all_of_the_daemons_processes_end_it_in_order() {
    // A terminal does the same with Ctrl-C, as does a service manager that signals all processes.
    let (world, mut daemon) = two_guests(&[]);
    let player = world.guest(&["play", RECORDING, "--domain", "1"]).spawn().expect("starts");
    let recorded = || std::fs::metadata(world.path("1.wav")).map_or(0, |file| file.len());
    eventually("it plays", || recorded() > 1000);
    for worker in world.workers(&daemon) {
        send(worker, Signal::INT);
        send(worker, Signal::TERM);
        send(worker, Signal::HUP);
    }
    signal(&daemon.0, Signal::INT);
    assert_eq!(daemon.code(), Some(0));
    drop(Process(player));
    assert!(!samples(&world.path("1.wav")).is_empty(), "its file is whole");
}

#[test]
fn a_worker_gets_no_more_memory_and_descriptors_than_the_configuration_says() {
    let world = World::new();
    let config = world.path("vsndd.toml");
    std::fs::write(&config, "[worker]\nmemory-bytes-max = 134217728\ndescriptors-max = 100\n").expect("written");
    let probes = ["call:allocate", "call:open-many"];
    let mut command = Command::new(program("vsndd"));
    command.args(["--config", text(&config), "--xen", &world.spec(), "--sandbox", "on"]);
    let answers = worker_tries(&mut command, &probes);
    assert!(answers.iter().all(|answer| answer != "done"), "{answers:?}");
    let answers = worker_tries(world.daemon_command().args(["--sandbox", "on"]), &probes);
    assert_eq!(answers, ["done", "done"], "as long as nothing else is configured");
}

#[test]
fn a_worker_has_the_priority_that_the_configuration_says_and_a_fuse() {
    let priority = |config: &str| {
        let world = World::new();
        let file = world.path("vsndd.toml");
        std::fs::write(&file, format!("sink = \"null\"\n{config}")).expect("written");
        let mut command = Command::new(program("vsndd"));
        command.args(["--config", text(&file), "--xen", &world.spec()]).env_remove("VSND_XEN");
        let daemon = Process::ready(command.stderr(Stdio::null()));
        let worker = worker(&world, 1).expect("served");
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{worker}/{name}")).expect("it runs");
        // proc(5): the fields behind the name in brackets begin with the third.
        let stat = read("stat");
        let field = |number: usize| {
            let fields = stat.rsplit(") ").next().expect("fields");
            fields.split(' ').nth(number - 3).expect("a field").parse::<i64>().expect("a number")
        };
        let fuse = read("limits").lines().find(|line| line.starts_with("Max realtime timeout")).map(str::to_owned);
        let told = (field(19), field(40), fuse.expect("a limit").contains(" 200000 "));
        assert_eq!(daemon.terminate(), Some(0));
        told
    };
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root has each priority");
        return;
    }
    assert_eq!(priority(""), (-11, 0, false));
    assert_eq!(priority("[worker]\nnice = 5\n"), (5, 0, false));
    assert_eq!(priority("[worker]\nrealtime-priority = 7\n").1, 7);
    assert!(priority("[worker]\nrealtime-priority = 7\n").2);
}

/// With 8 MiB for each thread of PipeWire's library, a worker had memory for 40 of its streams.
#[test]
fn a_thread_of_a_library_takes_little_of_a_workers_memory() {
    let world = World::new();
    let daemon = Process::ready(world.daemon_command().stderr(Stdio::null()));
    let worker = worker(&world, 1).expect("served");
    let limits = std::fs::read_to_string(format!("/proc/{worker}/limits")).expect("it runs");
    let stack = limits.lines().find_map(|line| line.strip_prefix("Max stack size")).expect("a limit");
    let bytes: u64 = stack.split_whitespace().next().expect("a value").parse().expect("a number");
    assert!(bytes <= 2 << 20, "{bytes}");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_worker_is_one_loop_also_where_a_card_plays() {
    let world = World::new();
    let mut command = world.daemon_command();
    let daemon = Process::ready(command.args(["--sink", "alsa:null"]).stderr(Stdio::null()));
    let worker = worker(&world, 1).expect("served");
    let mut player = world.guest(&["play", RECORDING, "--domain", "1"]).spawn().expect("starts");
    eventually("the guest plays", || vsnd(&world, &["list"]).contains("1 running"));
    let threads = || std::fs::read_dir(format!("/proc/{worker}/task")).expect("it runs").count();
    // The thread that opened the device ends.
    eventually("it needs no other thread", || threads() == 1);
    assert!(vsnd(&world, &["list"]).contains("1 running"));
    assert!(player.wait().expect("ends").success());
    eventually("nor is one left that closed the device", || threads() == 1);
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_device_that_hangs_ends_with_its_worker_when_the_guest_goes() {
    let world = Logged(World::new());
    let fifo = world.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("coreutils").success());
    let mut command = world.daemon_command();
    let log = std::fs::File::create(world.path("daemon.log")).expect("created");
    // The sandbox would not let ALSA open the FIFO.
    command.args(["--sandbox", "off", "--sink", &format!("alsa:file:FILE='{}',FORMAT=raw", text(&fifo))]).stderr(log);
    let daemon = Process::ready(&mut command);
    let worker = worker(&world, 1).expect("served");
    // Opening the FIFO waits until somebody reads from it, which nobody does.
    let output = world.guest(&["play", RECORDING, "--domain", "1"]).output().expect("runs");
    assert!(!output.status.success(), "{}", stderr(&output));
    let opens = || {
        let tasks = std::fs::read_dir(format!("/proc/{worker}/task")).into_iter().flatten().flatten();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        tasks.map(name).any(|name| name.trim() == "vsnd-open")
    };
    assert!(opens(), "a thread hangs");
    let output = common::vsnd(&["emu", "--dir", text(&world.path("xen")), "detach", "--domain", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    eventually("its worker ends", || world.workers(&daemon).is_empty());
    assert!(!is_there(worker));
    assert_eq!(daemon.terminate(), Some(0));
}
