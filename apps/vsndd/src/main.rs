//! `vsndd`: command line, logging and signals around [`vsndd::Daemon`], and around [`vsndd::work`] where this program
//! is started once more for a guest.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, ValueEnum};
use config::{Config, ConfigSource};
use host_audio::DeviceSpec;
use program::{ExitStatus, Failure};
use vsndd::{Daemon, Ended, Error, Groups, ListenError, Processes, Sockets, sandbox, service, state};
use xen::{DomainId, Xen, XenSpec};

mod libpulse;
mod manual;

/// A manual page.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ManualPage {
    /// vsndd(8).
    #[value(name = "8")]
    Daemon,
    /// vsndd.toml(5).
    #[value(name = "5")]
    Configuration,
}

/// Plays what Xen guests play and lets them record, through the sndif protocol.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 ended when asked, 1 unexpected error, 2 command line, \
    3 configuration, 4 no Xen, 7 standard output, 10 Xen went away, 12 another program listens where the daemon is to."
)]
struct Arguments {
    /// The Xen to serve: `dev` for the real one, `emu:DIR` for the emulation in DIR [env: VSND_XEN].
    #[arg(long, default_value = program::from_env("VSND_XEN", "dev"), value_name = "dev|emu:DIR")]
    xen: XenSpec,
    /// The domain to run in (emulation only; a driver domain is not 0).
    #[arg(long, value_name = "N")]
    domain: Option<DomainId>,
    /// Configuration file [default: /etc/vsnd/vsndd.toml if it exists; none with an emulated Xen].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Device to play to, in place of the one at the configuration's top: `null`, `wav:PATH`, `alsa:PCM`,
    /// `pulse[:SINK][@SERVER]`, `pipewire[:NODE][@SERVER]` (if built in).
    #[arg(long, value_name = "DEVICE")]
    sink: Option<DeviceSpec>,
    /// Device to capture from, in place of the one at the configuration's top.
    #[arg(long, value_name = "DEVICE")]
    source: Option<DeviceSpec>,
    /// Allows guests to capture, in place of the setting at the configuration's top.
    #[arg(long)]
    allow_capture: bool,
    /// Directory that keeps the overrides made with `vsnd` [default: the service manager's STATE_DIRECTORY, else
    /// /var/lib/vsnd, or the directory of an emulated Xen].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Messages to log: a level (`error`, `warn`, `info`, `debug`) or a filter such as `vsndd=debug` [env: VSND_LOG].
    #[arg(long, default_value = program::from_env("VSND_LOG", "info"), value_name = "FILTER")]
    log: String,
    /// Only checks if a daemon would start with the configuration on this host.
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    sandbox: sandbox::Options,
    /// Serves this guest with what standard input and output lead to: how the daemon starts its workers.
    #[arg(long, hide = true, value_name = "N", requires = "domain")]
    worker: Option<DomainId>,
    /// Writes a manual page, `8` of the daemon or `5` of its configuration, and ends.
    #[arg(long, hide = true, value_name = "SECTION")]
    man: Option<ManualPage>,
}

fn main() -> ExitCode {
    #[cfg(not(feature = "pipewire"))]
    program::become_fuller("vsndd", "/usr/sbin/vsndd", "/usr/libexec/vsndd-pipewire");
    program::end("vsndd", program::command_line().and_then(|arguments: Arguments| start(&arguments)))
}

fn start(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    if let Some(page) = arguments.man {
        let page = match page {
            ManualPage::Daemon => manual::daemon(&Arguments::command()),
            ManualPage::Configuration => Ok(manual::configuration().into_bytes()),
        };
        page.and_then(|page| io::stdout().write_all(&page)).map_err(|error| program::no_output(&error))?;
        return Ok(ExitStatus::Success);
    }
    program::start_log(&arguments.log)?;
    if let (Some(guest), Some(own)) = (arguments.worker, arguments.domain) {
        return serve_one(arguments, own, guest);
    }
    // The name is the same for every file it may be started from: `vsnd doctor` and `pgrep` look for it.
    let _ = rustix::thread::set_name(c"vsndd");
    if !arguments.check_config && arguments.sandbox.sandbox != sandbox::Mode::Off {
        libpulse::prepare(arguments.sandbox.user.is_some());
    }
    let source = ConfigSource {
        file: arguments.config.clone(),
        emulated: matches!(arguments.xen, XenSpec::Emu(_)),
        sink: arguments.sink.clone(),
        source: arguments.source.clone(),
        allow_capture: arguments.allow_capture,
    };
    let settings = source.settings().map_err(Failure::with(ExitStatus::Config))?;
    let config = settings.usable().map_err(|error| Failure::block(ExitStatus::Config, error))?;
    sandbox::check(&arguments.sandbox).map_err(Failure::with(ExitStatus::Config))?;
    if arguments.check_config {
        say(&format!("{}, understood", settings.describe(&config))).map_err(|error| program::no_output(&error))?;
        return Ok(ExitStatus::Success);
    }
    let stop = program::stop_signal().map_err(Failure::with(ExitStatus::Failure))?;
    let reload = program::reload_signal().map_err(Failure::with(ExitStatus::Failure))?;
    xen::raise_fd_limit();
    sandbox::bound_thread_stacks();
    let xen = Xen::open_within(program::OTHER_END, &arguments.xen, arguments.domain)
        .map_err(Failure::with(ExitStatus::NoXen))?;
    let failure = |error: Error| Failure::new(status_of(&error), error);
    let store = xen.store().map_err(|error| failure(error.into()))?;
    let shared = xen.store_fd().map_err(|error| failure(error.into()))?;
    let sockets = Sockets::open(&config, &control::socket_of(&arguments.xen)).map_err(|error| failure(error.into()))?;
    let groups = Groups::take_over(arguments.sandbox.user.as_deref());
    let state = state::directory(arguments.state_dir.clone(), &arguments.xen);
    state::prepare(&state, arguments.sandbox.user.as_deref());
    if arguments.xen == XenSpec::Dev && sandbox::workers_write(&arguments.sandbox, &config, &state) {
        let directory = state.display();
        tracing::warn!(
            "WAV files go to {directory}, where overrides are kept: a worker that was taken over could change them"
        );
    }
    let own = sockets.directories().chain([state.as_path()]);
    // A failure counts as one of the configuration: this host would refuse the same sandbox the next time.
    sandbox::enter(&arguments.sandbox, &config, source.path().as_deref(), own, groups.as_ref().map(Groups::directory))
        .map_err(Failure::with(ExitStatus::Config))?;
    xen.check_devices().map_err(|error| {
        let next =
            "let a group of that user have them: `cd /dev/xen; chgrp vsndd evtchn gntdev; chmod g+rw evtchn gntdev`";
        Failure::new(ExitStatus::NoXen, format!("{error}: {next}"))
    })?;
    for probe in &arguments.sandbox.sandbox_probe {
        let answer = probe.attempt().map_or_else(|error| error.to_string(), |()| "done".into());
        say(&format!("{probe}: {answer}")).map_err(|error| program::no_output(&error))?;
    }
    if !arguments.sandbox.sandbox_probe.is_empty() {
        return Ok(ExitStatus::Success);
    }
    let workers = Processes { arguments: arguments.of_a_worker(), groups };
    let mut daemon = Daemon::new(xen, store, shared, settings, workers).map_err(failure)?;
    daemon.add_controls(source, sockets, Some(state), reload).map_err(failure)?;
    daemon.begin().map_err(failure)?;
    service::ready(&format!("serving {}", arguments.xen));
    // One line for programs that wait until guests are served; the log goes to standard error.
    let _ = say(&format!("serving {}", arguments.xen));
    match daemon.run(stop.as_fd()).map_err(failure)? {
        Ended::Asked | Ended::Outgrown => Ok(ExitStatus::Success),
        Ended::XenGone => {
            Err(Failure::new(ExitStatus::Lost, format!("{} went away; all streams are closed", arguments.xen)))
        }
    }
}

/// Writes a line to standard output and flushes it.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

impl Arguments {
    /// The part of this command line that workers get as well.
    fn of_a_worker(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--log".into(), (&self.log).into()];
        arguments.extend(self.sandbox.of_a_worker());
        arguments
    }
}

/// Runs a guest's worker: standard input leads to what is lent to it, standard output to its orders.
fn serve_one(arguments: &Arguments, own: DomainId, guest: DomainId) -> Result<ExitStatus, Failure> {
    let failed = Failure::with(ExitStatus::Failure);
    // Name that the system shows beside the command line; a failure does not matter.
    let _ = std::ffi::CString::new(format!("vsndd-{guest}")).map(|name| rustix::thread::set_name(&name));
    // A signal to the daemon may reach all of its processes; a worker ends when the daemon says so, or is gone.
    let _signals = program::stop_signal().and_then(|stop| Ok((stop, program::reload_signal()?))).map_err(failed)?;
    let taken = || -> io::Result<_> {
        let lent = io::stdin().as_fd().try_clone_to_owned()?;
        let link = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
        // The link only ends when no descriptor of it is open any more.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        rustix::stdio::dup2_stdout(std::fs::File::create("/dev/null")?)?;
        Ok((lent, link))
    };
    let (lent, link) = taken().map_err(Failure::with(ExitStatus::Failure))?;
    let confine = |config: &Config, devices| {
        sandbox::raise_priority(&config.worker);
        sandbox::confine_worker(&arguments.sandbox, config, devices)
            .map_err(|error| Error::System(io::Error::other(error)))
    };
    let attempt = |xen: &Xen, store: &mut xenstore::Client| {
        for probe in &arguments.sandbox.worker_probe {
            let answer = probe.attempt_at(xen, store).map_or_else(|error| error, |()| "done".into());
            tracing::info!("probe of the worker of domain {guest}: {probe}: {answer}");
        }
    };
    match vsndd::work(own, guest, lent, link, confine, attempt) {
        Ok(Ended::Asked | Ended::Outgrown) => Ok(ExitStatus::Success),
        Ok(Ended::XenGone) => Ok(ExitStatus::Lost),
        Err(error) => Err(Failure::new(status_of(&error), format!("domain {guest}: {error}"))),
    }
}

fn status_of(error: &Error) -> ExitStatus {
    match error {
        Error::Xen(_) | Error::Store(_) => ExitStatus::NoXen,
        Error::Listen(ListenError::InUse(_)) => ExitStatus::Busy,
        Error::Listen(ListenError::System { reason, .. }) if reason.kind() == io::ErrorKind::AddrInUse => {
            ExitStatus::Busy
        }
        Error::Listen(ListenError::NoGroup(_) | ListenError::System { .. }) => ExitStatus::Config,
        Error::System(_) => ExitStatus::Failure,
        // The configuration names a kind of device that is not built in.
        Error::HostDevice(_) => ExitStatus::Config,
    }
}
