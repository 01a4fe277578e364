//! The daemon that a command asks: its socket, its status, and failures when it does not answer as wanted.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::control::{Client, ClientError, Reply, Request, Status};
use clap::Args;
use program::{ExitStatus, Failure};
use xen::XenSpec;

use crate::text;

/// Choice of the daemon that a command asks; the same options for every such command.
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// The daemon's control socket [default: /run/vsnd/control.sock, or control.sock in the directory of the emulation
    /// that --xen names] [env: VSND_SOCKET].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The Xen whose daemon is asked: `dev` for the real one, `emu:DIR` for the emulation in DIR [env: VSND_XEN].
    #[arg(long, default_value = program::from_env("VSND_XEN", "dev"), value_name = "dev|emu:DIR")]
    xen: XenSpec,
}

impl Daemon {
    /// Path of the daemon's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        let named = self.socket.clone().or_else(|| std::env::var_os("VSND_SOCKET").map(PathBuf::from));
        named.unwrap_or_else(|| ::control::socket_of(&self.xen))
    }

    /// Returns true if the daemon belongs to an emulation that exists.
    fn is_by_hand(&self) -> bool {
        matches!(&self.xen, XenSpec::Emu(directory) if directory.exists())
    }

    /// Connects to the daemon; the daemon of an emulation may take a moment to start.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        let (socket, ends) = (self.socket(), Instant::now() + program::OTHER_END);
        loop {
            match Client::connect(&socket) {
                // The daemon of an emulation is started by hand, perhaps just now.
                Err(ClientError::NoDaemon { .. }) if self.is_by_hand() && Instant::now() < ends => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                connected => return connected.map_err(failure),
            }
        }
    }
}

/// Failure of a command that the daemon did not answer as wanted.
pub(crate) fn failure(error: ClientError) -> Failure {
    let status = match error {
        ClientError::BadConfig(text) => {
            return Failure::block(ExitStatus::Config, text.lines().map(text::plain).collect::<Vec<_>>().join("\n"));
        }
        ClientError::NoDaemon { .. } => ExitStatus::NoDaemon,
        ClientError::Denied { .. } => ExitStatus::Denied,
        ClientError::Broken { .. } => ExitStatus::Lost,
        ClientError::NoSuchStream(_) => ExitStatus::NoCard,
        ClientError::Refused(_) => ExitStatus::Failure,
    };
    Failure::new(status, text::plain(&error.to_string()))
}

/// Failure of a command whose daemon gave an answer to some other question.
pub(crate) fn unexpected() -> Failure {
    Failure::new(ExitStatus::Failure, "the daemon answered something else: are vsnd and vsndd of the same version?")
}

/// Asks the daemon for its status.
pub(crate) fn status(client: &mut Client, levels: bool) -> Result<Status, Failure> {
    match client.ask(&Request::List { levels }).map_err(failure)? {
        Reply::Status(status) => Ok(status),
        _ => Err(unexpected()),
    }
}
