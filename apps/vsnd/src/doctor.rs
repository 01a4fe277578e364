//! `vsnd doctor`: checks if sound on Xen can work here, and names the next step.
//!
//! The doctor only looks: it writes, watches and starts nothing. Checks that may hang run in a thread of their own,
//! within a time limit.

mod advice;
mod cards;
mod daemon;
mod host;
mod machine;
mod report;
mod shell;
#[cfg(test)]
mod tests;
mod told;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use host_audio::libpulse::leave_nothing;
use program::{ExitStatus, Failure};
use xen::XenSpec;

use advice::{Context, Served};
use cards::Survey;
use daemon::Daemons;
use host::Configured;
use machine::{Machine, SurveyError};
use report::{Finding, State};

/// The sound card that the next step shows; the README has the same.
const CARD: &str = "vsnd=[['CARD, short-name=Main', 'PCM, name=Main', 'STREAM, unique-id=out, type=p', \
    'STREAM, unique-id=in, type=c']]";

/// Time that reading the store may take as a whole; each of its answers may take 2 s.
const STORE_TIME: Duration = Duration::from_secs(6);

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 sound can work here, 1 something is missing, 2 command line, 4 no Xen.")]
pub(crate) struct Arguments {
    /// The Xen to check: `dev` for the real one, `emu:DIR` for the emulation in DIR [env: VSND_XEN].
    #[arg(long, default_value = program::from_env("VSND_XEN", "dev"), value_name = "dev|emu:DIR")]
    xen: XenSpec,
    /// The daemon's configuration [default: that of the running daemon, or /etc/vsnd/vsndd.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints an array of {check, state, found, next} instead.
    #[arg(long)]
    json: bool,
}

/// Everything that was found.
#[derive(Debug)]
struct Examination {
    /// True if there is a Xen at all, real or emulated.
    xen: bool,
    findings: Vec<Finding>,
}

impl Examination {
    fn status(&self) -> ExitStatus {
        if !self.xen {
            ExitStatus::NoXen
        } else if self.findings.iter().any(|finding| finding.state == State::Missing) {
            ExitStatus::Failure
        } else {
            ExitStatus::Success
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    // On failure the user's home gets a directory, as from any player.
    let _ = leave_nothing(false);
    let machine = Machine::this();
    let found = match &arguments.xen {
        XenSpec::Dev => real(&machine, arguments.config.as_deref()),
        XenSpec::Emu(dir) => emulated(&machine, dir, arguments.config.as_deref()),
    };
    let written = if arguments.json { report::json(&found.findings) } else { report::lines(&found.findings) };
    written?;
    Ok(found.status())
}

fn real(machine: &Machine, config: Option<&Path>) -> Examination {
    let Some(hypervisor) = machine.hypervisor() else {
        let next = "install a Xen host, or try the emulation: `vsnd emu --dir /tmp/xen`, then \
            `vsnd doctor --xen emu:/tmp/xen`";
        let mut findings = vec![Finding::missing("Xen", machine.no_hypervisor(), next)];
        findings.extend(Configured::read(machine, None, config, false).findings(machine, &Context::nowhere()));
        return Examination { xen: false, findings };
    };
    let place = machine.store();
    let survey = match &place {
        Some(path) => look(path.clone(), None),
        None => Err(SurveyError::NoStore),
    };
    let own = match &survey {
        Ok(survey) => Some(survey.own),
        Err(_) => (machine.is_control_domain() == Some(true)).then_some(0),
    };
    let daemons = Daemons::running(machine, &XenSpec::Dev);
    let serves = survey.as_ref().is_ok_and(|survey| survey.cards.iter().any(|card| card.backend == survey.own));
    let host = own == Some(0) || serves || !daemons.serving(own.unwrap_or(0)).is_empty();

    let mut findings = vec![Finding::ok("Xen", format!("{hypervisor}; {}", machine::this_is(own, host)))];
    findings.extend(machine.device_files(host, place.as_deref()));
    findings.push(machine.xenfs());
    findings.push(machine.store_finding(place.as_deref(), survey.as_ref().map(|_| ()), own == Some(0)));
    let driver = machine.driver();
    if own.is_some_and(|own| own != 0) && (!host || driver.is_some()) {
        findings.push(machine::driver_finding(driver));
    }
    let mut context = Context::real(own, driver);
    context.packaged = machine.has_unit();
    if host {
        let configured = Configured::read(machine, Some(&daemons), config, false);
        context.start_options = configured.start_options(machine);
        findings.extend(host::daemon_findings(&daemons, survey.as_ref().ok(), &context));
        findings.extend(configured.findings(machine, &context));
    }
    if let Ok(survey) = &survey {
        findings.extend(card_findings(survey, &context, |backend| match own {
            Some(own) if own == backend => daemons.served(own),
            _ => Served::Unknown,
        }));
        let connected = |card: &cards::Card| card.guest == survey.own && card.is_connected();
        if driver.is_some() && survey.cards.iter().any(connected) {
            findings.push(machine.alsa_card());
        }
    }
    Examination { xen: true, findings }
}

fn emulated(machine: &Machine, dir: &Path, config: Option<&Path>) -> Examination {
    let survey = match look(dir.join(xen::emu::STORE_SOCKET), Some(0)) {
        Ok(survey) => survey,
        Err(error) => {
            let (found, next) = machine::no_emulation(dir, &error);
            let mut findings = vec![Finding::missing("Xen", found, next)];
            findings.extend(Configured::read(machine, None, config, false).findings(machine, &Context::nowhere()));
            return Examination { xen: false, findings };
        }
    };
    let daemons = Daemons::running(machine, &XenSpec::Emu(dir.to_owned()));
    let configured = Configured::read(machine, Some(&daemons), config, true);
    let mut context = Context::emulated(dir, std::env::var("VSND_XEN").ok().as_deref());
    context.socket = control::socket_of(&XenSpec::Emu(dir.to_owned()));
    context.start_options = configured.start_options(machine);
    let mut findings = vec![Finding::ok("Xen", format!("emulated, in {}", dir.display()))];
    findings.extend(host::daemon_findings(&daemons, Some(&survey), &context));
    findings.extend(configured.findings(machine, &context));
    findings.extend(card_findings(&survey, &context, |backend| daemons.served(backend)));
    Examination { xen: true, findings }
}

/// Looks into the store, within a time limit.
fn look(path: PathBuf, own: Option<u16>) -> Result<Survey, SurveyError> {
    within(STORE_TIME, move || cards::survey(&path, own)).unwrap_or(Err(SurveyError::Hangs))
}

fn card_findings(survey: &Survey, context: &Context, daemon_of: impl Fn(u16) -> Served) -> Vec<Finding> {
    if survey.cards.is_empty() && !survey.cut {
        return vec![context.no_card(survey.own)];
    }
    let mut findings: Vec<Finding> =
        survey.cards.iter().map(|card| card.finding(context, daemon_of(card.backend))).collect();
    if survey.cut {
        let found = format!("only {} cards were looked at: there are too many, or the store is slow", findings.len());
        findings.push(Finding::note("cards", found, "`xenstore-ls` shows the others".to_owned()));
    }
    findings
}

/// Result of `work`, or `None` if it takes longer than `limit`; then it goes on until this process ends.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().spawn(move || drop(sender.send(work()))).ok()?;
    receiver.recv_timeout(limit).ok()
}
