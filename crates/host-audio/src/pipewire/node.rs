//! A stream's node on the server, and its thread.
//!
//! PipeWire's objects stay in the thread that made them. That thread opens the stream, obeys [`Command`]s, and notes
//! when the server ends the stream. The frames take another path: the graph calls a [`Process`] once in a cycle, in a
//! real-time thread.

use super::format;
use super::server::{Access, Client, Failure};
use super::state::State;
use super::volume::VolumeWatch;
use crate::device::identity;
use crate::{Direction, StreamSpec};
use pipewire::channel::{Receiver, Sender};
use pipewire::loop_::Timeout;
use pipewire::properties::{PropertiesBox, properties};
use pipewire::spa;
use pipewire::spa::pod::Pod;
use pipewire::stream::{Stream, StreamFlags, StreamRc, StreamState};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Time that a session manager may take to connect a stream, and a device to begin, where there seems to be no session
/// manager.
const PATIENCE_UNMANAGED: Duration = Duration::from_millis(250);
/// Time that a stream that does not play stays in the graph. A server that is told to stop a node and to start it while
/// it stalls may play silence for it from then on, for many seconds (0.3.65).
const REST: Duration = Duration::from_secs(2);
/// Cycles that have to pass before the needs of a stream count as known.
const CYCLES: u32 = 3;

/// Callback of the graph, in the graph's thread: must neither wait nor allocate.
pub(super) trait Process: Send + 'static {
    fn process(&mut self, stream: &Stream);
}

/// Parameters of a stream's node.
pub(super) struct Wanted {
    /// The server, and the node's name.
    pub access: Access,
    /// Name of the node to connect to.
    pub target: Option<String>,
    pub role: Option<String>,
    pub direction: Direction,
    pub spec: StreamSpec,
}

/// Commands to the node's thread.
pub(super) enum Command {
    /// Takes part in the graph immediately, or ends that after [`REST`].
    Active(bool),
    /// Ends the stream.
    Quit,
}

/// A node as its stream's thread has it; dropping the handle ends the node.
pub(super) struct Handle {
    commands: Sender<Command>,
    /// The graph's cycle when the node was opened, and the time after the cycle until its frames are heard.
    pub cycle_frames: u64,
    pub latency_frames: u64,
}

impl Handle {
    /// Creates a node, and waits until the graph has called `process` a few times.
    pub fn open(wanted: Wanted, state: Arc<State>, process: impl Process) -> Result<Self, Failure> {
        let (commands, receiver) = pipewire::channel::channel();
        let (answer, answered) = mpsc::channel();
        let seen = Arc::clone(&state);
        let run = move || {
            if let Err(failure) = run(&wanted, &state, process, receiver, &answer) {
                let _ = answer.send(Err(failure));
            }
        };
        let spawned = thread::Builder::new().name("vsnd-pipewire".into()).spawn(run);
        spawned.map_err(|error| Failure::new(format!("no thread for it: {error}"), "raise the limit of threads"))?;
        let ended = |_| Failure::new("it ended while the stream was opened", "try again");
        answered.recv().map_err(ended)??;
        let (cycle, latency) = (seen.cycle_frames.load(Relaxed), seen.latency_frames.load(Relaxed));
        Ok(Self { commands, cycle_frames: cycle.max(1).into(), latency_frames: latency.into() })
    }

    pub fn set_active(&self, on: bool) {
        // Fails only where the thread has ended, which the state reports.
        let _ = self.commands.send(Command::Active(on));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Quit);
    }
}

fn stream_properties(wanted: &Wanted, node: Option<&super::server::Node>) -> PropertiesBox {
    let category = match wanted.direction {
        Direction::Playback => "Playback",
        Direction::Capture => "Capture",
    };
    let (title, rate) = (wanted.access.title.as_str(), wanted.spec.rate_hz);
    let mut properties = properties! {
        "media.type" => "Audio",
        "media.category" => category,
        "media.name" => title,
        "node.name" => title,
        "node.description" => title,
        "node.latency" => format!("{}/{rate}", format::cycle_frames(&wanted.spec)),
        "node.rate" => format!("1/{rate}"),
        // Key under which the session manager remembers volume, mute and target.
        "application.id" => identity(title),
    };
    if let Some(role) = &wanted.role {
        properties.insert("media.role", role.as_str());
    }
    if let Some(target) = &wanted.target {
        properties.insert("target.object", target.as_str());
        properties.insert("node.dont-reconnect", "true");
    }
    if wanted.direction == Direction::Capture && node.is_some_and(super::server::Node::is_sink) {
        properties.insert("stream.capture.sink", "true");
    }
    properties
}

/// Body of the node's thread; `answer` is told when the stream is open.
fn run(
    wanted: &Wanted,
    state: &Arc<State>,
    process: impl Process,
    commands: Receiver<Command>,
    answer: &mpsc::Sender<Result<(), Failure>>,
) -> Result<(), Failure> {
    let client = Client::connect(&wanted.access)?;
    let survey = client.survey()?;
    let node = survey.find(wanted.target.as_deref(), wanted.direction)?;
    let noted = Arc::clone(state);
    let _core = client
        .core
        .add_listener_local()
        .error(move |id, _, _, message| {
            if id == pipewire::core::PW_ID_CORE {
                noted.lose(message.to_owned());
            }
        })
        .register();
    let stream = StreamRc::new(client.core.clone(), &wanted.access.title, stream_properties(wanted, node))?;
    // Two listeners: the data of one are the graph's thread's alone, the other is called in this thread.
    let noted = Arc::clone(state);
    let _changes = stream
        .add_local_listener::<()>()
        .state_changed(move |_, (), _, new| match new {
            StreamState::Error(reason) => noted.lose(format!("it ended the stream: {reason}")),
            StreamState::Unconnected => noted.lose("it ended the stream".to_owned()),
            _ => {}
        })
        .register()?;
    let _frames = stream
        .add_local_listener_with_user_data(process)
        .process(|stream, process| process.process(stream))
        .register()?;
    let format = format::stream_format(&wanted.spec);
    let mut params = [pod(&format)?];
    let mut flags = StreamFlags::AUTOCONNECT | StreamFlags::MAP_BUFFERS | StreamFlags::RT_PROCESS;
    if wanted.target.is_some() {
        flags |= StreamFlags::DONT_RECONNECT;
    }
    let direction = match wanted.direction {
        Direction::Playback => spa::utils::Direction::Output,
        Direction::Capture => spa::utils::Direction::Input,
    };
    stream.connect(direction, None, flags, &mut params)?;

    let patience = if survey.managed { wanted.access.patience } else { PATIENCE_UNMANAGED };
    let begun = client.run_until(patience, || state.cycles.load(Acquire) >= CYCLES || state.loss().is_some());
    let outcome = match state.loss() {
        Some(reason) => Err(Failure::new(reason, "its log says more (`journalctl --user -u pipewire`)")),
        None if begun => serve(&client, &stream, state, commands, answer),
        None => Err(survey.unlinked()),
    };
    // Disconnected before the listeners go: nobody calls them any more then.
    let _ = stream.disconnect();
    outcome
}

/// Obeys commands until the end.
fn serve(
    client: &Client,
    stream: &StreamRc,
    state: &Arc<State>,
    commands: Receiver<Command>,
    answer: &mpsc::Sender<Result<(), Failure>>,
) -> Result<(), Failure> {
    let _volume = VolumeWatch::begin(client, stream.node_id(), state)?;
    let (idle_since, over) = (Rc::new(Cell::new(Some(Instant::now()))), Rc::new(Cell::new(false)));
    let (idle, ended) = (Rc::clone(&idle_since), Rc::clone(&over));
    let obey = move |command| match command {
        Command::Active(true) => idle.set(None),
        Command::Active(false) => idle.set(idle.get().or_else(|| Some(Instant::now()))),
        Command::Quit => ended.set(true),
    };
    let main_loop = client.main_loop.loop_();
    let _commands = commands.attach(main_loop, obey);
    let _ = answer.send(Ok(()));
    let mut active = true;
    while !over.get() {
        let left = idle_since.get().map(|since| REST.saturating_sub(since.elapsed()));
        if active == left.is_some_and(|left| left.is_zero()) {
            active = !active;
            // A loss is noted elsewhere.
            let _ = stream.set_active(active);
        }
        main_loop.iterate(left.filter(|_| active).map_or(Timeout::Infinite, Timeout::Finite));
    }
    Ok(())
}

/// A parameter that was written by [`format`].
pub(super) fn pod(bytes: &[u8]) -> Result<&Pod, Failure> {
    Pod::from_bytes(bytes).ok_or_else(|| Failure::new("a parameter could not be written", "report this"))
}
