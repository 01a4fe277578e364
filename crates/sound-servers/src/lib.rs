//! PulseAudio and PipeWire daemons of a test's own: without hardware, without a session bus, in a directory that goes
//! with them. Each has the sink `out`, which plays to its monitor, `out.monitor`.
//!
//! What fails here panics: that is a test's end.

#![forbid(unsafe_code)]

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is played before it counts as never heard.
const TRIES: u32 = 12;

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PulseAudio.
    PulseAudio,
    /// PipeWire with its PulseAudio server and a session manager.
    PipeWire,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    dir: tempfile::TempDir,
    /// What PulseAudio's module for TCP is told.
    tcp: Option<String>,
    children: Vec<Child>,
}

impl Server {
    /// Starts one.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, None)
    }

    /// Starts PipeWire without a session manager: nothing connects streams to the sink.
    #[must_use]
    pub fn start_unmanaged() -> Self {
        let mut server = Self::new(Kind::PipeWire, None);
        server.run_unmanaged();
        server
    }

    /// Starts PulseAudio with a TCP port beside its socket. `auth` says who is let in there, as
    /// `module-native-protocol-tcp` is told: `auth-anonymous=1`, `auth-cookie=/PATH`.
    #[must_use]
    pub fn start_tcp(port: u16, auth: &str) -> Self {
        Self::start_with(Kind::PulseAudio, Some(format!("port={port} listen=127.0.0.1 {auth}")))
    }

    fn start_with(kind: Kind, tcp: Option<String>) -> Self {
        let mut server = Self::new(kind, tcp);
        server.run();
        server
    }

    fn new(kind: Kind, tcp: Option<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pulse")).unwrap();
        Self { kind, dir, tcp, children: Vec::new() }
    }

    /// The socket's place as the daemon's configuration has it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// The sink as a device of the daemon.
    #[must_use]
    pub fn sink(&self) -> String {
        format!("pulse:out@{}", self.address())
    }

    /// Its monitor as a device of the daemon.
    #[must_use]
    pub fn source(&self) -> String {
        format!("pulse:out.monitor@{}", self.address())
    }

    /// The sink as a device of the daemon, by PipeWire's own protocol; captured from, it gives what it plays.
    #[must_use]
    pub fn node(&self) -> String {
        format!("pipewire:out@{}", self.pipewire_address())
    }

    /// The place of PipeWire's own socket as the daemon's configuration has it.
    #[must_use]
    pub fn pipewire_address(&self) -> String {
        format!("unix:{}", self.pipewire_socket().display())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        for mut child in self.children.drain(..).rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for socket in [self.socket(), self.pipewire_socket()] {
            let _ = fs::remove_file(socket);
        }
    }

    /// Starts PipeWire's session manager, after [`Self::start_unmanaged`]; returns when it would connect a stream to the sink: it has
    /// made the metadata by which clients know that there is one, and the sink's ports.
    pub fn run_session_manager(&mut self) {
        self.daemon("wireplumber", &["-c", &path(&self.dir.path().join("wp.conf"))]);
        wait_until("WirePlumber has the sink", || {
            let everything = self.pw_dump();
            [r#""metadata.name": "default""#, r#""port.name": "playback_FL""#].iter().all(|it| everything.contains(it))
        });
    }

    /// Has PipeWire's graph work in cycles of so many frames, whatever its clients ask for.
    pub fn force_cycle(&self, frames: u32) {
        let frames = frames.to_string();
        let mut command = self.command("pw-metadata");
        let done = command.args(["-n", "settings", "0", "clock.force-quantum", &frames]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// Unplugs PipeWire's sink.
    pub fn remove_sink(&self) {
        self.pactl(&["unload-module", "module-null-sink"]);
    }

    /// Plugs it in again, after [`Self::remove_sink`].
    pub fn add_sink(&self) {
        self.pactl(&["load-module", "module-null-sink", "sink_name=out", "channels=2", "rate=48000"]);
        wait_until("PipeWire has its sink", || self.pactl(&["list", "short", "sinks"]).contains("out"));
    }

    /// Starts it again.
    pub fn run(&mut self) {
        match self.kind {
            Kind::PulseAudio => self.run_pulseaudio(),
            Kind::PipeWire => {
                self.run_unmanaged();
                self.run_session_manager();
            }
        }
    }

    /// Stops it where it is, or has it go on: it stays connected and does not answer.
    pub fn freeze(&self, on: bool) {
        let signal = if on { Signal::STOP } else { Signal::CONT };
        for child in &self.children {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    }

    /// Runs a command of `pactl` and gives what it prints.
    pub fn pactl(&self, arguments: &[&str]) -> String {
        let output = self.command("pactl").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `pw-dump` says of everything on PipeWire.
    #[must_use]
    pub fn pw_dump(&self) -> String {
        let output = self.command("pw-dump").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts to record the sink, in the sink's own format.
    #[must_use]
    pub fn record(&self) -> Recording {
        let file = self.dir.path().join("recorded.raw");
        let mut command = self.command("parec");
        command.args(["--device=out.monitor", "--raw", "--rate=48000", "--channels=2", "--latency-msec=20"]);
        command.arg(format!("--format={}", self.sample_format()));
        let child = command.stdout(File::create(&file).unwrap()).spawn().unwrap();
        let recording = Recording { child, file };
        wait_until("parec records", || recording.octets().len() > 10_000);
        recording
    }

    /// A recorder of the sink, as raw 16 bit, 48 kHz, stereo on its standard output, with as little latency as it gets.
    #[must_use]
    pub fn recorder(&self) -> Command {
        let mut command = self.command("parec");
        command.args(["--device=out.monitor", "--raw", "--rate=48000", "--channels=2", "--format=s16le"]);
        command.args(["--latency-msec=1", "--process-time-msec=1"]).stdout(Stdio::piped());
        command
    }

    /// The format that the sink has.
    #[must_use]
    pub fn sample_format(&self) -> &'static str {
        match self.kind {
            Kind::PulseAudio => "s16le",
            Kind::PipeWire => "float32le",
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("pulse/native")
    }

    fn pipewire_socket(&self) -> PathBuf {
        self.dir.path().join("pipewire-0")
    }

    fn command(&self, program: &str) -> Command {
        let dir = self.dir.path();
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).env_remove("DBUS_SESSION_BUS_ADDRESS").env("PULSE_SERVER", self.address());
        for variable in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "PIPEWIRE_RUNTIME_DIR"] {
            command.env(variable, dir);
        }
        command.env("PULSE_RUNTIME_PATH", dir.join("pulse")).env("WIREPLUMBER_CONFIG_DIR", dir);
        command
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) {
        let log = |name: &str| File::create(self.dir.path().join(format!("{program}.{name}"))).unwrap();
        let mut command = self.command(program);
        command.args(arguments).stdout(log("out")).stderr(log("err"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; `make deps` installs it"));
        self.children.push(child);
    }

    fn run_pulseaudio(&mut self) {
        let unix = format!("module-native-protocol-unix socket={} auth-anonymous=1", self.socket().display());
        let mut arguments = vec![
            "-n",
            "--daemonize=no",
            "--exit-idle-time=-1",
            "--use-pid-file=no",
            "--log-target=stderr",
            "-L",
            &unix,
        ];
        let tcp = self.tcp.as_ref().map(|told| format!("module-native-protocol-tcp {told}"));
        arguments.extend(tcp.iter().flat_map(|tcp| ["-L", tcp]));
        arguments.extend(["-L", "module-null-sink sink_name=out rate=48000 channels=2 format=s16le"]);
        self.daemon("pulseaudio", &arguments);
        wait_until("PulseAudio has its sink", || self.pactl(&["list", "short", "sinks"]).contains("out"));
    }

    fn run_unmanaged(&mut self) {
        let dir = self.dir.path().to_owned();
        fs::write(dir.join("wp.conf"), WIREPLUMBER_CONF).unwrap();
        fs::write(dir.join("vsnd.lua"), WIREPLUMBER_LUA).unwrap();
        self.daemon("pipewire", &[]);
        wait_until("PipeWire listens", || self.pipewire_socket().exists());
        self.daemon("pipewire-pulse", &[]);
        wait_until("PipeWire's pulse server listens", || self.pactl(&["info"]).contains("PipeWire"));
        self.add_sink();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for program in ["pulseaudio", "pipewire", "wireplumber", "pipewire-pulse"] {
                if let Ok(log) = fs::read_to_string(self.dir.path().join(format!("{program}.err"))) {
                    eprintln!("{program}: {log}");
                }
            }
        }
        self.kill();
    }
}

/// What a sink plays, as it comes.
#[derive(Debug)]
pub struct Recording {
    child: Child,
    file: PathBuf,
}

impl Recording {
    /// What was recorded so far.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        let _ = File::open(&self.file).and_then(|mut file| file.read_to_end(&mut octets));
        octets
    }

    /// Has `play` play until `played` was heard, as it is and in one piece: a machine with much else to do makes gaps.
    pub fn await_heard(&self, played: &[u8], mut play: impl FnMut()) {
        let mut same = 0;
        for _ in 0..TRIES {
            play();
            let deadline = Instant::now() + Duration::from_secs(3);
            while Instant::now() < deadline {
                same = self.heard_of(played);
                if same == played.len() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let heard = self.octets();
        let loud = heard.iter().filter(|&&octet| octet != 0).count();
        let (octets, recorded) = (played.len(), heard.len());
        panic!(
            "of {octets} octets played {TRIES} times, {same} at most were heard in one piece; \
             {recorded} were recorded, {loud} of them not 0"
        );
    }

    /// The longest beginning of `played` that was heard in one piece.
    fn heard_of(&self, played: &[u8]) -> usize {
        let heard = self.octets();
        let same = |at: usize| heard[at..].iter().zip(played).take_while(|(heard, played)| heard == played).count();
        let begins = heard.windows(64).enumerate().filter(|(_, window)| *window == &played[..64]);
        begins.map(|(at, _)| same(at)).max().unwrap_or(0)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

const WIREPLUMBER_CONF: &str = include_str!("wireplumber.conf");
const WIREPLUMBER_LUA: &str = include_str!("vsnd.lua");
