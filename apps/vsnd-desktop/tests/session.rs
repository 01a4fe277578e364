//! Real clients at the door to a real server: they are heard, and can do nothing else.

use std::io::{IoSliceMut, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use sound_servers::{Kind, Server};

/// The door to a server, in a directory of its own.
struct Door {
    program: Child,
    directory: tempfile::TempDir,
}

impl Door {
    fn to(server: &Server, options: &[&str]) -> Self {
        Self::at(Path::new(server.address().strip_prefix("unix:").unwrap()), options)
    }

    fn at(server: &Path, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("door")).unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_vsnd-desktop"))
            .arg("--server")
            .arg(server)
            .args(options)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .unwrap();
        Self { program, directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("door")
    }

    /// A client of PulseAudio's that knows no other way to a server.
    fn client(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.env("PULSE_SERVER", format!("unix:{}", self.path().display()));
        for variable in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
            command.env(variable, self.directory.path());
        }
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.client(program, arguments).output().unwrap()
    }

    fn denies(&self, program: &str, arguments: &[&str]) {
        let output = self.run(program, arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains("Access denied"), "{program} {arguments:?}: {output:?}");
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Frames that are all different from silence and from their neighbours.
fn frames(count: u16) -> Vec<[i16; 2]> {
    (1..=count.cast_signed()).map(|number| [number, -number]).collect()
}

fn file_of(directory: &Path, frames: &[[i16; 2]]) -> PathBuf {
    let path = directory.join("frames.raw");
    let bytes: Vec<u8> = frames.iter().flatten().flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_frame_that_is_played_is_heard() {
    let server = Server::start(Kind::PulseAudio);
    let heard = server.hear();
    let door = Door::to(&server, &[]);
    let played = frames(24_000);
    let file = file_of(door.directory.path(), &played);
    let shape = ["--playback", "--raw", "--rate=48000", "--channels=2", "--format=s16le", "--device=heard"];
    let output = door.run("pacat", &[&shape[..], &[file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{output:?}");
    wait_until("not all is heard", || heard.frames().len() >= played.len());
    assert!(heard.frames() == played, "frames differ");
}

#[test]
fn nothing_else_can_be_done_at_either_server() {
    for kind in [Kind::PulseAudio, Kind::PipeWire] {
        let server = Server::start(kind);
        let modules = server.pactl(&["list", "short", "modules"]);
        let other = server.play_as("music");
        for options in [&[][..], &["--allow-capture"]] {
            let door = Door::to(&server, options);
            assert!(door.run("pactl", &["info"]).status.success(), "{kind:?}: it can be reached");
            assert!(door.run("pactl", &["list", "short", "sinks"]).status.success(), "{kind:?}: its sinks are seen");
            door.denies("pactl", &["load-module", "module-null-sink"]);
            door.denies("pactl", &["unload-module", "module-null-sink"]);
            door.denies("pactl", &["list", "short", "modules"]);
            door.denies("pactl", &["list", "short", "clients"]);
            door.denies("pactl", &["list", "short", "sink-inputs"]);
            door.denies("pactl", &["set-sink-volume", "out", "50%"]);
            door.denies("pactl", &["set-default-sink", "out"]);
        }
        assert_eq!(server.pactl(&["list", "short", "modules"]), modules, "{kind:?}");
        drop(other);
    }
}

#[test]
fn capturing_has_to_be_allowed() {
    for kind in [Kind::PulseAudio, Kind::PipeWire] {
        let server = Server::start(kind);
        let record = ["--raw", "--device=out.monitor"];
        Door::to(&server, &[]).denies("parec", &record);
        let door = Door::to(&server, &["--allow-capture"]);
        let mut recorder = door.client("parec", &record).stdout(Stdio::piped()).spawn().unwrap();
        let mut sound = [0; 4_096];
        std::io::Read::read_exact(recorder.stdout.as_mut().unwrap(), &mut sound).unwrap();
        recorder.kill().unwrap();
        recorder.wait().unwrap();
    }
}

#[test]
fn who_sends_nonsense_is_cut_off_and_nobody_else() {
    let server = Server::start(Kind::PulseAudio);
    let door = Door::to(&server, &[]);
    let control = |length: u32, flags: u32, content: &[u8]| {
        let head = [length, u32::MAX, 0, 0, flags];
        [head.iter().flat_map(|word| word.to_be_bytes()).collect(), content.to_vec()].concat()
    };
    let nonsense = [
        control(u32::MAX, 0, b""),
        control(3, 0, b"abc"),
        control(10, 0x8000_0000, b"L\0\0\0\x08L\0\0\0\0"),
        control(10, 0x4000_0000, b""),
    ];
    for bytes in nonsense {
        let mut client = UnixStream::connect(door.path()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client.write_all(&bytes).unwrap();
        assert_eq!(std::io::Read::read(&mut client, &mut [0; 64]).unwrap(), 0, "{bytes:?}");
    }
    assert!(door.run("pactl", &["info"]).status.success());
}

#[test]
fn a_session_that_is_not_there_ends_the_connection_and_may_come_later() {
    let mut server = Server::start(Kind::PulseAudio);
    let door = Door::to(&server, &[]);
    server.kill();
    assert!(!door.run("pactl", &["info"]).status.success());
    server.run();
    assert!(door.run("pactl", &["info"]).status.success());
}

#[test]
fn the_server_knows_its_user_however_late_it_asks() {
    let directory = tempfile::tempdir().unwrap();
    let server = UnixListener::bind(directory.path().join("server")).unwrap();
    let door = Door::at(&directory.path().join("server"), &[]);
    let mut client = UnixStream::connect(door.path()).unwrap();
    let (taken, _) = server.accept().unwrap();
    let auth = [&[0, 0, 0, 15][..], &[255; 4], &[0; 12], b"L\0\0\0\x08L\0\0\0\0L\0\0\0\x23"].concat();
    client.write_all(&auth).unwrap();
    let mut there = [rustix::event::PollFd::new(&taken, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut there, None).unwrap();
    rustix::net::sockopt::set_socket_passcred(&taken, true).unwrap();
    let mut bytes = [0; 64];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut bytes)];
    rustix::net::recvmsg(&taken, &mut into, &mut ancillary, RecvFlags::empty()).unwrap();
    let told = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(who) => Some(who),
        _ => None,
    });
    let who = told.expect("nothing is told of who sends it");
    assert_eq!((who.uid, who.pid.as_raw_nonzero().get()), (rustix::process::getuid(), door.program.id().cast_signed()));
}
