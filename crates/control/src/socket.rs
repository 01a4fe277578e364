//! Where the daemon listens.

use std::path::PathBuf;

use xen::XenSpec;

/// Where the daemon of a real Xen listens, unless its configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vsnd/control.sock";

/// Where the daemon that serves `xen` listens, unless its configuration says otherwise: with an emulated one in that
/// one's directory.
#[must_use]
pub fn socket_of(xen: &XenSpec) -> PathBuf {
    match xen {
        XenSpec::Dev => DEFAULT_SOCKET.into(),
        XenSpec::Emu(directory) => directory.join("control.sock"),
    }
}
