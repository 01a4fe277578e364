//! The daemons that run on this machine, found by their processes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use host_audio::DeviceSpec;
use xen::XenSpec;

use super::advice::Served;
use super::cards::ANSWER_TIME;
use super::machine::Machine;
use super::within;

/// A process named `vsndd`, with the options that it was started with.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    pub(super) process: u32,
    /// The Xen that is served; `None` if it cannot be found out.
    xen: Option<XenSpec>,
    domain: u16,
    pub(super) config: Option<PathBuf>,
    pub(super) sink: Option<DeviceSpec>,
    pub(super) source: Option<DeviceSpec>,
    pub(super) allow_capture: bool,
}

/// The daemons of one Xen.
#[derive(Debug)]
pub(super) struct Daemons {
    emulation: bool,
    found: Vec<Daemon>,
    /// True if there may be more: processes of others are hidden, or do not tell which Xen they serve.
    unsure: bool,
}

impl Daemons {
    /// Daemons that are running. Like every other answer, the kernel's may only take `ANSWER_TIME`.
    pub(super) fn running(machine: &Machine, spec: &XenSpec) -> Self {
        let (there, wanted) = (machine.clone(), spec.clone());
        let nobody = Self { emulation: matches!(spec, XenSpec::Emu(_)), found: Vec::new(), unsure: true };
        within(ANSWER_TIME, move || Self::look(&there, &wanted)).unwrap_or(nobody)
    }

    fn look(machine: &Machine, spec: &XenSpec) -> Self {
        let mut found = Vec::new();
        let mut unsure = machine.text("/proc/1/comm").is_none();
        for entry in std::fs::read_dir(machine.path("/proc")).into_iter().flatten().flatten() {
            let process = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(daemon) = process.and_then(|process| Daemon::of(machine, process)) else { continue };
            match &daemon.xen {
                Some(xen) if same(xen, spec) => found.push(daemon),
                Some(_) => {}
                None => unsure = true,
            }
        }
        found.sort_by_key(|daemon| daemon.process);
        Self { emulation: matches!(spec, XenSpec::Emu(_)), found, unsure }
    }

    /// Daemons that serve the backends of `domain`. On the real Xen, all daemons of this machine serve its own domain.
    pub(super) fn serving(&self, domain: u16) -> Vec<&Daemon> {
        self.found.iter().filter(|daemon| !self.emulation || daemon.domain == domain).collect()
    }

    pub(super) fn served(&self, domain: u16) -> Served {
        match (self.serving(domain).is_empty(), self.unsure) {
            (false, _) => Served::Yes,
            (true, false) => Served::No,
            (true, true) => Served::Unknown,
        }
    }

    pub(super) fn all(&self) -> &[Daemon] {
        &self.found
    }

    pub(super) fn is_unsure(&self) -> bool {
        self.unsure
    }
}

impl Daemon {
    fn of(machine: &Machine, process: u32) -> Option<Self> {
        if machine.text(&format!("/proc/{process}/comm"))? != "vsndd" {
            return None;
        }
        let strings = |name: &str| {
            let bytes = std::fs::read(machine.path(&format!("/proc/{process}/{name}"))).ok()?;
            let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
            Some(parts.map(|part| OsString::from_vec(part.to_vec())).collect::<Vec<_>>())
        };
        let arguments = strings("cmdline")?;
        // A process that has ended and was not waited for yet has no arguments any more.
        if arguments.is_empty() || arguments.iter().any(|argument| argument == "--check-config") {
            return None;
        }
        let cwd = std::fs::read_link(machine.path(&format!("/proc/{process}/cwd"))).ok();
        let absolute = |path: &Path| cwd.as_ref().map_or(path.to_owned(), |cwd| cwd.join(path));
        let xen = match (option(&arguments, "--xen"), strings("environ")) {
            (Some(spec), _) => Some(spec),
            (None, Some(variables)) => {
                let variable = variables.iter().find_map(|variable| variable.to_str()?.strip_prefix("VSND_XEN="));
                Some(variable.unwrap_or("dev").to_owned())
            }
            (None, None) => None,
        };
        let xen = xen.and_then(|text| text.parse().ok()).map(|spec| match spec {
            XenSpec::Emu(dir) => XenSpec::Emu(absolute(&dir)),
            XenSpec::Dev => XenSpec::Dev,
        });
        let device = |name| option(&arguments, name).and_then(|text| text.parse().ok());
        Some(Self {
            process,
            xen,
            domain: option(&arguments, "--domain").and_then(|text| text.parse().ok()).unwrap_or(0),
            config: option(&arguments, "--config").map(|path| absolute(Path::new(&path))),
            sink: device("--sink"),
            source: device("--source"),
            allow_capture: arguments.iter().any(|argument| argument == "--allow-capture"),
        })
    }
}

/// The value of `--name VALUE` or `--name=VALUE`.
fn option(arguments: &[OsString], name: &str) -> Option<String> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if argument == name {
            return arguments.next().map(String::from);
        }
        if let Some(value) = argument.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

fn same(one: &XenSpec, other: &XenSpec) -> bool {
    match (one, other) {
        (XenSpec::Dev, XenSpec::Dev) => true,
        (XenSpec::Emu(one), XenSpec::Emu(other)) => {
            let real = |path: &Path| path.canonicalize().unwrap_or(path.to_owned());
            real(one) == real(other)
        }
        _ => false,
    }
}
