//! The kernel's information on Xen: the hypervisor, device files, the store, the guest's driver.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use xenstore::Error;

use super::report::Finding;
use super::shell::shell_word;

/// Device files, and the modules that provide them.
const DEVICE_FILES: [(&str, &str); 4] =
    [("evtchn", "xen-evtchn"), ("gntdev", "xen-gntdev"), ("gntalloc", "xen-gntalloc"), ("xenbus", "xenfs")];

/// Reason why the store's contents are unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum SurveyError {
    #[error("there is neither a store daemon's socket nor a store device")]
    NoStore,
    #[error("the store does not answer")]
    Hangs,
    #[error("the store's node `domid` holds `{0}`, which is no domain's number")]
    NoDomain(String),
    #[error(transparent)]
    Store(#[from] Error),
}

/// A driver that a guest may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Driver {
    module: &'static str,
    /// Name of the driver in /sys/bus/xen/drivers.
    pub(super) on_bus: &'static str,
}

/// Our own driver and Linux's; if both are loaded, ours gets new devices.
pub(super) const DRIVERS: [Driver; 2] =
    [Driver { module: "vsnd_front", on_bus: "vsnd_front" }, Driver { module: "snd_xen_front", on_bus: "vsnd" }];

/// A file system to look at; in tests not that of this machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    root: PathBuf,
    /// Place of the store, if the environment names it.
    store: Option<PathBuf>,
}

impl Machine {
    pub(super) fn this() -> Self {
        Self { root: "/".into(), store: std::env::var_os("XENSTORED_PATH").map(PathBuf::from) }
    }

    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), store: None }
    }

    /// An absolute path, below the root that is looked at.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a small file; `None` if it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        std::fs::read(self.path(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Returns true if the daemon is installed as a service.
    pub(super) fn has_unit(&self) -> bool {
        let directories = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
        directories.iter().any(|directory| self.has(&format!("{directory}/vsndd.service")))
    }

    /// Xen with its version, if this is Xen.
    pub(super) fn hypervisor(&self) -> Option<String> {
        let named = self.text("/sys/hypervisor/type").as_deref() == Some("xen");
        if !named && !self.has("/proc/xen/capabilities") && !self.has("/dev/xen/xenbus") {
            return None;
        }
        let part = |name: &str| self.text(&format!("/sys/hypervisor/version/{name}"));
        Some(match (part("major"), part("minor")) {
            (Some(major), Some(minor)) => format!("Xen {major}.{minor}{}", part("extra").unwrap_or_default()),
            _ => "Xen of unknown version".to_owned(),
        })
    }

    /// Description of what there is instead of Xen.
    pub(super) fn no_hypervisor(&self) -> String {
        match self.text("/sys/hypervisor/type") {
            Some(other) => format!("no Xen here: the hypervisor is `{other}`"),
            None => "no Xen here: this kernel runs without it (no /sys/hypervisor/type)".to_owned(),
        }
    }

    /// Returns true if this is domain 0; `None` if xenfs is not mounted.
    pub(super) fn is_control_domain(&self) -> Option<bool> {
        self.text("/proc/xen/capabilities").map(|text| text.split_whitespace().any(|word| word == "control_d"))
    }

    pub(super) fn xenfs(&self) -> Finding {
        if self.has("/proc/xen/capabilities") {
            return Finding::ok("xenfs", "mounted at /proc/xen");
        }
        let next = "`mount -t xenfs xenfs /proc/xen`, if Xen's tools ask for it".to_owned();
        Finding::note("xenfs", "not mounted at /proc/xen; vsnd does without", next)
    }

    /// Findings about the device files; `store` is the place of the store.
    pub(super) fn device_files(&self, host: bool, store: Option<&Path>) -> Vec<Finding> {
        let store_device = self.path("/dev/xen/xenbus");
        let finding = |(name, module): (&str, &str)| {
            let check = format!("/dev/xen/{name}");
            let path = self.path(&check);
            let (needed, others) = match name {
                "xenbus" => (store.is_none_or(|store| store == store_device), "the store has a socket"),
                "gntalloc" if host => (false, "only a guest's `vsnd play` needs it"),
                _ if host => (true, ""),
                _ => (false, "only `vsnd play` and `vsnd record` need it, the kernel's driver does not"),
            };
            if !path.exists() {
                let load = format!("`modprobe {module}`");
                return match needed {
                    true => Finding::missing(check, "not there", load),
                    false => Finding::note(check, format!("not there; {others}"), load),
                };
            }
            let both = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
            match rustix::fs::access(&path, both) {
                Ok(()) => Finding::ok(check, "there"),
                Err(error) => {
                    let error = std::io::Error::from(error);
                    Finding::note(check, format!("there, but not for this user: {error}"), as_root())
                }
            }
        };
        DEVICE_FILES.into_iter().map(finding).collect()
    }

    /// Place of the store, found in the same way as in all of this project.
    pub(super) fn store(&self) -> Option<PathBuf> {
        let socket = self.path("/run/xenstored/socket");
        let device = self.path("/dev/xen/xenbus");
        self.store.clone().or_else(|| [socket, device].into_iter().find(|path| path.exists()))
    }

    pub(super) fn store_finding(&self, place: Option<&Path>, survey: Result<(), &SurveyError>, zero: bool) -> Finding {
        let check = "XenStore";
        let error = match (survey, place) {
            (Ok(()), Some(place)) => return Finding::ok(check, format!("answers at {}", place.display())),
            (Ok(()), None) => return Finding::ok(check, "answers"),
            (Err(error), _) => error,
        };
        let start = "start Xen's services: `systemctl start xenstored xen-init-dom0` (Debian: `systemctl start xen`)";
        let next = match error {
            error if kind(error) == Some(ErrorKind::PermissionDenied) => as_root(),
            SurveyError::Store(_) | SurveyError::NoDomain(_) | SurveyError::Hangs | SurveyError::NoStore if zero => {
                start.to_owned()
            }
            SurveyError::NoStore => "`modprobe xenfs`; in domain 0 start xenstored".to_owned(),
            _ => "restart this guest; its store is in domain 0".to_owned(),
        };
        let at = place.map_or(String::new(), |place| format!(" (at {})", place.display()));
        Finding::missing(check, format!("{error}{at}"), next)
    }

    /// The driver of sound that this kernel has, as a module or built in.
    pub(super) fn driver(&self) -> Option<&'static Driver> {
        let modules = self.text("/proc/modules").unwrap_or_default();
        let loaded = |name: &str| modules.lines().any(|line| line.split(' ').next() == Some(name));
        let bound = |driver: &Driver| self.has(&format!("/sys/bus/xen/drivers/{}", driver.on_bus));
        DRIVERS.iter().find(|driver| loaded(driver.module) || bound(driver))
    }

    /// The cards of ALSA: number, identifier, driver and name as the kernel lists them.
    pub(super) fn alsa_cards(&self) -> Vec<String> {
        let text = self.text("/proc/asound/cards").unwrap_or_default();
        text.lines().filter(|line| line.contains("]: ")).map(|line| line.trim().to_owned()).collect()
    }

    /// Finding about the ALSA card that the kernel's driver makes of a connected card.
    pub(super) fn alsa_card(&self) -> Finding {
        // The driver leaves the card's name empty.
        match self.alsa_cards().iter().find(|card| card.contains("]: vsnd -")) {
            Some(card) => Finding::ok("ALSA card", card),
            None => {
                let found = "none of driver vsnd in /proc/asound/cards, though a card is connected";
                Finding::missing("ALSA card", found, "`dmesg` says why")
            }
        }
    }
}

pub(super) fn driver_finding(driver: Option<&Driver>) -> Finding {
    if let Some(driver) = driver {
        return Finding::ok("driver", format!("{} is loaded", driver.module));
    }
    let next = "`modprobe snd_xen_front`, or `modprobe vsnd_front` where that is installed; where the kernel has none, \
                `vsnd play` and `vsnd record` do without";
    Finding::missing("driver", "neither vsnd_front nor snd_xen_front is loaded", next)
}

/// Description of this domain.
pub(super) fn this_is(own: Option<u16>, host: bool) -> String {
    match own {
        Some(0) => "this is domain 0, the host".to_owned(),
        Some(own) if host => format!("this is domain {own}, a driver domain"),
        Some(own) => format!("this is domain {own}, a guest"),
        None => "which domain this is, only the store knows".to_owned(),
    }
}

/// Reason why the emulation cannot be used, and the next step.
pub(super) fn no_emulation(dir: &Path, error: &SurveyError) -> (String, String) {
    let word = shell_word(&dir.display().to_string());
    let dir = dir.display();
    match kind(error) {
        Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory) => {
            (format!("no emulated Xen runs in {dir}"), format!("start one: `vsnd emu --dir {word}`"))
        }
        Some(ErrorKind::PermissionDenied) => {
            (format!("{dir} is closed to this user"), "ask as the user who started the emulation".to_owned())
        }
        _ => (
            format!("the emulated Xen in {dir} cannot be used: {error}"),
            format!("end it, and start it again: `vsnd emu --dir {word}`"),
        ),
    }
}

fn kind(error: &SurveyError) -> Option<ErrorKind> {
    match error {
        SurveyError::Store(Error::Io { cause, .. }) => Some(cause.kind()),
        _ => None,
    }
}

fn as_root() -> String {
    "ask again as root: `sudo vsnd doctor`".to_owned()
}
