//! PipeWire's own protocol: a node of its own for each stream, which requests a short cycle from the graph.
//!
//! Two threads serve a stream beside its owner: that of its node ([`node`]), and the graph's, which takes frames out of a
//! ring, or puts them into one, once in a cycle. No call of the owner waits for either, so the owner does the stream's
//! turns. The server mixes, converts and has the volume.

mod format;
mod node;
mod playback;
mod position;
mod record;
mod server;
mod state;
mod volume;

use crate::device::titled;
use crate::live::{Driver, Fault, Input, Opened, Output, wait_for};
use crate::offer::Offer;
use crate::{Capabilities, DeviceOptions, DeviceSpec, Direction, Error, StreamAddress, StreamSpec};
use node::Wanted;
use rustix::event::{PollFd, PollFlags};
use server::{Access, Client, Failure, Node};
use state::State;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Driver of `pipewire[:NODE][@SERVER]`.
pub(crate) struct PipeWireDriver {
    target: Option<String>,
    socket: Option<PathBuf>,
    /// Name of a stream's node.
    title: String,
    role: Option<String>,
    /// Time that the server may take to answer.
    patience: Duration,
}

impl PipeWireDriver {
    pub(crate) fn new(target: Option<String>, socket: Option<PathBuf>, options: &DeviceOptions) -> Self {
        let patience = options.patience.max(server::PATIENCE);
        Self { target, socket, title: options.title.clone(), role: options.role.clone(), patience }
    }

    fn sockets(&self) -> Vec<PathBuf> {
        server::sockets(self.socket.as_deref())
    }

    /// Name of the server in errors.
    fn server(&self) -> String {
        self.sockets().first().map(|path| format!("unix:{}", path.display())).unwrap_or_default()
    }

    fn error(&self, failure: Failure) -> Error {
        Error::unusable(format_args!("PipeWire server {}", self.server()), failure.reason, failure.hint)
    }

    fn access(&self, title: String) -> Access {
        Access { sockets: self.sockets(), title, patience: self.patience }
    }

    fn wanted(&self, who: &StreamAddress, direction: Direction, spec: &StreamSpec) -> Wanted {
        let (access, target, role) = (self.access(titled(who, &self.title)), self.target.clone(), self.role.clone());
        Wanted { access, target, role, direction, spec: *spec }
    }
}

/// Socket at which the usual server listens, or is likely to.
pub(crate) fn usual() -> PathBuf {
    let sockets = server::sockets(None);
    sockets.iter().find(|path| path.exists()).or(sockets.first()).cloned().unwrap_or_default()
}

/// The nodes that streams can be connected to, of the server at `socket`, `None` for the usual one.
pub(crate) fn offers(socket: Option<&Path>, options: &DeviceOptions) -> Result<Vec<Offer>, String> {
    let driver = PipeWireDriver::new(None, socket.map(Path::to_owned), options);
    let survey = Client::connect(&driver.access("vsnd".into())).and_then(|client| client.survey());
    let survey = survey.map_err(|failure| driver.error(failure).to_string())?;
    let device = |node| DeviceSpec::PipeWire { node, socket: driver.socket.clone() };
    let usual = Offer {
        device: device(None),
        description: "the server's default node".into(),
        playback: survey.nodes.iter().any(Node::plays),
        capture: survey.nodes.iter().any(Node::captures),
    };
    let nodes = survey.nodes.iter().map(|node| Offer {
        device: device(Some(if node.name.is_empty() { &node.serial } else { &node.name }.clone())),
        description: node.description.clone(),
        playback: node.plays(),
        // Capture from a sink gives what the sink plays.
        capture: node.captures() || node.is_sink(),
    });
    Ok(std::iter::once(usual).chain(nodes).filter(|offer| offer.playback || offer.capture).collect())
}

/// Fault that ends a stream in use.
fn lost(server: &str, reason: String) -> Fault {
    Fault::Lost(Error::lost(format_args!("PipeWire server {server}"), reason))
}

/// Waits until `wake` is readable, the node has something to report, or `timeout` has passed (returns true).
fn wait(state: &State, wake: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
    let fds = [wake, state.event.fd()];
    let timed_out = wait_for(&mut fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)), timeout);
    state.event.clear();
    timed_out
}

impl Driver for PipeWireDriver {
    fn name(&self) -> String {
        DeviceSpec::PipeWire { node: self.target.clone(), socket: self.socket.clone() }.to_string()
    }

    /// Capabilities of every server: it converts.
    fn capabilities(&self, _direction: Direction) -> Result<Capabilities, Error> {
        Ok(Capabilities { formats: format::formats(), rates_hz: format::RATES_HZ, channels: format::CHANNELS })
    }

    fn check(&self, direction: Direction) -> Result<(), Error> {
        let look = || {
            let access = self.access("vsndd".into());
            let survey = Client::connect(&access)?.survey()?;
            survey.find(self.target.as_deref(), direction)?;
            if survey.managed { Ok(()) } else { Err(survey.unlinked()) }
        };
        look().map_err(|failure| self.error(failure))
    }

    fn open_output(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Opened<dyn Output>, Error> {
        let wanted = self.wanted(who, Direction::Playback, spec);
        playback::PipeWireOutput::open(wanted, self.server()).map_err(|failure| self.error(failure))
    }

    fn open_input(&self, who: &StreamAddress, spec: &StreamSpec) -> Result<Opened<dyn Input>, Error> {
        let wanted = self.wanted(who, Direction::Capture, spec);
        record::PipeWireInput::open(wanted, self.server()).map_err(|failure| self.error(failure))
    }
}
