//! Libraries that devices load by their names when they are opened, beside those that the program is linked with.

use crate::DeviceSpec;
#[cfg(feature = "alsa")]
use crate::alsa;
use crate::server_address::ServerAddress;
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

/// A folder of plugins: beside the first library whose name begins with one of these, or where a distribution has it.
fn folder(loaded: &[PathBuf], libraries: &[&str], name: &str) -> PathBuf {
    let is_it = |path: &&PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        libraries.iter().any(|wanted| file.starts_with(wanted))
    };
    let beside = loaded.iter().find(is_it).and_then(|path| path.parent()).map(Path::to_owned);
    let multiarch = Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let usual = [multiarch, "/usr/lib64".into(), "/usr/lib".into()];
    let mut places = beside.into_iter().chain(usual).map(|directory| directory.join(name));
    places.find(|place| place.is_dir()).unwrap_or_default()
}

/// Folder of ALSA's plugins.
#[cfg(feature = "alsa")]
fn plugin_directory(loaded: &[PathBuf]) -> PathBuf {
    std::env::var_os("ALSA_PLUGIN_DIR").map_or_else(|| folder(loaded, &["libasound.so"], "alsa-lib"), PathBuf::from)
}

fn of_pipewire(loaded: &[PathBuf]) -> Vec<PathBuf> {
    let beside = ["libpipewire-0.3.so", "libasound.so"];
    let (modules, plugins) = (folder(loaded, &beside, "pipewire-0.3"), folder(loaded, &beside, "spa-0.2"));
    let modules = MODULES.iter().map(|name| modules.join(format!("libpipewire-module-{name}.so")));
    modules.chain(PLUGINS.iter().map(|name| plugins.join(name))).filter(|path| path.is_file()).collect()
}

/// Libraries in which the C library looks up the names of hosts.
fn of_name_service(loaded: &[PathBuf]) -> Vec<PathBuf> {
    let beside = folder(loaded, &["libc.so."], ".");
    let text = fs::read_to_string(NAME_SERVICE).unwrap_or_default();
    let hosts = text.lines().filter_map(|line| line.trim().strip_prefix("hosts:"));
    let services = hosts.flat_map(str::split_whitespace).filter(|word| !word.contains(['[', '=', ']']));
    services.map(|service| beside.join(format!("libnss_{service}.so.2"))).filter(|path| path.is_file()).collect()
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
        assert_eq!(found, BTreeSet::from(wanted.map(|name| root.path().join(name))));
    }

    #[test]
    fn a_folder_that_is_not_beside_its_library_is_where_a_distribution_has_it() {
        let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let usual = ["/usr/lib64", "/usr/lib", &multiarch].map(Path::new);
        let name =
            usual.iter().find_map(|place| fs::read_dir(place).ok()?.flatten().find(|entry| entry.path().is_dir()));
        let name = name.expect("a folder of libraries").file_name();
        let found = folder(&["/no/such/libx.so.1".into()], &["libx.so"], &name.to_string_lossy());
        assert!(found.is_dir() && usual.contains(&found.parent().expect("a parent")), "{found:?}");
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
