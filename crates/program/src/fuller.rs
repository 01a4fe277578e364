//! The package `vsndd-pipewire` has the programs once more, with PipeWire's own protocol built in, which takes libraries that a host without
//! a desktop has no use for. Where they are installed, they take the place of these.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Becomes the program at `fuller`, if this is the packaged one, at `this`, and that is there; goes on where it cannot be started.
pub fn become_fuller(name: &str, this: &str, fuller: &str) {
    if std::env::current_exe().is_ok_and(|path| path == Path::new(this)) && Path::new(fuller).exists() {
        let error = Command::new(fuller).arg0(name).args(std::env::args_os().skip(1)).exec();
        eprintln!("{name}: {fuller} cannot be started: {error}");
    }
}
