//! The daemon's sandbox, entered once Xen and the store are open and before any thread is started.
//!
//! In this order: the daemon becomes its own user (`user`), gives up the capabilities that it does not need, can from
//! then on reach only the files that sound needs (`files`, landlock), and can make only the system calls that it needs
//! (`calls`, seccomp). A call that is refused gets an error; it does not end the daemon, with which all guests would go
//! silent.

mod calls;
mod files;
mod libraries;
mod priority;
mod probe;
mod user;

pub use user::bound_thread_stacks;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use config::Config;
use host_audio::DeviceSpec;
use tracing::{info, warn};

pub use libraries::Prepared;
pub use priority::raise as raise_priority;
pub use probe::{Probe, WorkerProbe};

/// Extent to which the sandbox is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The whole sandbox; a part that this kernel cannot enforce is an error.
    On,
    /// The part of the sandbox that this kernel can enforce; the log says what it cannot.
    BestEffort,
    /// No sandbox.
    Off,
}

/// The part of the command line that is about the sandbox.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Confines the daemon to the files and system calls that it needs: `on` fails where the kernel cannot enforce
    /// all of it, `best-effort` says in the log what it cannot.
    #[arg(long, value_enum, default_value = "best-effort", value_name = "MODE")]
    pub sandbox: Mode,
    /// Becomes this user, with its groups, once Xen is open (as root only).
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A directory that the daemon may use beside those of the WAV files that the configuration names at the start;
    /// may be repeated.
    #[arg(long, value_name = "DIR")]
    pub writable: Vec<PathBuf>,
    /// Tries this in the sandbox, says how it went, and ends; for tests.
    #[arg(long, value_name = "PROBE", hide = true)]
    pub sandbox_probe: Vec<Probe>,
    /// Has each worker try this in its sandbox and log how it went; for tests.
    #[arg(long, value_name = "PROBE", hide = true)]
    pub worker_probe: Vec<WorkerProbe>,
}

/// Reason why the sandbox cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process cannot become the user.
    #[error("cannot become user `{name}`: {reason}")]
    User {
        /// Name of the user.
        name: String,
        /// The mistake, and a way to correct it.
        reason: String,
    },
    /// There are threads already, which would stay outside.
    #[error("the sandbox is entered too late: {0} threads run")]
    Threads(usize),
    /// Capabilities cannot be given up.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(caps::errors::CapsError),
    /// Landlock failed.
    #[error("cannot restrict the files that can be reached: {0}; `--sandbox best-effort` goes on without")]
    Files(String),
    /// Seccomp failed.
    #[error("cannot restrict the system calls: {0}; `--sandbox best-effort` goes on without")]
    Calls(String),
}

// By hand: the message contains its cause already, and a source would repeat it.
impl From<caps::errors::CapsError> for Error {
    fn from(cause: caps::errors::CapsError) -> Self {
        Self::Capabilities(cause)
    }
}

/// Checks that the user exists whom the daemon is to become.
///
/// # Errors
/// [`Error::User`].
pub fn check(options: &Options) -> Result<(), Error> {
    options.user.as_deref().map_or(Ok(()), user::check)
}

/// Enters the sandbox for good. `own` are directories of the daemon that no worker gets, `groups` is the directory of
/// its workers' control groups.
///
/// # Errors
/// [`Error`]. The process may be confined in part then, and should end.
pub fn enter<'a>(
    options: &'a Options,
    config: &Config,
    config_path: Option<&Path>,
    own: impl Iterator<Item = &'a Path>,
    groups: Option<&Path>,
) -> Result<(), Error> {
    if options.sandbox != Mode::Off {
        files::await_sound_cards(config);
    }
    let program = files::ThisProgram::open();
    if let Some(name) = &options.user {
        user::become_user(name, &config.worker)?;
    }
    if options.sandbox == Mode::Off {
        return Ok(());
    }
    // Landlock and the ids are those of one thread, and of the threads that it starts.
    match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(0 | 1) | Err(_) => {}
        Ok(threads) => return Err(Error::Threads(threads)),
    }
    user::give_up_capabilities()?;
    let identity = user::identity();
    let own = options.writable.iter().map(PathBuf::as_path).chain(own);
    let reach = files::Reach::of(config, config_path, own, program).with_groups(groups);
    best_effort(options.sandbox, reach.enforce().map_err(Error::Files))?;
    best_effort(options.sandbox, calls::restrict().map_err(Error::Calls))?;
    info!("sandboxed: {identity}");
    Ok(())
}

impl Options {
    /// The same options for a worker's command line.
    #[must_use]
    pub fn of_a_worker(&self) -> Vec<OsString> {
        let mode = self.sandbox.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let writable = self.writable.iter().flat_map(|path| ["--writable".into(), path.into()]);
        let probes = self.worker_probe.iter().flat_map(|probe| ["--worker-probe".into(), probe.to_string().into()]);
        ["--sandbox".into(), mode.into()].into_iter().chain(writable).chain(probes).collect()
    }
}

/// Confines a worker, which already is in the sandbox of the process that started it: the worker reaches no device of
/// Xen's, can map or bind nothing by itself, starts no program, and executes no memory that it could write. The
/// libraries of `devices` are loaded before that is so; `None` without a sandbox, in which they are loaded when they are
/// needed.
///
/// # Errors
/// [`Error`]. The process may be confined in part then, and should end.
pub fn confine_worker(
    options: &Options,
    config: &Config,
    devices: HashSet<DeviceSpec>,
) -> Result<Option<Prepared>, Error> {
    if options.sandbox == Mode::Off {
        return Ok(None);
    }
    let reach =
        files::Reach::of(config, None, options.writable.iter().map(PathBuf::as_path), files::ThisProgram::none())
            .of_a_worker();
    user::limit_worker(&config.worker);
    best_effort(options.sandbox, reach.enforce().map_err(Error::Files))?;
    // Landlock holds for this thread and those that it starts. Loading may start threads: only now.
    let prepared = Prepared::load(devices);
    best_effort(options.sandbox, calls::restrict_worker().map_err(Error::Calls))?;
    Ok(Some(prepared))
}

/// Returns true if a worker could change files in `directory`, as far as the sandbox is concerned.
#[must_use]
pub fn workers_write(options: &Options, config: &Config, directory: &Path) -> bool {
    let writable = options.writable.iter().map(PathBuf::as_path);
    files::Reach::of(config, None, writable, files::ThisProgram::none()).writes(directory)
}

/// Logs an error instead of returning it, where the best effort is enough.
fn best_effort(mode: Mode, result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if mode == Mode::BestEffort => {
            warn!("{error}");
            Ok(())
        }
        result => result,
    }
}
