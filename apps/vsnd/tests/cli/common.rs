//! Real processes for the tests: emulated Xen, daemon, guests.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A card with one playback and one capture stream.
pub const CARD: &str = "vsnd=[['CARD, short-name=test, sample-formats=s16_le;s24_le;s32_le;u8', \
    'PCM, name=test', 'STREAM, unique-id=p, type=p', 'STREAM, unique-id=c, type=c']]";

/// A real recording, from Debian's alsa-utils: 1.43 s, mono, 48 kHz.
pub const RECORDING: &str = "/usr/share/sounds/alsa/Front_Center.wav";

/// A program of this project, built beside the tests.
pub fn program(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_vsnd")).with_file_name(name);
    assert!(path.exists(), "{} is missing: run `cargo build -p {name}` first", path.display());
    path
}

/// Runs `vsnd` to its end.
pub fn vsnd(arguments: &[&str]) -> Output {
    Command::new(program("vsnd"))
        .args(arguments)
        .env_remove("VSND_XEN")
        .stdin(Stdio::null())
        .output()
        .expect("vsnd runs")
}

/// A process that is killed when dropped.
pub struct Process(pub Child);

impl Process {
    /// Starts a program and waits for its first line, which says that it is ready.
    pub fn ready(command: &mut Command) -> Self {
        let mut child = command.env_remove("VSND_XEN").stdout(Stdio::piped()).spawn().expect("program starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("readable");
        assert!(!line.is_empty(), "{command:?} ended at once: {:?}", child.wait());
        Self(child)
    }

    /// Asks the process to end, and returns its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        signal(&self.0, rustix::process::Signal::TERM);
        self.code()
    }

    /// Waits for the end of the process.
    pub fn code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.0.try_wait().expect("child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "process {} does not end", self.0.id());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Standard error of the process, after its end.
    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_string(&mut text).expect("text");
        }
        text
    }

    pub fn kill(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("reaped");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).expect("signalled");
}

/// An emulated Xen with a card in domain 1, in a directory of its own.
pub struct World {
    pub dir: tempfile::TempDir,
    pub xen: Process,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let xen = Process::ready(Command::new(program("vsnd")).arg("emu").arg("--dir").arg(dir.path().join("xen")));
        let world = Self { dir, xen };
        world.attach(1);
        world
    }

    pub fn attach(&self, domain: u16) {
        self.attach_card(domain, CARD);
    }

    pub fn attach_card(&self, domain: u16, card: &str) {
        let xen = self.path("xen");
        let output = vsnd(&["emu", "--dir", text(&xen), "attach", "--domain", &domain.to_string(), card]);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn spec(&self) -> String {
        format!("emu:{}", self.path("xen").display())
    }

    /// Starts the daemon and waits until it serves.
    pub fn daemon(&self, arguments: &[&str]) -> Process {
        Process::ready(self.daemon_command().args(arguments))
    }

    pub fn daemon_command(&self) -> Command {
        let mut command = Command::new(program("vsndd"));
        command.args(["--config", "/dev/null", "--xen", &self.spec()]).stderr(Stdio::piped());
        command
    }

    /// The processes that serve guests.
    pub fn workers(&self, daemon: &Process) -> Vec<u32> {
        let children = format!("/proc/{0}/task/{0}/children", daemon.0.id());
        let list = std::fs::read_to_string(children).expect("runs");
        list.split_whitespace().filter_map(|process| process.parse().ok()).collect()
    }

    /// Enters the emulation as a domain.
    pub fn enter(&self, domain: u16) -> xen::Xen {
        let spec = self.spec().parse().expect("an emulation");
        xen::Xen::open(&spec, Some(xen::DomainId(domain))).expect("a domain")
    }

    /// A guest's command, not started yet.
    pub fn guest(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("vsnd"));
        command.args(arguments).args(["--xen", &self.spec()]).env_remove("VSND_XEN");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Frames of a mono 16-bit WAV file; the header must be valid.
pub fn samples(path: &Path) -> Vec<i16> {
    let mut reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader.samples().collect::<Result<_, _>>().expect("whole samples")
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
