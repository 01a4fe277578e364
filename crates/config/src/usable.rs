//! Check if this host can start a daemon with a configuration: kinds of devices, groups, directories.

use std::path::Path;

use nix::unistd::Group;

use crate::diagnosis::Step;
use crate::file::Config;
use crate::value::ListenAddress;
use crate::words::Words;

/// Everything that keeps a daemon from starting, with its place in the file.
pub(crate) fn refused(config: &Config) -> Vec<(Vec<Step>, Words)> {
    use Step::{Index, Key};
    let mut refused: Vec<(Vec<Step>, Words)> = Vec::new();
    let rules = config.rules.iter().enumerate();
    let devices = [(vec![Key("sink")], Some(&config.sink)), (vec![Key("source")], Some(&config.source))];
    let of_rules = rules.flat_map(|(index, rule)| {
        let at = move |key| vec![Key("rule"), Index(index), Key(key)];
        [(at("sink"), rule.sink.as_ref()), (at("source"), rule.source.as_ref())]
    });
    for (place, device) in devices.into_iter().chain(of_rules) {
        if let Some(Err(error)) = device.map(host_audio::DeviceSpec::check_built) {
            refused.push((place, Words { message: error.to_string(), help: None }));
        }
    }
    if let Some(name) = &config.control.group
        && matches!(Group::from_name(name), Ok(None))
    {
        let message = format!("there is no group `{name}`");
        let help = Some(format!("make it (`groupadd --system {name}`), or name another"));
        refused.push((vec![Key("control"), Key("group")], Words { message, help }));
    }
    let socket = config.control.socket.as_deref().filter(|path| !path.as_os_str().is_empty());
    let listen = match &config.metrics.listen {
        Some(ListenAddress::Unix(path)) => Some(path.as_path()),
        Some(ListenAddress::Tcp(_)) | None => None,
    };
    for (place, path) in [(["control", "socket"], socket), (["metrics", "listen"], listen)] {
        if let Some(message) = path.and_then(no_directory) {
            refused.push((place.map(Key).to_vec(), Words { message, help: None }));
        }
    }
    refused
}

/// Reason why no socket can be made at `path`, if any; the daemon makes its directory, and none above it.
fn no_directory(path: &Path) -> Option<String> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty())?;
    let above = directory.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (directory.is_dir(), directory.exists(), above.is_dir()) {
        (true, ..) | (false, false, true) => None,
        (false, true, _) => Some(format!("`{}` is not a directory", directory.display())),
        (false, false, false) => Some(format!("there is no directory `{}`", directory.display())),
    }
}
