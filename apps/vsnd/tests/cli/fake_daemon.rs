//! A fake daemon at a control socket, for answers that a real daemon does not give on demand.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use control::{Card, Direction, Guest, Reply, Request, Run, Status, Stream};

use crate::common::program;

/// A listener that is closed, with its connections, when dropped.
pub struct FakeDaemon {
    path: PathBuf,
    asked: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<Vec<UnixStream>>>,
}

impl FakeDaemon {
    /// Answers each request with the lines that `answer` has for it; with no line, the connection is closed.
    pub fn at(path: &Path, answer: impl Fn(&Request) -> Vec<String> + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("bound");
        let daemon = Self { path: path.to_owned(), asked: Arc::default(), connections: Arc::default() };
        let (asked, connections, answer) = (daemon.asked.clone(), daemon.connections.clone(), Arc::new(answer));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.expect("accepted");
                // The connection that `drop` makes comes after the daemon's side has given up the list.
                if Arc::strong_count(&connections) == 1 {
                    return;
                }
                connections.lock().expect("lock").push(connection.try_clone().expect("cloned"));
                let (asked, answer) = (asked.clone(), answer.clone());
                thread::spawn(move || serve(connection, &asked, answer.as_ref()));
            }
        });
        daemon
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("lock").clone()
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        for connection in std::mem::take(&mut self.connections).lock().expect("lock").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        let _ = UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(mut connection: UnixStream, asked: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Vec<String>) {
    let lines = BufReader::new(connection.try_clone().expect("cloned")).lines();
    for line in lines.map_while(Result::ok) {
        let request = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let lines = answer(&request);
        asked.lock().expect("lock").push(request);
        if lines.is_empty() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        for line in lines {
            let _ = writeln!(connection, "{line}");
        }
    }
}

pub fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}

/// One guest that plays, and may not capture.
pub fn status() -> Status {
    let playback = Stream {
        direction: Some(Direction::Playback),
        permitted: true,
        run: Run::Running,
        device: "alsa:default".into(),
        format: Some("s16_le".into()),
        rate_hz: 48_000,
        channels: 2,
        period_frames: 480,
        buffer_frames: 9600,
        latency_us: Some(21_340),
        xruns: 3,
        volume_db: -6.0,
        guest_volume_db: vec![-3.0, -3.0],
        levels_db: vec![Some(-12.5), None],
        ..Stream::default()
    };
    let capture =
        Stream { stream: 1, direction: Some(Direction::Capture), device: "alsa:default".into(), ..Stream::default() };
    let card = Card {
        protocol: "v2".into(),
        state: "Connected".into(),
        connections: 1,
        streams: vec![playback, capture],
        ..Card::default()
    };
    let uuid = Some("6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d".to_owned());
    let guest =
        Guest { domain: 5, name: Some("studio".into()), uuid, pid: 4712, cards: vec![card], ..Guest::default() };
    Status { version: "0.1.0".into(), pid: 4711, uptime_ms: 7_980_000, guests: vec![guest], ..Status::default() }
}

/// The usual answer: `status` to a list, and success to everything else.
pub fn usual(request: &Request) -> Vec<String> {
    vec![json(&match request {
        Request::List { .. } => Reply::Status(status()),
        _ => Reply::Done { message: "done".into(), streams: 1 },
    })]
}

/// `vsnd` with `arguments`, for the daemon at `socket`.
pub fn command(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("vsnd"));
    command.args(arguments).env("VSND_SOCKET", socket).env_remove("VSND_XEN").stdin(Stdio::null());
    command
}

/// Output of `vsnd` with `arguments` and a daemon that answers so, and the requests that the daemon got.
pub fn vsnd_with(
    arguments: &[&str],
    answer: impl Fn(&Request) -> Vec<String> + Send + Sync + 'static,
) -> (Output, Vec<Request>) {
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let daemon = FakeDaemon::at(&socket, answer);
    let output = command(&socket, arguments).output().expect("vsnd runs");
    (output, daemon.asked())
}
