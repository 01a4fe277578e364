//! Connection to a server, and survey of its nodes.

use crate::{Direction, session};
use pipewire::context::ContextRc;
use pipewire::core::CoreRc;
use pipewire::loop_::Timeout;
use pipewire::main_loop::MainLoopRc;
use pipewire::properties::properties;
use pipewire::types::ObjectType;
use std::cell::{Cell, RefCell};
use std::env;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Minimum time that a server is given to report its nodes.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Interval at which the loop is left to look at the time.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Directory in which a server of the whole machine listens.
const SYSTEM: &str = "/run/pipewire";

/// Reason why the server cannot be used, and what helps.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub reason: String,
    pub hint: &'static str,
}

impl Failure {
    pub fn new(reason: impl Into<String>, hint: &'static str) -> Self {
        Self { reason: reason.into(), hint }
    }
}

impl From<pipewire::Error> for Failure {
    fn from(error: pipewire::Error) -> Self {
        Self::new(error.to_string(), "its log says more (`journalctl --user -u pipewire`)")
    }
}

/// Sockets at which a server may listen: `socket`, or else those that every client of PipeWire tries. The first is the
/// likely one.
pub(super) fn sockets(socket: Option<&Path>) -> Vec<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let name = match socket {
        Some(path) => return vec![path.to_owned()],
        None => variable("PIPEWIRE_REMOTE").unwrap_or_else(|| "pipewire-0".into()),
    };
    let directory = variable("PIPEWIRE_RUNTIME_DIR").or_else(|| variable("XDG_RUNTIME_DIR"));
    // An absolute name takes the directory's place.
    let mut paths: Vec<PathBuf> =
        directory.into_iter().chain([SYSTEM.into()]).map(|directory| Path::new(&directory).join(&name)).collect();
    paths.dedup();
    paths
}

/// Sockets of a server, and the program's name there.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub sockets: Vec<PathBuf>,
    pub title: String,
    /// Time that the server may take to answer, and to begin a stream.
    pub patience: Duration,
}

impl Access {
    /// Makes a connection, whose messages come through the loop of `context`.
    pub fn connect(&self, context: &ContextRc) -> Result<CoreRc, Failure> {
        let hint = self.sockets.first().and_then(|path| session::hint(path));
        let stream = self.socket().map_err(|error| match (hint, error.kind()) {
            (Some(hint), _) => Failure::new(error.to_string(), hint),
            (None, std::io::ErrorKind::PermissionDenied) => {
                Failure::new(error.to_string(), "this program must run as the server's user, or be let at its socket")
            }
            (None, _) => Failure::new(
                error.to_string(),
                "`pw-cli info 0` says whether PipeWire runs; that of a user's session is named with \
                 `pipewire@unix:/run/user/UID/pipewire-0`",
            ),
        })?;
        let names = properties! { "application.name" => self.title.as_str(), "application.icon-name" => "audio-card" };
        Ok(context.connect_fd_rc(stream.into(), Some(names))?)
    }

    /// Connects to the first socket that answers; otherwise returns the error of the likely one.
    fn socket(&self) -> std::io::Result<UnixStream> {
        let mut attempts = self.sockets.iter().map(UnixStream::connect);
        let first = attempts.next().unwrap_or_else(|| Err(std::io::ErrorKind::NotFound.into()));
        let stream = first.or_else(|error| attempts.find_map(Result::ok).ok_or(error))?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

/// A client of a server, for one thread.
pub(super) struct Client {
    pub core: CoreRc,
    _context: ContextRc,
    pub main_loop: MainLoopRc,
    patience: Duration,
}

impl Client {
    pub fn connect(access: &Access) -> Result<Self, Failure> {
        let lacks = |error: pipewire::Error| {
            Failure::new(
                format!("no client of it can be made: {error}"),
                "its modules must be there when the daemon starts (`systemctl restart vsndd`)",
            )
        };
        let main_loop = MainLoopRc::new(None).map_err(lacks)?;
        // The configuration with which the graph's thread asks for real time.
        let context =
            ContextRc::new(&main_loop, Some(properties! { "config.name" => "client-rt.conf" })).map_err(lacks)?;
        Ok(Self { core: access.connect(&context)?, _context: context, main_loop, patience: access.patience })
    }

    /// Runs the loop until `done`; false if that takes too long.
    pub fn run_until(&self, patience: Duration, mut done: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !done() {
            if Instant::now() >= deadline {
                return false;
            }
            self.main_loop.loop_().iterate(Timeout::Finite(LOOK_EVERY));
        }
        true
    }

    /// Asks for everything that is on the server.
    pub fn survey(&self) -> Result<Survey, Failure> {
        let survey = Rc::new(RefCell::new(Survey::default()));
        let (done, broken) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(None)));
        let registry = self.core.get_registry_rc()?;
        let found = Rc::clone(&survey);
        let globals = registry.add_listener_local().global(move |global| {
            let property = |key: &str| global.props.and_then(|props| props.get(key)).unwrap_or_default().to_owned();
            match global.type_ {
                ObjectType::Node => found.borrow_mut().nodes.push(Node {
                    name: property("node.name"),
                    serial: property("object.serial"),
                    class: property("media.class"),
                    description: property("node.description"),
                }),
                ObjectType::Metadata if property("metadata.name") == "default" => found.borrow_mut().managed = true,
                _ => {}
            }
        });
        let _globals = globals.register();
        let (answered, failed) = (Rc::clone(&done), Rc::clone(&broken));
        let _core = self
            .core
            .add_listener_local()
            .done(move |_, _| answered.set(true))
            .error(move |_, _, _, message| *failed.borrow_mut() = Some(message.to_owned()))
            .register();
        self.core.sync(0)?;
        let in_time = self.run_until(self.patience, || done.get() || broken.borrow().is_some());
        if let Some(message) = broken.take() {
            return Err(Failure::new(message, "its log says more (`journalctl --user -u pipewire`)"));
        }
        if !in_time {
            return Err(Failure::new("it does not answer", "start it again (`systemctl --user restart pipewire`)"));
        }
        Ok(survey.take())
    }
}

/// A node that streams can be connected to, or any other.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub name: String,
    pub serial: String,
    pub class: String,
    pub description: String,
}

impl Node {
    /// Returns true if streams can play to the node.
    pub fn plays(&self) -> bool {
        matches!(self.class.as_str(), "Audio/Sink" | "Audio/Duplex")
    }

    /// Returns true if streams can capture from the node, apart from what a sink plays.
    pub fn captures(&self) -> bool {
        self.class.starts_with("Audio/Source") || self.class == "Audio/Duplex"
    }

    /// Returns true if the node is a sink: what it plays can be captured.
    pub fn is_sink(&self) -> bool {
        self.class == "Audio/Sink"
    }
}

/// Result of a survey of a server.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub nodes: Vec<Node>,
    /// True if there is a session manager: it made the metadata that name the default nodes.
    pub managed: bool,
}

impl Survey {
    /// The node called `name`, which must fit a stream in `direction`; `None` without a name, if any node fits.
    pub fn find(&self, name: Option<&str>, direction: Direction) -> Result<Option<&Node>, Failure> {
        let fit = |node: &Node| match direction {
            Direction::Playback => node.plays(),
            Direction::Capture => node.captures(),
        };
        let (noun, hint) = match direction {
            Direction::Playback => ("sink", "`wpctl status` lists the sinks, `pw-cli ls Node` their `node.name`"),
            Direction::Capture => ("source", "`wpctl status` lists the sources, `pw-cli ls Node` their `node.name`"),
        };
        let Some(name) = name else {
            return match self.nodes.iter().any(fit) {
                true => Ok(None),
                false => Err(Failure::new(format!("it has no {noun}"), hint)),
            };
        };
        let named = |node: &&Node| node.name == name || node.serial == name;
        match self.nodes.iter().find(named) {
            Some(node) if fit(node) || (direction == Direction::Capture && node.is_sink()) => Ok(Some(node)),
            Some(node) => {
                Err(Failure::new(format!("its node `{name}` has the class {}, which is no {noun}", node.class), hint))
            }
            None => Err(Failure::new(format!("it has no node `{name}`"), hint)),
        }
    }

    /// The failure for a stream that nothing connects to a device.
    pub fn unlinked(&self) -> Failure {
        if self.managed {
            Failure::new(
                "its session manager does not connect the stream to a device",
                "`wpctl status` says which devices it has; its log says more (`journalctl --user -u wireplumber`)",
            )
        } else {
            Failure::new(
                "it has no session manager, so nothing connects streams to devices",
                "start WirePlumber (`systemctl --user start wireplumber`)",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey() -> Survey {
        let node = |name: &str, serial: &str, class: &str| Node {
            name: name.into(),
            serial: serial.into(),
            class: class.into(),
            description: String::new(),
        };
        let nodes = vec![
            node("speakers", "31", "Audio/Sink"),
            node("microphone", "32", "Audio/Source"),
            node("camera", "33", "Video/Source"),
        ];
        Survey { nodes, managed: true }
    }

    #[test]
    fn a_node_is_found_by_name_or_serial_number_where_the_direction_fits() {
        let survey = survey();
        let find = |name, direction| survey.find(Some(name), direction).map(|node| node.unwrap().name.as_str());
        assert_eq!(find("speakers", Direction::Playback).unwrap(), "speakers");
        assert_eq!(find("31", Direction::Playback).unwrap(), "speakers");
        assert_eq!(find("microphone", Direction::Capture).unwrap(), "microphone");
        assert_eq!(find("speakers", Direction::Capture).unwrap(), "speakers");
        for (name, direction, reason) in [
            ("microphone", Direction::Playback, "its node `microphone` has the class Audio/Source, which is no sink"),
            ("camera", Direction::Capture, "its node `camera` has the class Video/Source, which is no source"),
            ("nowhere", Direction::Playback, "it has no node `nowhere`"),
        ] {
            assert_eq!(find(name, direction).unwrap_err().reason, reason);
        }
        assert!(survey.find(None, Direction::Playback).unwrap().is_none());
        // Capture without a name means the default source, which is no sink.
        let sinks = Survey { nodes: survey.nodes.into_iter().take(1).collect(), managed: true };
        assert!(sinks.find(None, Direction::Playback).unwrap().is_none());
        assert_eq!(sinks.find(None, Direction::Capture).unwrap_err().reason, "it has no source");
    }
}
