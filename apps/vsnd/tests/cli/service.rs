//! Messages of the daemon to the service manager: READY, WATCHDOG, RELOADING and STOPPING, over a socket like
//! systemd's.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::common::{Process, World, eventually, signal};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};

/// A service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    /// Waits for a message with this line in it, and returns the moment when it came.
    fn hears(&self, line: &str) -> Instant {
        let mut bytes = [0; 4096];
        loop {
            let count = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("no `{line}`: {error}"));
            if String::from_utf8_lossy(&bytes[..count]).lines().any(|said| said == line) {
                return Instant::now();
            }
        }
    }

    /// Returns true if nothing is said for this time.
    fn hears_nothing_for(&self, time: Duration) -> bool {
        while self.0.set_nonblocking(true).is_ok() && self.0.recv(&mut [0; 4096]).is_ok() {}
        self.0.set_nonblocking(false).expect("set");
        self.0.set_read_timeout(Some(time)).expect("set");
        self.0.recv(&mut [0; 4096]).is_err()
    }
}

/// A daemon that is watched with a limit of a second.
fn watched(world: &World) -> (Manager, Process) {
    let path = world.path("notify");
    let manager = Manager(UnixDatagram::bind(&path).expect("bound"));
    manager.0.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let mut command = world.daemon_command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000").env_remove("WATCHDOG_PID");
    (manager, Process::ready(&mut command))
}

#[test]
fn the_service_manager_hears_ready_watchdog_and_stopping() {
    let world = World::new();
    let (manager, daemon) = watched(&world);
    manager.hears("READY=1");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    signal(&daemon.0, Signal::TERM);
    manager.hears("STOPPING=1");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn the_service_manager_hears_when_a_reload_begins_and_ends() {
    let world = World::new();
    let (manager, daemon) = watched(&world);
    manager.hears("READY=1");
    signal(&daemon.0, Signal::HUP);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
}

#[test]
fn a_daemon_that_hangs_gives_no_sign() {
    let world = World::new();
    let (manager, daemon) = watched(&world);
    manager.hears("WATCHDOG=1");
    signal(&daemon.0, Signal::STOP);
    let stat = format!("/proc/{}/stat", daemon.0.id());
    eventually("it stops", || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T ")));
    assert!(manager.hears_nothing_for(Duration::from_secs(2)), "the sign does not come from the control thread's loop");
    signal(&daemon.0, Signal::CONT);
    manager.hears("WATCHDOG=1");
}

/// The socket at which a daemon listens for control, as another process of its own would have it.
fn listener_of(daemon: &Process, path: &std::path::Path) -> OwnedFd {
    let sockets = std::fs::read_to_string("/proc/net/unix").expect("readable");
    let is_it = |line: &&str| line.ends_with(&format!(" {}", path.display()));
    // Number, references, protocol, flags, type, state, inode, path.
    let inode = sockets.lines().find(is_it).and_then(|line| line.split_whitespace().nth(6)).expect("listens");
    let wanted = format!("socket:[{inode}]");
    let entries = std::fs::read_dir(format!("/proc/{}/fd", daemon.0.id())).expect("readable").flatten();
    let entry = entries
        .into_iter()
        .find(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()));
    let number =
        entry.expect("the daemon has it").file_name().to_str().and_then(|name| name.parse().ok()).expect("number");
    let process = pidfd_open(Pid::from_child(&daemon.0), PidfdFlags::empty()).expect("there");
    pidfd_getfd(process, number, PidfdGetfdFlags::empty()).expect("given")
}

#[test]
fn a_daemon_starts_while_a_child_of_one_that_was_killed_has_its_socket() {
    let world = World::new();
    let start = || Process::ready(world.daemon_command().args(["--sandbox", "off"]));
    let daemon = start();
    let socket = world.path("xen/control.sock");
    let listener = listener_of(&daemon, &socket);
    drop(daemon);
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok(), "the socket outlives the daemon");
    let daemon = start();
    drop(listener);
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok(), "the next daemon listens");
    assert_eq!(daemon.terminate(), Some(0));
}
