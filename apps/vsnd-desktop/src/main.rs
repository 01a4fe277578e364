//! `vsnd-desktop`: a filter between the host daemon's workers and the sound server of a user's session.
//!
//! The program runs as that user and takes connections on a socket that only the workers' user can open
//! (vsnd-desktop@.socket). Each connection is passed on to the session's PulseAudio, or to PipeWire's server in its
//! place, except for commands that a player does not need: a client that may load a module into a sound server can have
//! it load a library, and act as that user.

#![forbid(unsafe_code)]

mod connection;
mod rights;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use program::{ExitStatus, Failure};
use tracing::{info, warn};

/// Maximum number of connections at the same time. A server takes 64, of which its user needs some; each stream of a
/// guest has one.
const CONNECTIONS_MAX: usize = 48;
/// Each connection has two threads, which need little.
const STACK_BYTES: usize = 128 * 1024;
/// Pause after the system had no descriptor or thread for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Lets the workers of vsndd play to the sound server of this user's session, and do nothing else there.
///
/// Standard input is the socket that the workers connect to.
#[derive(Debug, Parser)]
#[command(
    name = "vsnd-desktop",
    version,
    after_help = "Exit status: 0 ended when asked, 1 unexpected error, 2 command line."
)]
struct Arguments {
    /// The sound server's socket [default: /run/user/UID/pulse/native].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Allows capture as well: the microphone, and what other programs play.
    #[arg(long)]
    allow_capture: bool,
    /// Log filter: a level (`error`, `warn`, `info`, `debug`) or a filter.
    #[arg(long, default_value = "info", value_name = "FILTER")]
    log: String,
}

fn main() -> ExitCode {
    program::end("vsnd-desktop", program::command_line().and_then(|arguments: Arguments| start(&arguments)))
}

fn start(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    program::start_log(&arguments.log)?;
    let failed = |error: io::Error| Failure::new(ExitStatus::Failure, format!("standard input is no socket: {error}"));
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    rustix::net::getsockname(&socket).map_err(|error| failed(error.into()))?;
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(false).map_err(failed)?;
    let usual = || format!("/run/user/{}/pulse/native", rustix::process::getuid().as_raw()).into();
    let server = arguments.server.clone().unwrap_or_else(usual);
    let may = if arguments.allow_capture { "play and capture" } else { "play" };
    info!("workers may {may} at {}", server.display());

    let slots = Arc::new(());
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                warn!("no connection can be taken: {error}");
                thread::sleep(PAUSE);
                continue;
            }
        };
        if Arc::strong_count(&slots) > CONNECTIONS_MAX {
            warn!("there are {CONNECTIONS_MAX} connections, and no more are taken");
            continue;
        }
        let (slot, server, allow_capture) = (Arc::clone(&slots), server.clone(), arguments.allow_capture);
        let serve = move || {
            match connect(&server) {
                Ok(server) => connection::serve(&client, &server, allow_capture),
                // The worker tries again, less and less often.
                Err(error) => warn!("{}: {error}; is its user logged in?", server.display()),
            }
            drop(slot);
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK_BYTES).spawn(serve) {
            warn!("no thread for a connection: {error}");
            thread::sleep(PAUSE);
        }
    }
}

/// Connects so that the server learns with each message who sends it. PulseAudio asks its system for that only after it
/// has accepted the connection: the first message may have come before.
fn connect(server: &Path) -> io::Result<UnixStream> {
    let server = UnixStream::connect(server)?;
    rustix::net::sockopt::set_socket_passcred(&server, true)?;
    Ok(server)
}
