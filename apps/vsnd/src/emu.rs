//! `vsnd emu`: the emulated Xen and its toolstack.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use program::{ExitStatus, Failure};
use sndif::Protocol;
use toolstack::{AttachError, Attached, Restart};
use xen::emu::Hypervisor;
use xen::{DomainId, Xen, XenSpec};
use xenstore::Client;

use crate::output::Output;

/// Time that a backend may take to close a card; xl waits as long.
const DETACH_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(crate) struct Arguments {
    /// The emulation's directory [default: the one that VSND_XEN names].
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Attaches sound cards to a domain, as xl does from the `vsnd` line of its configuration.
    Attach {
        /// The guest; it need not run.
        #[arg(long, value_name = "N")]
        domain: DomainId,
        /// The cards in the syntax of xl.cfg(5): `vsnd=[['CARD, …', 'PCM, …', 'STREAM, type=p'], …]`.
        cards: String,
        /// The protocol that the guest speaks; with `v0`, that of 2015, every STREAM becomes a card of its own.
        #[arg(long, default_value_t, value_name = "v0|v2")]
        protocol: Protocol,
    },
    /// Detaches a domain's sound cards.
    Detach {
        /// The guest.
        #[arg(long, value_name = "N")]
        domain: DomainId,
        /// Only this card.
        #[arg(long, value_name = "C")]
        card: Option<u32>,
    },
    /// Lists a domain's sound cards.
    List {
        /// The guest.
        #[arg(long, value_name = "N")]
        domain: DomainId,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let dir = directory(arguments.dir.as_deref())?;
    match &arguments.action {
        None => serve(&dir),
        Some(Action::Attach { domain, cards, protocol }) => attach(&dir, *domain, cards, *protocol),
        Some(Action::Detach { domain, card }) => {
            let detached = toolstack::detach(&mut Host::open(&dir)?.store, *domain, *card, DETACH_TIMEOUT);
            say(&detached.map_err(attach_failure)?, "detached")
        }
        Some(Action::List { domain }) => {
            let cards =
                toolstack::list(&mut Host::open(&dir)?.store, *domain).map_err(Failure::with(ExitStatus::NoXen))?;
            say(&cards, "attached")
        }
    }
}

fn directory(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return Ok(dir.to_owned());
    }
    let usage = |message: String| Failure::new(ExitStatus::Usage, message);
    match std::env::var("VSND_XEN").ok().map(|spec| spec.parse::<XenSpec>()) {
        Some(Ok(XenSpec::Emu(dir))) => Ok(dir),
        Some(Err(error)) => Err(usage(format!("VSND_XEN: {error}"))),
        Some(Ok(XenSpec::Dev)) | None => Err(usage("no directory: give `--dir DIR`, or set VSND_XEN=emu:DIR".into())),
    }
}

fn serve(dir: &Path) -> Result<ExitStatus, Failure> {
    let stop = program::end_signal().map_err(Failure::with(ExitStatus::Failure))?;
    let hypervisor = Hypervisor::bind(dir).map_err(Failure::with(ExitStatus::NoXen))?.with_toolstack(Restart);
    // The emulation serves even if this line cannot be printed.
    let _ = say_line(&format!(
        "emulated Xen in {dir}; use it with VSND_XEN=emu:{dir}, look into it with XENSTORED_PATH={dir}/xenstored.sock xenstore-ls",
        dir = dir.display()
    ));
    hypervisor.run(stop.as_fd()).map_err(Failure::with(ExitStatus::Failure))?;
    Ok(ExitStatus::Success)
}

fn attach(dir: &Path, domain: DomainId, text: &str, protocol: Protocol) -> Result<ExitStatus, Failure> {
    if domain == DomainId(0) {
        return Err(Failure::new(ExitStatus::Usage, "domain 0 is the host; guests count from 1"));
    }
    let cards = toolstack::parse(text).map_err(Failure::with(ExitStatus::Usage))?;
    let attached = toolstack::attach(&mut Host::open(dir)?.store, domain, &cards, protocol).map_err(attach_failure)?;
    say(&attached, "attached")
}

/// The store as domain 0 sees it; the connection lasts as long as our handle of Xen.
struct Host {
    store: Client,
    _xen: Xen,
}

impl Host {
    fn open(dir: &Path) -> Result<Self, Failure> {
        let xen = Xen::open_within(program::OTHER_END, &XenSpec::Emu(dir.to_owned()), None)
            .map_err(Failure::with(ExitStatus::NoXen))?;
        let store = xen.store().map_err(Failure::with(ExitStatus::NoXen))?;
        Ok(Self { store, _xen: xen })
    }
}

fn attach_failure(error: AttachError) -> Failure {
    let status = match error {
        AttachError::Store(_) => ExitStatus::NoXen,
        AttachError::NoSuchBackend(_) => ExitStatus::Usage,
        AttachError::NoSuchCard { .. } => ExitStatus::NoCard,
        AttachError::Forced { .. } => ExitStatus::NoDaemon,
    };
    Failure::new(status, error)
}

fn say(cards: &[Attached], what: &str) -> Result<ExitStatus, Failure> {
    for Attached { guest, card, backend } in cards {
        say_line(&format!("domain {guest} card {card}: {what}, served by domain {backend}"))?;
    }
    Ok(ExitStatus::Success)
}

/// Writes a line to standard output immediately, so that the program that started us can wait for it.
fn say_line(line: &str) -> Result<(), Failure> {
    Output::new().line(line)
}
