//! Needs of a host: the daemon, its configuration, and devices to play to and record from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use config::{Config, ConfigError, DEFAULT_CONFIG};
use host_audio::{Capabilities, DeviceOptions, DeviceSpec, Direction, StreamAddress};

use super::advice::Context;
use super::cards::Survey;
use super::daemon::Daemons;
use super::machine::Machine;
use super::report::Finding;
use super::shell::shell_word;
use super::told::{Told, Word};
use super::within;

/// Time that a file or a device may take.
const TIME: Duration = Duration::from_secs(2);

/// Settings of the daemon by its file and its options, even if it does not run.
#[derive(Debug)]
pub(super) struct Configured {
    finding: Finding,
    /// `None` if nothing is configured, or the file has mistakes.
    config: Option<Config>,
    /// True if a daemon runs, which knows more of its devices than we do.
    running: bool,
    /// Option that names the user's file to a daemon; empty for none.
    config_option: String,
}

impl Configured {
    /// Reads the configuration; `named` is the file that the user named.
    pub(super) fn read(machine: &Machine, daemons: Option<&Daemons>, named: Option<&Path>, emulated: bool) -> Self {
        let running = daemons.and_then(|daemons| daemons.all().first());
        let standard = machine.path(DEFAULT_CONFIG);
        let path = named.map(Path::to_owned).or_else(|| running.and_then(|daemon| daemon.config.clone()));
        let path = path.or_else(|| (!emulated && standard.exists()).then_some(standard));
        let (finding, mut config) = match (path, running) {
            (Some(path), _) => configuration(path),
            (None, _) if emulated => {
                let found = "none is named, and an emulation has no other: the daemon goes by its options";
                (Finding::note("configuration", found, None), running.map(|_| Config::default()))
            }
            (None, Some(_)) => {
                let found = format!("there is no {DEFAULT_CONFIG}; the daemon goes by its options");
                (Finding::note("configuration", found, None), Some(Config::default()))
            }
            (None, None) => {
                let found = format!("there is no {DEFAULT_CONFIG}: the daemon plays to nowhere, and nobody may record");
                let next =
                    "write it after the example vsndd.toml, or give the daemon options (`vsndd --help`)".to_owned();
                (Finding::note("configuration", found, next), None)
            }
        };
        if let (Some(config), Some(daemon)) = (&mut config, running) {
            config.sink = daemon.sink.clone().unwrap_or(config.sink.clone());
            config.source = daemon.source.clone().unwrap_or(config.source.clone());
            config.capture |= daemon.allow_capture;
        }
        let config_option =
            named.map(|path| format!(" --config {}", shell_word(&path.display().to_string()))).unwrap_or_default();
        Self { finding, config, running: running.is_some(), config_option }
    }

    /// Options that a daemon needs to follow the user's file, and for guests to be heard.
    pub(super) fn start_options(&self, machine: &Machine) -> String {
        let sink = match &self.config {
            Some(config) if config.sink != DeviceSpec::Null || !config.rules.is_empty() => "",
            _ if machine.alsa_cards().is_empty() => " --sink wav:/tmp/heard.wav",
            _ => " --sink alsa:default",
        };
        format!("{}{sink}", self.config_option)
    }

    /// The configuration, sound hardware, and the devices that are configured.
    pub(super) fn findings(self, machine: &Machine, context: &Context) -> Vec<Finding> {
        let named = self.config.as_ref().and_then(|config| config.control.socket.clone());
        let told = match named {
            // The configuration has no control socket.
            Some(path) if path.as_os_str().is_empty() => Told::default(),
            _ if !self.running => Told::default(),
            named => Told::by(&named.unwrap_or_else(|| context.socket.clone()), context),
        };
        let mut findings = vec![self.finding, hardware(machine)];
        findings.extend(self.config.iter().flat_map(|config| devices(config, &told, context)));
        findings.extend(told.findings());
        findings
    }
}

/// One line for each domain that serves, or should.
pub(super) fn daemon_findings(daemons: &Daemons, survey: Option<&Survey>, context: &Context) -> Vec<Finding> {
    let own = survey.map_or(0, |survey| survey.own);
    let cards = survey.map(|survey| survey.cards.as_slice()).unwrap_or_default();
    // In the emulation every domain is ours.
    let mut backends: BTreeSet<u16> =
        cards.iter().map(|card| card.backend).filter(|backend| context.is_emulation() || *backend == own).collect();
    if cards.is_empty() {
        backends.insert(own);
    }
    if backends.is_empty() {
        let found = "none here; every card is served by another domain";
        return vec![Finding::note("daemon", found, None)];
    }
    let mut findings = Vec::new();
    for backend in backends {
        let check = if backend == own { "daemon".to_owned() } else { format!("daemon in domain {backend}") };
        let offered = cards.iter().filter(|card| card.backend == backend && card.versions.is_some()).count();
        findings.push(match *daemons.serving(backend) {
            [] if daemons.is_unsure() => {
                let found = "no process named vsndd can be seen; others may be hidden";
                Finding::note(check, found, Some("ask again as root".to_owned()))
            }
            [] => {
                let found = match offered {
                    0 if context.is_emulation() => "vsndd does not run",
                    0 => "vsndd does not run; without it `xl create` fails for a guest with a sound card",
                    _ => "vsndd does not run any more",
                };
                Finding::missing(check, found, context.start_daemon(backend))
            }
            [daemon] => {
                let served = cards.iter().filter(|card| card.backend == backend);
                let versions: BTreeSet<&str> = served.filter_map(|card| card.versions.as_deref()).collect();
                let versions = versions.into_iter().collect::<Vec<_>>().join(" and ");
                let offers = match offered {
                    0 => String::new(),
                    _ => format!(", serves {} with protocol version {versions}", count(offered, "card")),
                };
                Finding::ok(check, format!("vsndd runs as process {}{offers}", daemon.process))
            }
            ref many => {
                let processes: Vec<String> = many.iter().map(|daemon| daemon.process.to_string()).collect();
                let found = format!("vsndd runs {} times: processes {}", many.len(), processes.join(", "));
                Finding::missing(check, found, "end all but one: they disturb each other")
            }
        });
    }
    findings
}

fn configuration(path: PathBuf) -> (Finding, Option<Config>) {
    let check = "configuration";
    let read = path.clone();
    match within(TIME, move || Config::read(&read)) {
        Some(Ok(config)) => {
            let rules = match config.rules.len() {
                0 => String::new(),
                rules => format!(" with {}", count(rules, "rule")),
            };
            (Finding::ok(check, format!("{}{rules} is understood", path.display())), Some(config))
        }
        Some(Err(error @ ConfigError::Read { .. })) => {
            (Finding::missing(check, error.to_string(), "make it readable, or name another with `--config`"), None)
        }
        Some(Err(error)) => {
            let word = shell_word(&path.display().to_string());
            let next = format!("correct it until `vsndd --check-config --config {word}` says that it is understood");
            (Finding::missing(check, error.brief(), next), None)
        }
        None => {
            let found = format!("{} cannot be read within {} s", path.display(), TIME.as_secs());
            (Finding::missing(check, found, "name a file with `--config`"), None)
        }
    }
}

/// A number with its noun: `1 card`, `2 cards`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn hardware(machine: &Machine) -> Finding {
    match machine.alsa_cards().as_slice() {
        [] => {
            let next = "load its driver; `wav:PATH` and `null` work without hardware".to_owned();
            Finding::note("sound hardware", "none in /proc/asound/cards", next)
        }
        cards => Finding::ok("sound hardware", cards.join("; ")),
    }
}

/// One line for each device that the configuration names.
fn devices(config: &Config, told: &Told, context: &Context) -> Vec<Finding> {
    let mut uses = vec![
        ("sink".to_owned(), Direction::Playback, &config.sink),
        ("source".to_owned(), Direction::Capture, &config.source),
    ];
    for (index, rule) in (1..).zip(&config.rules) {
        uses.extend(rule.sink.iter().map(|device| (format!("sink of rule {index}"), Direction::Playback, device)));
        uses.extend(rule.source.iter().map(|device| (format!("source of rule {index}"), Direction::Capture, device)));
    }
    // All devices are asked at the same time, so that many that hang take no longer than one.
    let started = Instant::now();
    let asked: Vec<_> = uses.iter().map(|(_, direction, device)| ask((*device).clone(), *direction)).collect();
    let mut findings = Vec::new();
    for ((check, direction, device), asked) in uses.into_iter().zip(asked) {
        let left = TIME.saturating_sub(started.elapsed());
        let answer = asked.recv_timeout(left).ok();
        let word = told.of_device(&device.to_string());
        findings.push(device_finding(check, direction, device, config.capture, answer, word, context));
    }
    findings
}

type Answer = Result<Capabilities, host_audio::Error>;

/// Asks a device for its capabilities, and a server if it is there.
fn ask(device: DeviceSpec, direction: Direction) -> mpsc::Receiver<Answer> {
    let (sender, receiver) = mpsc::channel();
    // Without a thread there is no answer either.
    let _ = std::thread::Builder::new().spawn(move || {
        let nobody = StreamAddress { domain: 0, card: 0, pcm: 0, stream: 0 };
        let device = device.device(&DeviceOptions::default());
        let answer = device.check(&nobody, direction).and_then(|()| device.capabilities(&nobody, direction));
        drop(sender.send(answer));
    });
    receiver
}

/// Finding about a device. `answer` is `None` if the device did not answer us; `word` is the running daemon's last one
/// about it, which counts more: the daemon is another user, and may hold the device.
fn device_finding(
    check: String,
    direction: Direction,
    device: &DeviceSpec,
    capture: bool,
    answer: Option<Answer>,
    word: Option<Word>,
    context: &Context,
) -> Finding {
    let option = match direction {
        Direction::Playback => "sink",
        Direction::Capture => "source",
    };
    let is_server = matches!(device, DeviceSpec::Pulse { .. } | DeviceSpec::PipeWire { .. });
    let other = || {
        format!(
            "mend it, or name another: {}; until then a stream that needs it is refused, or silent",
            context.set(option, "alsa:default")
        )
    };
    match (device, word, answer) {
        (DeviceSpec::Null, ..) if direction == Direction::Playback => {
            let next = format!("to hear them: {}", context.set("sink", "alsa:default"));
            Finding::note(check, "null: what guests play is lost", next)
        }
        (DeviceSpec::Null, ..) if capture => {
            let next = format!("name one: {}", context.set("source", "alsa:default"));
            Finding::note(check, "null: guests record silence", next)
        }
        (DeviceSpec::Null, ..) => {
            let next = format!("to let them: {}", context.allow_capture());
            Finding::note(check, "null: guests may not record", next)
        }
        (device, Some(Word::Opened(time)), _) => {
            Finding::ok(check, format!("{device}: opened by the daemon at {time}"))
        }
        // The device may have become available since then.
        (device, Some(Word::Failed(time, reason)), Some(Ok(_))) if !is_server => {
            let found = format!("{device} answers now; at {time} the daemon could not use it: {reason}");
            Finding::note(check, found, Some("play something, and look again".to_owned()))
        }
        // The daemon is another user, to whom a server may be closed.
        (device, Some(Word::Failed(time, reason)), answer) => {
            let now = if matches!(answer, Some(Ok(_))) { "; to this user it answers now" } else { "" };
            Finding::missing(check, format!("{device}: the daemon could not use it at {time}: {reason}{now}"), other())
        }
        (device, None, None) => {
            let found = format!("{device} does not answer within {} s", TIME.as_secs());
            Finding::missing(check, found, other())
        }
        (device, None, Some(Ok(can))) => {
            let (rates, channels) = (can.rates_hz, can.channels);
            let found = format!(
                "{device}: {} to {} Hz, {} to {} channels",
                rates.start(),
                rates.end(),
                channels.start(),
                channels.end()
            );
            Finding::ok(check, found)
        }
        (_, None, Some(Err(error))) => Finding::missing(check, error.to_string(), other()),
    }
}
