//! Path of the daemon's control socket.

use std::path::PathBuf;

use xen::XenSpec;

/// Socket of the daemon on a real Xen, unless its configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vsnd/control.sock";

/// Socket of the daemon that serves `xen`, unless its configuration says otherwise; in the emulation's directory if Xen
/// is emulated.
#[must_use]
pub fn socket_of(xen: &XenSpec) -> PathBuf {
    match xen {
        XenSpec::Dev => DEFAULT_SOCKET.into(),
        XenSpec::Emu(directory) => directory.join("control.sock"),
    }
}
