//! PulseAudio and PipeWire daemons of a test's own: without hardware, without a session bus, in a directory that is
//! deleted with them. Each has the sink `out`, which plays to its monitor, `out.monitor`.
//!
//! A failure panics, which ends the test.

#![forbid(unsafe_code)]

mod heard;
mod plain;

pub use heard::Heard;
pub use plain::{Played, Speaks};

use rustix::process::{Pid, Signal, kill_process};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time limit for something that has to happen. Only a failure reaches the limit: generous, for busy machines.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time limit of the first attempt at something that may have to be tried again.
const FIRST_PATIENCE: Duration = Duration::from_secs(4);

/// Frames of a second of every sink.
const SECOND: usize = 48_000;

/// Index of the session manager among PipeWire's processes.
const SESSION_MANAGER: usize = 1;

/// Metadata that tell clients that there is a session manager, as `pw-dump` prints them.
const MANAGED: &str = r#""metadata.name": "default""#;

/// Kind of daemon.
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
    /// Additional modules of PulseAudio, with their arguments.
    modules: Vec<String>,
    children: Vec<Child>,
}

impl Server {
    /// Starts a server.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, Vec::new())
    }

    /// Starts PulseAudio with additional modules, each with its arguments.
    #[must_use]
    pub fn start_pulseaudio(modules: &[&str]) -> Self {
        Self::start_with(Kind::PulseAudio, modules.iter().map(|&module| module.to_owned()).collect())
    }

    /// Starts a server that remembers what its user sets for a stream, as desktops' do.
    #[must_use]
    pub fn start_remembering(kind: Kind) -> Self {
        // WirePlumber remembers in any case.
        let modules = ["module-stream-restore restore_device=true"].map(str::to_owned);
        Self::start_with(kind, if kind == Kind::PulseAudio { modules.into() } else { Vec::new() })
    }

    /// Starts PulseAudio where a stream's volume moves its sink's (`flat-volumes`).
    #[must_use]
    pub fn start_flat() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pulse")).unwrap();
        fs::write(dir.path().join("pulse/daemon.conf"), "flat-volumes = yes\n").unwrap();
        let mut server = Self { kind: Kind::PulseAudio, dir, modules: Vec::new(), children: Vec::new() };
        server.run();
        server
    }

    /// A program of the host's own that plays silence to the default sink, as a stream of a role.
    #[must_use]
    pub fn play_as(&self, role: &str) -> Player {
        let mut command = self.command("pacat");
        command.args(["--playback", "--raw", "--client-name=other", &format!("--property=media.role={role}")]);
        let player = command.stdin(File::open("/dev/zero").unwrap()).stderr(Stdio::null()).spawn().unwrap();
        Player { _player: Ended(player) }
    }

    /// A program of the host's own that plays silence to the sink `out` and sets its volume to 100 %.
    #[must_use]
    pub fn play_at_full_volume(&self) -> Player {
        let mut command = self.command("pacat");
        command.args(["--playback", "--raw", "--device=out", "--volume=65536"]);
        let player = command.stdin(File::open("/dev/zero").unwrap()).stderr(Stdio::null()).spawn().unwrap();
        Player { _player: Ended(player) }
    }

    /// A program of the host's own that plays one frame of 16-bit samples again and again, each channel to its speaker.
    #[must_use]
    pub fn play_levels(&self, sink: &str, speakers: &str, levels: &[i16]) -> Player {
        let path = self.dir.path().join("levels");
        let frame: Vec<u8> = levels.iter().flat_map(|level| level.to_le_bytes()).collect();
        fs::write(&path, frame.repeat(30 * SECOND)).unwrap();
        let mut command = self.command("pacat");
        let device = format!("--device={sink}");
        let shape = ["--rate=48000".to_owned(), "--format=s16le".to_owned(), format!("--channels={}", levels.len())];
        command.args(["--playback", "--raw", &device, &format!("--channel-map={speakers}")]).args(shape);
        let player = command.stdin(File::open(&path).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        Player { _player: Ended(player) }
    }

    /// One frame that a sink plays after a tenth of a second: 16-bit samples, the channels in the order of `speakers`.
    #[must_use]
    pub fn hear_levels(&self, sink: &str, speakers: &str) -> Vec<i16> {
        let channels = speakers.split(',').count();
        let mut command = self.command("parec");
        command.args(["--raw", "--rate=48000", "--format=s16le", "--latency-msec=20"]);
        command.args([format!("--device={sink}.monitor"), format!("--channels={channels}")]);
        command.arg(format!("--channel-map={speakers}"));
        let mut recorder = Ended(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut heard = vec![0; SECOND / 10 * 2 * channels];
        recorder.0.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
        let last = &heard[heard.len() - 2 * channels..];
        last.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample)).collect()
    }

    /// Starts PulseAudio with a TCP port beside its socket, and returns the port. `auth` says who may connect there, as
    /// an argument of `module-native-protocol-tcp`: `auth-anonymous=1`, `auth-cookie=/PATH`.
    #[must_use]
    pub fn start_tcp(auth: &str) -> (Self, u16) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        (Self::start_pulseaudio(&[&format!("module-native-protocol-tcp port={port} listen=127.0.0.1 {auth}")]), port)
    }

    fn start_with(kind: Kind, modules: Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pulse")).unwrap();
        let mut server = Self { kind, dir, modules, children: Vec::new() };
        server.run();
        server
    }

    /// Address of the socket, in the form of the daemon's configuration.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// The sink as a device of the daemon.
    #[must_use]
    pub fn sink(&self) -> String {
        format!("pulse:out@{}", self.address())
    }

    /// The sink's monitor as a device of the daemon.
    #[must_use]
    pub fn source(&self) -> String {
        format!("pulse:out.monitor@{}", self.address())
    }

    /// The sink as a device of the daemon, by PipeWire's own protocol; capture from the device gives what the sink
    /// plays.
    #[must_use]
    pub fn node(&self) -> String {
        format!("pipewire:out@{}", self.pipewire_address())
    }

    /// Address of PipeWire's own socket, in the form of the daemon's configuration.
    #[must_use]
    pub fn pipewire_address(&self) -> String {
        format!("unix:{}", self.pipewire_socket().display())
    }

    /// A configuration of ALSA with two PCMs of PipeWire's plugin on this server: `pipewire` plays to the sink `heard`,
    /// `both` plays to and captures from `out`.
    ///
    /// # Panics
    /// The plugin is not installed.
    #[must_use]
    pub fn alsa_configuration(&self) -> String {
        let plugin = "../../target/alsa-lib/libasound_module_pcm_pipewire.so";
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join(plugin).canonicalize();
        let plugin = plugin.expect("PipeWire's plugin for ALSA is in target/alsa-lib: run scripts/install-deps.sh");
        let socket = self.pipewire_socket();
        let (plugin, socket) = (plugin.display(), socket.display());
        format!(
            "</usr/share/alsa/alsa.conf>\npcm_type.pipewire.lib \"{plugin}\"\n\
             pcm.!pipewire {{ type pipewire server \"{socket}\" playback_node heard }}\n\
             pcm.both {{ type pipewire server \"{socket}\" playback_node out capture_node out }}\n",
        )
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        for mut child in self.children.drain(..).rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for socket in [self.socket(), self.pipewire_socket()] {
            let _ = fs::remove_file(socket);
        }
    }

    /// Ends PipeWire's session manager: nothing connects streams to the sink any more.
    pub fn kill_session_manager(&mut self) {
        let mut manager = self.children.remove(SESSION_MANAGER);
        let _ = manager.kill();
        let _ = manager.wait();
        wait_until("PipeWire's session manager is gone", || {
            let objects = self.pw_dump();
            objects.contains("PipeWire:Interface:Core") && !objects.contains(MANAGED)
        });
    }

    /// Starts the session manager again, after [`Self::kill_session_manager`]. The sink is made again too, as those of
    /// sound cards are: WirePlumber ignores a sink that was in use before (0.4.13).
    pub fn run_session_manager(&mut self) {
        self.remove_sink();
        self.begin_session_manager();
        self.add_sink();
        self.await_ready();
    }

    fn begin_session_manager(&mut self) {
        self.daemon("wireplumber", &["-c", &path(&self.dir.path().join("wp.conf"))]);
        // The manager gets its place again.
        let manager = self.children.pop();
        self.children.splice(SESSION_MANAGER..SESSION_MANAGER, manager);
    }

    /// Returns true if PipeWire's session manager has registered.
    fn is_managed(&self) -> bool {
        self.pw_dump().contains(MANAGED)
    }

    /// Makes PipeWire's graph work in cycles of `frames` frames, whatever its clients ask for.
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

    /// Plugs the sink in again, after [`Self::remove_sink`].
    pub fn add_sink(&self) {
        self.pactl(&["load-module", "module-null-sink", "sink_name=out", "channels=2", "rate=48000"]);
    }

    /// Kind of the server.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds the sink `heard` to PulseAudio, and collects everything that the sink plays.
    #[must_use]
    pub fn hear(&self) -> Heard {
        let pipe = self.dir.path().join("heard");
        let file = format!("file={}", pipe.display());
        let clock = "use_system_clock_for_timing=yes";
        let shape = ["format=s16le", "rate=48000", "channels=2"];
        let told = [&["load-module", "module-pipe-sink", "sink_name=heard", &file, clock][..], &shape].concat();
        self.pactl(&told);
        Heard::of(&pipe)
    }

    /// A sink or source of this server as a device of the daemon.
    #[must_use]
    pub fn device(&self, name: &str) -> String {
        format!("pulse:{name}@{}", self.address())
    }

    /// Starts the server again, after [`Self::kill`].
    pub fn run(&mut self) {
        self.run_beside_players();
        self.await_ready();
    }

    /// Starts the server again while others play to it as soon as they can, so that the sink is never silent.
    pub fn run_beside_players(&mut self) {
        match self.kind {
            Kind::PulseAudio => self.run_pulseaudio(),
            Kind::PipeWire => self.run_pipewire(),
        }
        self.await_sink();
    }

    /// Waits until the server is ready. PulseAudio is ready when it has its sink, PipeWire when its session manager has
    /// registered and connects streams to the sink.
    fn await_ready(&self) {
        self.await_sink();
        if self.kind == Kind::PipeWire {
            until_in_time("a stream that plays to the sink is heard in one that records it", |patience| {
                self.carries_sound(patience).then_some(())
            });
        }
    }

    fn await_sink(&self) {
        if self.kind == Kind::PipeWire {
            wait_until("PipeWire's session manager has registered", || self.is_managed());
            wait_until("PipeWire has its sink", || self.pactl(&["list", "short", "sinks"]).contains("out"));
        }
    }

    /// Returns true if a stream that plays to the sink is heard in one that records it, within `patience` each.
    fn carries_sound(&self, patience: Duration) -> bool {
        let Some(recording) = self.begin_recording(patience) else { return false };
        let mut command = self.command("pacat");
        command.args(["--playback", "--device=out", "--raw", "--rate=48000", "--channels=2", "--latency-msec=20"]);
        let player = command.stdin(File::open("/dev/urandom").unwrap()).stderr(Stdio::null()).spawn();
        let player = Ended(player.unwrap());
        let mut from = 0;
        let mut is_loud = || {
            let heard = recording.since(from);
            from += heard.len();
            heard.iter().any(|&byte| byte != 0)
        };
        let heard = holds_within(patience, &mut is_loud);
        drop(player);
        // A tenth of a second is silent, so that no test takes the noise for a sound of its own.
        wait_until("the sink is silent", || {
            let from = recording.bytes().len();
            let tenth = SECOND / 10 * self.frame_bytes();
            wait_until("parec records", || recording.bytes().len() >= from + tenth);
            recording.since(from).iter().all(|&byte| byte == 0)
        });
        heard
    }

    /// Stops the server, or lets it continue: a stopped server stays connected and does not answer.
    pub fn freeze(&self, on: bool) {
        let signal = if on { Signal::STOP } else { Signal::CONT };
        for child in &self.children {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    }

    /// Runs a command of `pactl` and returns its output.
    pub fn pactl(&self, arguments: &[&str]) -> String {
        let output = self.command("pactl").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Output of `pw-dump`: everything on PipeWire.
    #[must_use]
    pub fn pw_dump(&self) -> String {
        let output = self.command("pw-dump").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts to record the sink, in the sink's own format.
    #[must_use]
    pub fn record(&self) -> Recording {
        until_in_time("parec records", |patience| self.begin_recording(patience))
    }

    /// Starts to record the sink; `None` where nothing arrives within `patience`. A session manager may have overlooked
    /// a stream and connect the next one.
    fn begin_recording(&self, patience: Duration) -> Option<Recording> {
        let file = self.dir.path().join("recorded.raw");
        let mut command = self.command("parec");
        command.args(["--device=out.monitor", "--raw", "--rate=48000", "--channels=2", "--latency-msec=20"]);
        command.arg(format!("--format={}", self.sample_format()));
        let recorder = command.stdout(File::create(&file).unwrap()).spawn().unwrap();
        let recording = Recording { _recorder: Ended(recorder), file, frame_bytes: self.frame_bytes() };
        holds_within(patience, || recording.bytes().len() > 10_000).then_some(recording)
    }

    /// A recorder of the sink, as raw 16 bit, 48 kHz, stereo on its standard output, with the lowest latency that the
    /// server gives.
    #[must_use]
    pub fn recorder(&self) -> Command {
        let mut command = self.command("parec");
        command.args(["--device=out.monitor", "--raw", "--rate=48000", "--channels=2", "--format=s16le"]);
        command.args(["--latency-msec=1", "--process-time-msec=1"]).stdout(Stdio::piped());
        command
    }

    /// Sample format of the sink.
    #[must_use]
    pub fn sample_format(&self) -> &'static str {
        match self.kind {
            Kind::PulseAudio => "s16le",
            Kind::PipeWire => "float32le",
        }
    }

    /// Bytes of the sink's frames.
    fn frame_bytes(&self) -> usize {
        match self.kind {
            Kind::PulseAudio => 4,
            Kind::PipeWire => 8,
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
        let configuration = dir.join("pulse/daemon.conf");
        if configuration.exists() {
            command.env("PULSE_CONFIG", configuration);
        }
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
        let modules = self.modules.clone();
        let mut arguments = vec![
            "-n",
            "--daemonize=no",
            "--exit-idle-time=-1",
            "--use-pid-file=no",
            "--log-target=stderr",
            "-L",
            &unix,
        ];
        arguments.extend(modules.iter().flat_map(|module| ["-L", module]));
        arguments.extend(["-L", "module-null-sink sink_name=out rate=48000 channels=2 format=s16le"]);
        self.daemon("pulseaudio", &arguments);
        wait_until("PulseAudio has its sink", || self.pactl(&["list", "short", "sinks"]).contains("out"));
    }

    fn run_pipewire(&mut self) {
        let dir = self.dir.path().to_owned();
        fs::write(dir.join("wp.conf"), WIREPLUMBER_CONF).unwrap();
        fs::write(dir.join("vsnd.lua"), WIREPLUMBER_LUA).unwrap();
        self.daemon("pipewire", &[]);
        wait_until("PipeWire listens", || self.pipewire_socket().exists());
        self.begin_session_manager();
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

/// A recording of a sink, in progress.
#[derive(Debug)]
pub struct Recording {
    _recorder: Ended,
    file: PathBuf,
    frame_bytes: usize,
}

impl Recording {
    /// Everything that was recorded so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = File::open(&self.file).and_then(|mut file| file.read_to_end(&mut bytes));
        bytes
    }

    /// The bytes recorded since `from`; the last frame may be incomplete.
    #[must_use]
    pub fn since(&self, from: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = |mut file: File| {
            file.seek(SeekFrom::Start(from as u64))?;
            file.read_to_end(&mut bytes)
        };
        let _ = File::open(&self.file).and_then(read);
        bytes.truncate(bytes.len() / self.frame_bytes * self.frame_bytes);
        bytes
    }

    /// Waits until a sound other than silence is heard, while `play` plays.
    pub fn await_sound(&self, mut play: impl FnMut()) {
        let mut from = 0;
        wait_until("something is heard", || {
            play();
            let heard = self.since(from);
            from += heard.len();
            heard.iter().any(|&byte| byte != 0)
        });
    }

    /// Calls `play` until all of `played` was heard unchanged, in pieces of 200 ms.
    pub fn await_heard(&self, played: &[u8], mut play: impl FnMut()) {
        let mut search = Search::new(played, self.frame_bytes, SECOND / 5);
        let (mut from, mut times) = (0, 0);
        let deadline = Instant::now() + PATIENCE;
        loop {
            play();
            times += 1;
            // Frames that were just played are recorded a little later.
            let enough = from + (played.len() + SECOND / 2 * self.frame_bytes);
            loop {
                let heard = self.since(from);
                from += heard.len();
                if search.hear(&heard) {
                    return;
                }
                let (missing, all) = (search.missing(), played.len());
                assert!(
                    Instant::now() < deadline,
                    "of {all} bytes, played {times} times, were never heard: {missing:?}"
                );
                if from >= enough {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A program that plays until the value is dropped.
#[derive(Debug)]
pub struct Player {
    _player: Ended,
}

/// A process that ends when the value is dropped.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Search for played frames in a recording: in pieces, each of which overlaps the next one by half. A busy machine
/// makes gaps, which hit another piece each time that all is played; a piece that is missing each time is missing
/// because of the device. A frame that is neither silent nor one of the played ones is a fault at any time, and panics.
#[derive(Debug)]
pub struct Search<'a> {
    played: &'a [u8],
    frame_bytes: usize,
    piece_bytes: usize,
    frames: HashSet<&'a [u8]>,
    /// Offsets of the pieces that were not heard, by the pieces' first bytes.
    missing: HashMap<[u8; KEY], usize>,
    /// Bytes that were heard last and not examined yet.
    heard: Vec<u8>,
}

/// Number of bytes that identify a piece.
const KEY: usize = 16;

impl<'a> Search<'a> {
    /// `played` has frames of `frame_bytes`, and no stretch twice. A piece has `piece_frames` frames, or all of them
    /// where there are fewer.
    #[must_use]
    pub fn new(played: &'a [u8], frame_bytes: usize, piece_frames: usize) -> Self {
        let piece_bytes = (piece_frames * frame_bytes).min(played.len());
        let last = played.len() - piece_bytes;
        let begins = (0..last).step_by((piece_bytes / 2 / frame_bytes * frame_bytes).max(frame_bytes)).chain([last]);
        let missing = begins.map(|at| (key(&played[at..]), at)).collect();
        let frames = played.chunks_exact(frame_bytes).collect();
        Self { played, frame_bytes, piece_bytes, frames, missing, heard: Vec::new() }
    }

    /// Returns true if a frame is a played one with one of its two channels silent: PipeWire's session manager connects
    /// one channel after the other.
    fn has_half(&self, frame: &[u8]) -> bool {
        let half = self.frame_bytes / 2;
        let silent = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        let (left, right) = frame.split_at(half);
        silent(left) && self.frames.iter().any(|played| played[half..] == *right)
            || silent(right) && self.frames.iter().any(|played| played[..half] == *left)
    }

    /// Takes in more of the recording, in whole frames; returns true once every piece was heard.
    pub fn hear(&mut self, bytes: &[u8]) -> bool {
        for frame in bytes.chunks_exact(self.frame_bytes) {
            let silent = frame.iter().all(|&byte| byte == 0);
            let whole = silent || self.frames.contains(frame);
            assert!(whole || self.has_half(frame), "{frame:?} is heard, which nobody played");
        }
        self.heard.extend_from_slice(bytes);
        let mut at = 0;
        while at + self.piece_bytes <= self.heard.len() {
            let heard = &self.heard[at..];
            let key = key(heard);
            if let Some(&begin) = self.missing.get(&key)
                && heard[..self.piece_bytes] == self.played[begin..begin + self.piece_bytes]
            {
                self.missing.remove(&key);
            }
            at += self.frame_bytes;
        }
        self.heard.drain(..at);
        self.missing.is_empty()
    }

    /// Offsets of the pieces that were not heard, in bytes.
    #[must_use]
    pub fn missing(&self) -> Vec<usize> {
        let mut missing: Vec<usize> = self.missing.values().copied().collect();
        missing.sort_unstable();
        missing
    }
}

fn key(bytes: &[u8]) -> [u8; KEY] {
    std::array::from_fn(|index| bytes[index])
}

fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, condition), "waited {PATIENCE:?} in vain: {what}");
}

/// Waits until `condition` holds; false if that takes longer than `patience`.
fn holds_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Repeats an attempt, each time with twice the patience, until it succeeds.
fn until_in_time<T>(what: &str, mut attempt: impl FnMut(Duration) -> Option<T>) -> T {
    let mut patience = FIRST_PATIENCE;
    loop {
        if let Some(outcome) = attempt(patience) {
            return outcome;
        }
        assert!(patience < PATIENCE, "waited {patience:?} in vain: {what}");
        patience *= 2;
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

const WIREPLUMBER_CONF: &str = include_str!("wireplumber.conf");
const WIREPLUMBER_LUA: &str = include_str!("vsnd.lua");
