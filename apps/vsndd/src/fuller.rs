//! The package `vsndd-pipewire` has this program once more, with PipeWire's own protocol built in, which takes libraries that a host
//! without a desktop has no use for. Where it is installed, it takes the place of this one.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Where the package `vsndd` puts this program.
const THIS: &str = "/usr/sbin/vsndd";
/// Where the package `vsndd-pipewire` puts its own.
const FULLER: &str = "/usr/libexec/vsndd-pipewire";

/// Becomes the fuller program, if this is the packaged one and that is there; goes on where it cannot be started.
pub(crate) fn become_it() {
    if std::env::current_exe().is_ok_and(|path| path == Path::new(THIS)) && Path::new(FULLER).exists() {
        let error = Command::new(FULLER).arg0("vsndd").args(std::env::args_os().skip(1)).exec();
        eprintln!("vsndd: {FULLER} cannot be started: {error}");
    }
}
