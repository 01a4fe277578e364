//! `vsndd`: command line, logging and signals around [`vsndd::Daemon`].

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use host_audio::DeviceSpec;
use program::{ExitStatus, Failure};
use vsndd::{ConfigSource, Daemon, Ended, Error, Sockets, sandbox, service};
use xen::{DomainId, Xen, XenSpec};

/// Plays what Xen guests play and lets them record, through the sndif protocol.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 ended when asked, 1 unexpected error, 2 command line, \
    3 configuration, 4 no Xen, 8 host device, 10 Xen went away."
)]
struct Arguments {
    /// The Xen to serve: `dev` for the real one, `emu:DIR` for the emulation in DIR.
    #[arg(long, env = "VSND_XEN", default_value = "dev", value_name = "dev|emu:DIR")]
    xen: XenSpec,
    /// The domain to run in (emulation only; a driver domain is not 0).
    #[arg(long, value_name = "N")]
    domain: Option<DomainId>,
    /// Configuration file [default: /etc/vsnd/vsndd.toml if it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where playback goes, in place of what the configuration's top says: `null`, `wav:PATH`,
    /// `alsa:PCM`, `pulse[:SINK][@SERVER]`, `pipewire[:NODE][@SERVER]` (if built in).
    #[arg(long, value_name = "DEVICE")]
    sink: Option<DeviceSpec>,
    /// Where capture comes from, in place of what the configuration's top says.
    #[arg(long, value_name = "DEVICE")]
    source: Option<DeviceSpec>,
    /// Lets guests capture, in place of what the configuration's top says.
    #[arg(long)]
    allow_capture: bool,
    /// What to log: a level (`error`, `warn`, `info`, `debug`) or a filter such as `vsndd=debug`.
    #[arg(long, env = "VSND_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// Only checks the configuration.
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    sandbox: sandbox::Options,
    /// Writes the manual page, and ends.
    #[arg(long, hide = true)]
    man: bool,
}

fn main() -> ExitCode {
    program::end("vsndd", start(&Arguments::parse()))
}

#[expect(clippy::print_stdout, reason = "one line for whoever started us, or what a probe found")]
fn start(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    if arguments.man {
        let page = clap_mangen::Man::new(Arguments::command()).section("8");
        page.render(&mut std::io::stdout()).map_err(Failure::with(ExitStatus::File))?;
        return Ok(ExitStatus::Success);
    }
    program::start_log(&arguments.log)?;
    let source = ConfigSource {
        file: arguments.config.clone(),
        sink: arguments.sink.clone(),
        source: arguments.source.clone(),
        allow_capture: arguments.allow_capture,
    };
    let config = source.read().map_err(Failure::with(ExitStatus::Config))?;
    if arguments.check_config {
        return Ok(ExitStatus::Success);
    }
    let stop = program::stop_signal().map_err(Failure::with(ExitStatus::Failure))?;
    let reload = program::reload_signal().map_err(Failure::with(ExitStatus::Failure))?;
    xen::raise_fd_limit();
    let xen = Xen::open(&arguments.xen, arguments.domain).map_err(Failure::with(ExitStatus::NoXen))?;
    let failure = |error: Error| Failure::new(status_of(&error), error);
    let store = xen.store().map_err(|error| failure(error.into()))?;
    let sockets = Sockets::open(&config, &control::socket_of(&arguments.xen)).map_err(|error| failure(error.into()))?;
    sandbox::enter(&arguments.sandbox, &config, source.path().as_deref(), sockets.directories())
        .map_err(Failure::with(ExitStatus::Failure))?;
    xen.check_channels().map_err(|error| {
        let next = "let a group of that user have it: `chgrp vsndd /dev/xen/evtchn; chmod g+rw /dev/xen/evtchn`";
        Failure::new(ExitStatus::NoXen, format!("{error}: {next}"))
    })?;
    for probe in &arguments.sandbox.sandbox_probe {
        println!("{probe}: {}", probe.attempt().map_or_else(|error| error.to_string(), |()| "done".into()));
    }
    if !arguments.sandbox.sandbox_probe.is_empty() {
        return Ok(ExitStatus::Success);
    }
    let mut daemon = Daemon::with_store(xen, store, config).map_err(failure)?;
    daemon.steered(source, sockets, reload).map_err(failure)?;
    service::ready(&format!("serving {}", arguments.xen));
    // One line for whoever waits until guests are served; the log goes to standard error.
    println!("serving {}", arguments.xen);
    match daemon.run(stop.as_fd()).map_err(failure)? {
        Ended::Asked => Ok(ExitStatus::Success),
        Ended::XenGone => {
            Err(Failure::new(ExitStatus::Lost, format!("{} went away; all streams are closed", arguments.xen)))
        }
    }
}

fn status_of(error: &Error) -> ExitStatus {
    match error {
        Error::Xen(_) | Error::Store(_) => ExitStatus::NoXen,
        Error::System(_) | Error::Listen(_) => ExitStatus::Failure,
        Error::HostDevice(_) => ExitStatus::HostDevice,
    }
}
