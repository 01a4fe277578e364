//! Files that the daemon can reach, enforced by landlock.
//!
//! No file can be executed, except this program by the broker, for its workers. Connecting to a Unix socket needs no
//! right here: `PULSE_SERVER`, the store and the service manager are reached through sockets.

use std::path::{Path, PathBuf};

use config::Config;
use host_audio::DeviceSpec;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use sndif::store::Direction;
use tracing::{debug, warn};

/// The newest landlock whose file rights are known here: it restricts `ioctl` on devices. Kernels with an older one
/// enforce what they know.
const FILES_ABI: ABI = ABI::V5;
/// The first landlock that keeps signals from reaching processes outside.
const SIGNALS_ABI: ABI = ABI::V6;

/// Files to read: libraries, and the configuration of ALSA, of the sound servers' clients and of the name service.
const READ: &[&str] = &[
    "/usr",
    "/lib",
    "/lib64",
    "/etc/alsa",
    "/etc/asound.conf",
    "/etc/pulse",
    "/etc/pipewire",
    "/etc/machine-id",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/vsnd",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/var/lib/alsa",
    "/proc/asound",
    "/proc/cpuinfo",
    "/proc/self",
    "/sys/class/sound",
    "/sys/devices",
    "/dev/urandom",
];
/// Files to read in the home directory of the user, who may run the daemon by hand.
const READ_AT_HOME: &[&str] =
    &[".asoundrc", ".config/alsa", ".config/pulse", ".config/pipewire", ".pulse", ".pulse-cookie"];
/// Variables that name such files; those of ALSA may name several.
const READ_VARIABLES: &[&str] =
    &["ALSA_CONFIG_PATH", "ALSA_CONFIG_DIR", "ALSA_PLUGIN_DIR", "PULSE_COOKIE", "PULSE_RUNTIME_PATH"];

/// Device files: Xen's, of which each event channel is an open file of its own, and sound cards, which come and go.
const XEN: &str = "/dev/xen";
const DEVICES: &[&str] = &[SOUND_CARDS, "/dev/null"];
const SOUND_CARDS: &str = "/dev/snd";

/// Directories in which files are made: recordings, and what libraries share with servers.
const WRITE: &[&str] = &["/var/lib/vsnd/recordings", "/dev/shm"];

/// Directory of the socket through which players that use ALSA's `dmix` find each other. Nothing there can be read.
const SOCKETS: &str = "/tmp";

/// Makes the directory of sound cards if there is none yet: one that the kernel makes later would be out of reach.
pub(super) fn await_sound_cards(config: &Config) {
    if config.devices().any(|(device, _)| matches!(device, DeviceSpec::Alsa(_))) {
        // Only root can, and only root starts before the cards are there. The kernel uses a directory that it finds.
        let _ = std::fs::create_dir(SOUND_CARDS);
    }
}

/// The files within reach. A file that does not exist when the sandbox is entered cannot be reached later either.
#[derive(Debug)]
pub(super) struct Reach {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    devices: Vec<PathBuf>,
    /// The program itself and its loader.
    execute: Vec<PathFd>,
    /// Directory in which control groups are made.
    groups: Option<PathBuf>,
}

/// The program itself and its loader, opened while the directories on the way to them can be passed.
#[derive(Debug)]
pub(super) struct ThisProgram(Vec<PathFd>);

impl Reach {
    /// Files that the configuration and the environment name, and those that are always needed.
    pub(super) fn of<'a>(
        config: &Config,
        config_path: Option<&Path>,
        writable: impl Iterator<Item = &'a Path>,
        ThisProgram(execute): ThisProgram,
    ) -> Self {
        let mut read: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
        if let Some(home) = std::env::var_os("HOME") {
            read.extend(READ_AT_HOME.iter().map(|name| Path::new(&home).join(name)));
        }
        // libpulse opens the directory of a socket before it connects.
        read.extend(std::env::var_os("XDG_RUNTIME_DIR").map(|session| Path::new(&session).join("pulse")));
        let named = READ_VARIABLES.iter().filter_map(std::env::var_os);
        read.extend(named.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>()));
        // An editor replaces the file by a new one: only its directory stays the same.
        read.extend(config_path.filter(|path| path.is_file()).map(directory_of));
        let mut write: Vec<PathBuf> = WRITE.iter().map(PathBuf::from).chain(writable.map(Path::to_owned)).collect();
        for (device, direction) in config.devices() {
            match (device, direction) {
                (DeviceSpec::Wav(path), Direction::Playback) => write.push(fixed_directory(path)),
                (DeviceSpec::Wav(path), Direction::Capture) => read.push(fixed_directory(path)),
                _ => {}
            }
        }
        let devices = DEVICES.iter().chain([&XEN]).map(PathBuf::from).collect();
        Self { read, write, devices, execute, groups: None }
    }

    /// Returns true if files in `directory` can be written.
    pub(super) fn writes(&self, directory: &Path) -> bool {
        let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let directory = whole(directory);
        self.write.iter().any(|path| directory.starts_with(whole(path)))
    }

    /// Adds the directory in which control groups are made.
    pub(super) fn with_groups(self, groups: Option<&Path>) -> Self {
        Self { groups: groups.map(Path::to_owned), ..self }
    }

    /// Leaves out Xen's devices, in whose place a worker is lent what it needs.
    pub(super) fn of_a_worker(self) -> Self {
        Self { devices: DEVICES.iter().map(PathBuf::from).collect(), ..self }
    }

    /// Restricts this process, and those that it starts, to these files.
    ///
    /// # Errors
    /// This kernel cannot enforce something, or the system refused; what can be enforced is, even then.
    pub(super) fn enforce(&self) -> Result<(), String> {
        for missing in self.write.iter().filter(|path| !path.exists()) {
            debug!("{} is not there, and stays out of reach", missing.display());
        }
        let restrict = || {
            let read = AccessFs::ReadFile | AccessFs::ReadDir;
            let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
            let execute = AccessFs::ReadFile | AccessFs::Execute;
            let write = read
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::MakeSock
                | AccessFs::RemoveFile;
            let group = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeDir | AccessFs::RemoveDir;
            let sockets: BitFlags<AccessFs> = AccessFs::MakeSock | AccessFs::RemoveFile;
            Ruleset::default()
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(AccessFs::from_all(FILES_ABI))?
                .scope(Scope::from_all(SIGNALS_ABI) & Scope::Signal)?
                .create()?
                .add_rules(path_beneath_rules(&self.read, read))?
                .add_rules(path_beneath_rules(&self.devices, device))?
                .add_rules(self.execute.iter().map(|file| Ok::<_, RulesetError>(PathBeneath::new(file, execute))))?
                .add_rules(path_beneath_rules(&self.write, write))?
                .add_rules(path_beneath_rules([SOCKETS], sockets))?
                .add_rules(path_beneath_rules(&self.groups, group))?
                .restrict_self()
        };
        match restrict().map_err(|error: RulesetError| error.to_string())?.ruleset {
            RulesetStatus::FullyEnforced => Ok(()),
            RulesetStatus::PartiallyEnforced => {
                // Files are what matters; ioctls are restricted a second time with the system calls.
                warn!("this kernel's landlock is older than this program: it restricts files, and less of the rest");
                Ok(())
            }
            RulesetStatus::NotEnforced => Err("this kernel has no landlock, or it is not enabled".into()),
        }
    }
}

impl ThisProgram {
    /// No file: nothing can be executed.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// The files that the kernel executes when this program is started.
    pub(super) fn open() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mapped = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5)).map(PathBuf::from);
        let is_loader =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux"));
        let mut files: Vec<PathBuf> = mapped.filter(is_loader).collect();
        files.dedup();
        files.push("/proc/self/exe".into());
        Self(files.iter().filter_map(|file| PathFd::new(file).ok()).collect())
    }
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// The directory that all files of a WAV path lie in, whatever stands for its placeholders.
fn fixed_directory(path: &Path) -> PathBuf {
    let directory = directory_of(path);
    directory.components().take_while(|part| !part.as_os_str().to_string_lossy().contains('{')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_wav_path_has_no_placeholder() {
        assert_eq!(fixed_directory(Path::new("/var/lib/{domain}-x.wav")), Path::new("/var/lib"));
        assert_eq!(fixed_directory(Path::new("/srv/{domain}/sound/x.wav")), Path::new("/srv"));
        assert_eq!(fixed_directory(Path::new("x.wav")), Path::new("."));
    }

    #[test]
    fn the_directories_of_configured_wav_files_are_within_reach_and_sources_only_to_read() {
        let text = "sink = \"wav:/a/x.wav\"\nsource = \"wav:/b/x.wav\"\n[[rule]]\nsink = \"wav:/c/{card}.wav\"\n";
        let config = Config::parse(text, Path::new("f.toml")).unwrap();
        let reach = Reach::of(&config, None, [Path::new("/d")].into_iter(), ThisProgram::none());
        for path in ["/a", "/c", "/d"] {
            assert!(reach.write.contains(&path.into()), "{path}");
        }
        assert!(["/a", "/c/5", "/d/x"].iter().all(|path| reach.writes(Path::new(path))));
        assert!(["/b", "/", "/var/lib/vsnd", "/run/vsnd"].iter().all(|path| !reach.writes(Path::new(path))));
        assert!(reach.read.contains(&"/b".into()) && !reach.write.contains(&"/b".into()));
    }
}
