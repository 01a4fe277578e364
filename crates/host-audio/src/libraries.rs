//! Libraries that devices load by their names when they are opened, beside those that the program is linked with.

use crate::DeviceSpec;
#[cfg(feature = "alsa")]
use crate::alsa;
use crate::pulse::ServerAddress;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of PipeWire that its clients' configuration names.
const MODULES: &[&str] =
    &["rt", "protocol-native", "client-node", "client-device", "adapter", "metadata", "session-manager"];
/// Plugins of PipeWire that a client uses.
const PLUGINS: &[&str] =
    &["support/libspa-support.so", "support/libspa-dbus.so", "audioconvert/libspa-audioconvert.so"];

/// Order in which names of hosts are looked up, and in what.
const NAME_SERVICE: &str = "/etc/nsswitch.conf";

/// Libraries that these devices may load when they are opened, as far as they are there; `loaded` are the libraries of
/// this program. May wait for two seconds.
#[must_use]
pub fn libraries<'a>(devices: impl IntoIterator<Item = &'a DeviceSpec>, loaded: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut libraries = BTreeSet::new();
    let (mut pcms, mut pipewire, mut names) = (Vec::new(), false, false);
    for device in devices {
        match device {
            DeviceSpec::Alsa(name) => pcms.push(name.as_str()),
            DeviceSpec::PipeWire { .. } => pipewire = true,
            DeviceSpec::Pulse { server, .. } => {
                let address = server.clone().unwrap_or_else(ServerAddress::usual);
                names |= matches!(address, ServerAddress::Tcp(..));
            }
            DeviceSpec::Null | DeviceSpec::Wav(_) => {}
        }
    }
    #[cfg(feature = "alsa")]
    if !pcms.is_empty() {
        let needs = alsa::needs(&pcms, &plugin_directory(loaded));
        pipewire |= needs.types.contains("pipewire");
        names |= needs.types.contains("pulse") && matches!(ServerAddress::usual(), ServerAddress::Tcp(..));
        libraries.extend(needs.libraries);
    }
    if pipewire {
        libraries.extend(of_pipewire(loaded));
    }
    if names {
        libraries.extend(of_name_service(loaded));
    }
    libraries
}

/// Directories in which a library of a name that begins like this, and the plugins that it was built with, can be: its
/// own one, and those of the systems that have all programs below `/usr`.
fn directories_of(loaded: &[PathBuf], name: &str) -> Vec<PathBuf> {
    let is_it = |path: &&PathBuf| path.file_name().unwrap_or_default().to_string_lossy().starts_with(name);
    let own = loaded.iter().find(is_it).and_then(|path| path.parent());
    let usual =
        [&format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH), "/usr/lib64", "/usr/lib"].map(PathBuf::from);
    own.map(Path::to_owned).into_iter().chain(usual).collect()
}

/// The file of this name in the first of the directories that has it.
fn in_first(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Directory of ALSA's plugins.
#[cfg(feature = "alsa")]
fn plugin_directory(loaded: &[PathBuf]) -> PathBuf {
    let found = || {
        let all = directories_of(loaded, "libasound.so").into_iter().map(|directory| directory.join("alsa-lib"));
        all.clone().find(|path| path.is_dir()).or_else(|| all.last()).unwrap_or_default()
    };
    std::env::var_os("ALSA_PLUGIN_DIR").map_or_else(found, PathBuf::from)
}

fn of_pipewire(loaded: &[PathBuf]) -> Vec<PathBuf> {
    // The library itself may come with an ALSA plugin, later.
    let directories = [directories_of(loaded, "libpipewire-0.3.so"), directories_of(loaded, "libasound.so")].concat();
    let modules = MODULES.iter().map(|name| format!("pipewire-0.3/libpipewire-module-{name}.so"));
    let plugins = PLUGINS.iter().map(|name| format!("spa-0.2/{name}"));
    modules.chain(plugins).filter_map(|name| in_first(&directories, &name)).collect()
}

/// Libraries in which the C library looks up the names of hosts.
fn of_name_service(loaded: &[PathBuf]) -> Vec<PathBuf> {
    let directories = directories_of(loaded, "libc.so.");
    let text = fs::read_to_string(NAME_SERVICE).unwrap_or_default();
    let hosts = text.lines().filter_map(|line| line.trim().strip_prefix("hosts:"));
    let services = hosts.flat_map(str::split_whitespace).filter(|word| !word.contains(['[', '=', ']']));
    services.filter_map(|service| in_first(&directories, &format!("libnss_{service}.so.2"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_plugins_needs_nothing() {
        let devices = ["null", "wav:/tmp/x.wav", "pulse@unix:/run/x"];
        let devices = devices.map(|text| text.parse::<DeviceSpec>().unwrap());
        assert_eq!(libraries(&devices, &[]), BTreeSet::new());
    }

    #[test]
    fn pipewires_modules_are_beside_its_library() {
        let root = tempfile::tempdir().unwrap();
        let wanted = ["pipewire-0.3/libpipewire-module-client-node.so", "spa-0.2/audioconvert/libspa-audioconvert.so"];
        for name in wanted.into_iter().chain(["pipewire-0.3/libpipewire-module-avb.so"]) {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let loaded = ["libc.so.6", "libpipewire-0.3.so.0"].map(|name| root.path().join(name));
        let device: DeviceSpec = "pipewire".parse().unwrap();
        let found = libraries([&device], &loaded);
        // Others may come from the system.
        let found: BTreeSet<PathBuf> = found.into_iter().filter(|path| path.starts_with(root.path())).collect();
        assert_eq!(found, BTreeSet::from(wanted.map(|name| root.path().join(name))));
    }

    #[test]
    fn a_library_that_is_elsewhere_has_its_plugins_below_usr() {
        let directories = directories_of(&["/lib/libpipewire-0.3.so.0".into()], "libpipewire-0.3.so");
        assert_eq!(directories.first(), Some(&PathBuf::from("/lib")));
        let usual = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        assert!(directories.contains(&PathBuf::from(usual)), "{directories:?}");
        assert_eq!(in_first(&["/nowhere".into(), "/etc".into()], "passwd"), Some("/etc/passwd".into()));
    }

    #[cfg(feature = "alsa")]
    #[test]
    fn alsas_plugins_are_beside_its_library() {
        let root = tempfile::tempdir().unwrap();
        let plugin = root.path().join("alsa-lib/libasound_module_pcm_pulse.so");
        fs::create_dir(root.path().join("alsa-lib")).unwrap();
        fs::write(&plugin, "").unwrap();
        let device: DeviceSpec = "alsa:pulse".parse().unwrap();
        let found = libraries([&device], &[root.path().join("libasound.so.2")]);
        assert_eq!(found, BTreeSet::from([plugin]));
    }
}
