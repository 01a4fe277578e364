//! `vsnd top` in a terminal: its screen while a daemon goes and comes, and the terminal after its end.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use control::{Request, Status};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::common::{Process, eventually, signal, stderr};
use crate::fake_daemon::{FakeDaemon, command, status, usual, vsnd_with};

/// Sequence that leaves the alternate screen.
const LEAVE_SCREEN: &str = "\x1b[?1049l";

/// A terminal with `vsnd top` in it.
struct Screen {
    top: Process,
    keyboard: File,
    terminal: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Screen {
    fn open(socket: &Path, interval: &str) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("granted");
        unlockpt(&keyboard).expect("unlocked");
        let name = ptsname(&keyboard, Vec::new()).expect("named");
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let terminal = File::options().read(true).write(true).open(path).expect("opened");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).expect("sized");
        let stdio = || Stdio::from(terminal.try_clone().expect("cloned"));
        let mut command = command(socket, &["top", "--interval", interval]);
        // With colours spaces are written as well, and words stay together.
        let top = command
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("starts");
        let keyboard = File::from(keyboard);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (mut screen, all) = (keyboard.try_clone().expect("cloned"), written.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                all.lock().expect("lock").extend_from_slice(&bytes[..count]);
            }
        });
        Self { top: Process(top), keyboard, terminal: terminal.into(), written }
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect("lock")).into_owned()
    }

    fn shows(&self, text: &str) {
        eventually(text, || self.written().contains(text));
    }

    fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    fn has_line_mode(&self) -> bool {
        let wanted = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcgetattr(&self.terminal).expect("a terminal").local_modes.contains(wanted)
    }
}

#[test]
fn the_terminal_is_given_back_on_every_way_out() {
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let _daemon = FakeDaemon::at(&socket, usual);
    type Way = (&'static str, fn(&mut Screen));
    let ways: [Way; 6] = [
        ("q", |screen| screen.type_keys("q")),
        ("Ctrl-C", |screen| screen.type_keys("\x03")),
        ("Esc", |screen| screen.type_keys("\x1b")),
        ("SIGTERM", |screen| signal(&screen.top.0, Signal::TERM)),
        ("SIGINT", |screen| signal(&screen.top.0, Signal::INT)),
        ("SIGHUP", |screen| signal(&screen.top.0, Signal::HUP)),
    ];
    for (way, leave) in ways {
        let mut screen = Screen::open(&socket, "0.1");
        screen.shows("studio/0/0/0");
        assert!(!screen.has_line_mode(), "{way}: keys come at once");
        leave(&mut screen);
        assert_eq!(screen.top.code(), Some(0), "{way}: {}", screen.written());
        screen.shows(LEAVE_SCREEN);
        assert!(screen.has_line_mode(), "{way}");
    }
}

#[test]
fn a_daemon_that_goes_is_told_and_connected_again_when_it_is_back() {
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let daemon = FakeDaemon::at(&socket, usual);
    let mut screen = Screen::open(&socket, "0.1");
    screen.shows("studio/0/0/0");
    drop(daemon);
    screen.shows("TRYING AGAIN");
    let _daemon = FakeDaemon::at(&socket, usual);
    screen.shows("the daemon is back");
    screen.type_keys("q");
    assert_eq!(screen.top.code(), Some(0));
}

#[test]
fn a_key_reaches_the_daemon_its_answer_the_screen_and_the_status_is_asked_for_at_once() {
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let daemon = FakeDaemon::at(&socket, usual);
    let mut screen = Screen::open(&socket, "60");
    screen.shows("studio/0/0/0");
    screen.type_keys("m");
    screen.shows("done (1 connected stream)");
    eventually("the status is asked for again", || daemon.asked().len() == 3);
    let list = || Request::List { levels: true };
    let mute = Request::Mute { target: "studio/0/0/0".parse().expect("target"), on: true };
    assert_eq!(daemon.asked(), [list(), mute, list()]);
}

#[test]
fn a_daemon_that_hangs_does_not_make_the_screen_hang() {
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let _daemon = FakeDaemon::at(&socket, |_| {
        loop {
            thread::park();
        }
    });
    let mut screen = Screen::open(&socket, "0.1");
    screen.shows("asking the daemon");
    screen.type_keys("?");
    screen.shows("Home End g G");
    screen.type_keys("q");
    assert_eq!(screen.top.code(), Some(0));
}

#[test]
fn top_needs_a_terminal() {
    let (output, asked) = vsnd_with(&["top"], usual);
    let line = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(line.contains("standard output is no terminal") && line.contains("`vsnd list --json`"), "{line}");
    assert_eq!(asked, []);
}

#[test]
fn top_as_json_is_a_status_a_line_with_levels() {
    use std::io::BufRead;
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let daemon = FakeDaemon::at(&socket, usual);
    let mut command = command(&socket, &["top", "--json", "--interval", "0.1"]);
    let mut process = Process(command.stdout(Stdio::piped()).spawn().expect("starts"));
    let lines = std::io::BufReader::new(process.0.stdout.take().expect("piped")).lines();
    for line in lines.take(3) {
        assert_eq!(serde_json::from_str::<Status>(&line.expect("text")).expect("JSON"), status());
    }
    assert_eq!(daemon.asked()[0], Request::List { levels: true });
}

#[test]
fn an_interval_out_of_range_is_refused() {
    for interval in ["0", "0.05", "61", "nan", "soon"] {
        let (output, _) = vsnd_with(&["top", "--json", "--interval", interval], usual);
        assert_eq!(output.status.code(), Some(2), "{interval}");
        assert!(stderr(&output).contains("0.1 to 60"), "{interval}");
    }
}
