//! The package `vsndd-pipewire` contains the programs a second time, with PipeWire's own protocol built in, which needs
//! libraries that a host without a desktop does not use. Where these programs are installed, they replace the others.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Replaces the process by the program at `fuller`, if this is the packaged program, at `this`, and `fuller` exists.
/// Returns otherwise, and if `fuller` cannot be started.
pub fn become_fuller(name: &str, this: &str, fuller: &str) {
    if std::env::current_exe().is_ok_and(|path| path == Path::new(this)) && Path::new(fuller).exists() {
        let error = Command::new(fuller).arg0(name).args(std::env::args_os().skip(1)).exec();
        eprintln!("{name}: {fuller} cannot be started: {error}");
    }
}
