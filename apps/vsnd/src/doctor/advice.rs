//! Meaning of the states of a card's two ends, and the next step.

use std::path::{Path, PathBuf};

use sndif::XenbusState;
use xen::XenSpec;

use super::CARD;
use super::machine::Driver;
use super::report::{Finding, State};
use super::shell::shell_word;

/// Presence of a daemon that serves a domain's backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    Yes,
    No,
    /// The daemon runs elsewhere, or its process cannot be seen.
    Unknown,
}

/// Place where the doctor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Emulation,
    Host,
    /// In a guest, with or without the kernel's driver.
    Guest {
        driver: bool,
    },
}

/// Facts that the recommended commands depend on.
#[derive(Debug, Clone)]
pub(super) struct Context {
    place: Place,
    /// Our domain, if it is known.
    own: u16,
    /// Options that lead `vsnd` and `vsndd` to this Xen, and `vsnd emu`; empty if they find it by themselves.
    xen_option: String,
    dir_option: String,
    /// Options with which a daemon is heard, and follows the configuration that was examined.
    pub(super) start_options: String,
    /// True if the daemon is installed as a service: then only the service is started and configured, no daemon by
    /// hand.
    pub(super) packaged: bool,
    /// Default path of the daemon's control socket.
    pub(super) socket: PathBuf,
    /// Name of the guest's driver in /sys/bus/xen/drivers; that of Linux's driver if nothing is known.
    on_bus: &'static str,
    /// True on a machine on which Xen, as Debian builds it, keeps guests from each other.
    pub(super) arm: bool,
}

/// States of a card's two ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) frontend: XenbusState,
    pub(super) backend: XenbusState,
    /// False if the toolstack wants the card to be removed.
    pub(super) online: bool,
    pub(super) daemon: Served,
}

/// Meaning of the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Diagnosis {
    Works,
    /// Nobody in the guest plays or records; in the emulation nobody needs to.
    Idle,
    /// Between two states that do not last.
    Settling,
    Detaching,
    NoDaemon,
    DaemonGone,
    LeftAlone,
    ClosedByDaemon,
    NoDriver,
    DriverIdle,
    LetGo,
    Held,
    NoFrontend,
    NoBackend,
}

impl Diagnosis {
    pub(super) fn of(ends: Ends, place: Place) -> Self {
        use XenbusState as S;
        match (ends.frontend, ends.backend) {
            (_, S::Unknown) => Self::NoBackend,
            (S::Unknown, _) => Self::NoFrontend,
            _ if !ends.online => Self::Detaching,
            (_, S::Initialising) if ends.daemon == Served::Yes => Self::LeftAlone,
            (_, S::Initialising) => Self::NoDaemon,
            _ if ends.daemon == Served::No => Self::DaemonGone,
            (S::Reconfiguring, _) => Self::Held,
            (_, S::Closing | S::Closed) => Self::ClosedByDaemon,
            (S::Connected, S::Connected) => Self::Works,
            (_, S::Connected) | (S::Initialised | S::Connected | S::Reconfigured, _) => Self::Settling,
            _ => match place {
                Place::Emulation => Self::Idle,
                Place::Guest { driver: false } => Self::NoDriver,
                _ if matches!(ends.frontend, S::Closing | S::Closed) => Self::LetGo,
                Place::Host => Self::NoDriver,
                Place::Guest { driver: true } => Self::DriverIdle,
            },
        }
    }

    pub(super) fn state(self) -> State {
        match self {
            Self::Works => State::Ok,
            Self::Idle | Self::Settling | Self::Detaching => State::Note,
            _ => State::Missing,
        }
    }

    pub(super) fn words(self, place: Place) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Idle => "nobody plays or records",
            Self::Settling => "the two ends are about to connect, or to part",
            Self::Detaching => "it is being detached",
            Self::NoDaemon => "no daemon serves it",
            Self::DaemonGone => "the daemon that served it is gone",
            Self::LeftAlone => "the daemon leaves it alone",
            Self::ClosedByDaemon => "its daemon has closed it, or has ended",
            Self::NoDriver if matches!(place, Place::Guest { .. }) => "no driver has taken it",
            Self::NoDriver => "the guest has no driver, or has not booted yet",
            Self::DriverIdle => "the driver has not taken it",
            Self::LetGo => "the guest's driver has let it go",
            Self::Held => "a program in the guest still holds what was before",
            Self::NoFrontend => "the guest's half is missing",
            Self::NoBackend => "the host's half is missing, or hidden from us",
        }
    }
}

impl Context {
    pub(super) fn real(own: Option<u16>, driver: Option<&'static Driver>) -> Self {
        let place = match own {
            Some(0) | None => Place::Host,
            Some(_) => Place::Guest { driver: driver.is_some() },
        };
        Self {
            place,
            own: own.unwrap_or(0),
            xen_option: String::new(),
            dir_option: String::new(),
            start_options: String::new(),
            packaged: false,
            socket: control::socket_of(&XenSpec::Dev),
            on_bus: driver.map_or("vsnd", |driver| driver.on_bus),
            arm: cfg!(target_arch = "aarch64"),
        }
    }

    /// Context without a Xen.
    pub(super) fn nowhere() -> Self {
        Self::real(None, None)
    }

    /// Context of the emulation in `dir`; `variable` is the value of `VSND_XEN`, which may replace the options.
    pub(super) fn emulated(dir: &Path, variable: Option<&str>) -> Self {
        let spec = XenSpec::Emu(dir.to_owned());
        let named = variable.and_then(|text| text.parse().ok()) == Some(spec.clone());
        let option = |name: &str, value: String| if named { String::new() } else { format!(" {name} {value}") };
        Self {
            place: Place::Emulation,
            own: 0,
            xen_option: option("--xen", shell_word(&spec.to_string())),
            dir_option: option("--dir", shell_word(&dir.display().to_string())),
            start_options: String::new(),
            packaged: false,
            socket: control::socket_of(&spec),
            on_bus: "vsnd",
            arm: false,
        }
    }

    /// The place with respect to a card of `guest`: a driver domain is the host of the guests that it serves.
    pub(super) fn place(&self, guest: u16) -> Place {
        match self.place {
            Place::Guest { .. } if guest != self.own => Place::Host,
            place => place,
        }
    }

    /// The next step, if there is any.
    pub(super) fn next(
        &self,
        diagnosis: Diagnosis,
        guest: u16,
        card: u32,
        backend: u16,
        only_captures: bool,
    ) -> Option<String> {
        let place = self.place(guest);
        Some(match diagnosis {
            Diagnosis::Works => return None,
            Diagnosis::Idle if only_captures => {
                let place = format!("{}{}", self.xen_option, domain(guest, 1));
                format!("record something: `vsnd record heard.wav --seconds 5{place}`")
            }
            Diagnosis::Idle => format!("play something: `vsnd play FILE.wav{}{}`", self.xen_option, domain(guest, 1)),
            Diagnosis::Settling => "look again in a moment; if it stays so, the daemon's log says why".into(),
            Diagnosis::Detaching => "look again in a moment".into(),
            Diagnosis::NoDaemon | Diagnosis::DaemonGone => self.start_daemon(backend),
            Diagnosis::ClosedByDaemon if place != Place::Emulation && backend != self.own => {
                format!("see in domain {backend} whether `vsndd` runs, and what its log says")
            }
            Diagnosis::LeftAlone | Diagnosis::ClosedByDaemon => self.daemon_log(),
            Diagnosis::NoDriver if matches!(place, Place::Guest { .. }) => "`modprobe snd_xen_front`".into(),
            Diagnosis::NoDriver => "`modprobe snd_xen_front` in the guest".into(),
            Diagnosis::DriverIdle => "`dmesg` says why; or restart this guest".into(),
            // The guest's driver was refused a channel to the other guest.
            Diagnosis::LetGo if self.arm && backend != 0 => {
                format!(
                    "on Arm a guest talks to domain {backend} only with `xsm=dummy` on Xen's command line; restart the host with it"
                )
            }
            Diagnosis::LetGo => {
                let load = if matches!(place, Place::Host) { "in the guest `modprobe snd_xen_front`, or " } else { "" };
                format!(
                    "{load}`echo vsnd-{card} > /sys/bus/xen/drivers/{}/bind`; if nothing helps, restart the guest",
                    self.on_bus
                )
            }
            Diagnosis::Held => "end that program: `fuser -v /dev/snd/*` in the guest names it".into(),
            Diagnosis::NoFrontend | Diagnosis::NoBackend if matches!(place, Place::Guest { .. }) => {
                format!("on the host: {}", self.attach_again(guest, card))
            }
            Diagnosis::NoFrontend | Diagnosis::NoBackend => self.attach_again(guest, card),
        })
    }

    /// Advice to start a daemon in domain `backend`.
    pub(super) fn start_daemon(&self, backend: u16) -> String {
        match self.place {
            Place::Emulation => {
                format!("start it: `vsndd{}{}{}`", self.xen_option, domain(backend, 0), self.start_options)
            }
            _ if backend == self.own && self.packaged => {
                "start it: `systemctl start vsndd`; `journalctl -u vsndd` says why it ended".to_owned()
            }
            _ if backend == self.own => format!("start it: `vsndd{}`", self.start_options),
            _ => format!("start `vsndd` in domain {backend}"),
        }
    }

    /// Advice to set a key of a daemon's configuration, or its option.
    pub(super) fn set(&self, key: &str, device: &str) -> String {
        if self.packaged {
            format!("`{key} = \"{device}\"` in /etc/vsnd/vsndd.toml, then `systemctl reload vsndd`")
        } else {
            format!("`{key} = \"{device}\"` in its configuration, or `--{key} {device}` when it is started")
        }
    }

    /// Advice to allow capture.
    pub(super) fn allow_capture(&self) -> String {
        if self.packaged {
            "`source = \"alsa:default\"` and `capture = true` in /etc/vsnd/vsndd.toml, then `systemctl reload vsndd`"
                .to_owned()
        } else {
            "`source = \"alsa:default\"` and `capture = true` in its configuration, or `--source alsa:default --allow-capture` \
             when it is started"
                .to_owned()
        }
    }

    /// Advice to look into the daemon's log.
    pub(super) fn daemon_log(&self) -> String {
        if self.packaged { "`journalctl -u vsndd` says why".to_owned() } else { "the daemon's log says why".to_owned() }
    }

    fn attach_again(&self, guest: u16, card: u32) -> String {
        match self.place {
            Place::Emulation => format!(
                "attach it again: `vsnd emu detach{dir} --domain {guest} --card {card}`, then `vsnd emu attach{dir} …`",
                dir = self.dir_option
            ),
            _ => format!("attach it again: `xl vsnd-detach {guest} {card}`, then `xl vsnd-attach {guest} …`"),
        }
    }

    /// Finding that there is no card at all.
    pub(super) fn no_card(&self, own: u16) -> Finding {
        match self.place {
            Place::Emulation => {
                let next = format!("attach one: `vsnd emu attach{} --domain 1 \"{CARD}\"`", self.dir_option);
                Finding::missing("cards", "no guest has a sound card", next)
            }
            Place::Host => {
                let next = format!("add `{CARD}` to a guest's xl.cfg, and start it again");
                Finding::missing("cards", "no guest has a sound card", next)
            }
            Place::Guest { .. } => {
                let next = format!("on the host: add `{CARD}` to this guest's xl.cfg, and start it again");
                Finding::missing("cards", format!("this guest, domain {own}, has no sound card"), next)
            }
        }
    }

    pub(super) fn is_emulation(&self) -> bool {
        self.place == Place::Emulation
    }
}

/// The option for a domain that is not the usual one.
fn domain(domain: u16, usual: u16) -> String {
    if domain == usual { String::new() } else { format!(" --domain {domain}") }
}
