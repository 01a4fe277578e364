//! A socket that is listened on: a file with permissions, or an address of this machine.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use config::ListenAddress;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::ListenError;
use crate::connection::Socket;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// The group that may use the sockets unless another is named.
const GROUP: &str = "vsnd";

/// A socket that is listened on. Its file is removed when the value is dropped.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix { socket: UnixListener, path: PathBuf, inode: u64 },
    Tcp(TcpListener),
}

impl Listener {
    /// Listens at `address`; a file is for the daemon's user and `group` only.
    pub(super) fn bind(address: &ListenAddress, group: Option<&str>) -> Result<Self, ListenError> {
        match address {
            ListenAddress::Unix(path) => Self::unix(path, group),
            ListenAddress::Tcp(address) => {
                let failed = |reason| ListenError::System { address: address.to_string(), reason };
                let socket = TcpListener::bind(address).map_err(failed)?;
                socket.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Tcp(socket))
            }
        }
    }

    fn unix(path: &Path, group: Option<&str>) -> Result<Self, ListenError> {
        let gid = gid_of(group)?;
        let failed = |reason| ListenError::System { address: path.display().to_string(), reason };
        match UnixStream::connect(path) {
            Ok(socket) if has_listener(&socket) => return Err(ListenError::InUse(path.display().to_string())),
            // A daemon that was killed has left this file behind. A worker that it was about to start may have the
            // socket for a moment longer.
            Ok(_) => fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
            Err(_) => {}
        }
        // Under systemd the directory exists; a daemon that is started by hand makes it.
        if let Some(directory) = path.parent()
            && !directory.exists()
        {
            fs::create_dir(directory).map_err(failed)?;
        }
        let listen = || -> io::Result<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
            // Nobody can connect before `listen` below.
            let given = match gid.map(|gid| chown(path, None, Some(gid))) {
                Some(Ok(())) => true,
                // The package's group was not asked for, and an ordinary user is not in it.
                Some(Err(error)) if group.is_none() && error.kind() == io::ErrorKind::PermissionDenied => false,
                Some(Err(error)) => return Err(error),
                None => false,
            };
            let mode = if given { 0o660 } else { 0o600 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            let inode = fs::metadata(path)?.ino();
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(Self::Unix { socket: socket.into(), path: path.to_owned(), inode })
        };
        listen().map_err(failed)
    }

    /// The next connection, if one waits.
    pub(super) fn accept(&self) -> io::Result<Option<Socket>> {
        let accepted = match self {
            Self::Unix { socket, .. } => socket.accept().map(|(stream, _)| Socket::Unix(stream)),
            Self::Tcp(socket) => socket.accept().map(|(stream, _)| Socket::Tcp(stream)),
        };
        match accepted {
            Ok(socket) => {
                socket.set_nonblocking()?;
                Ok(Some(socket))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix { socket, .. } => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, inode, .. } = self
            && fs::metadata(&*path).is_ok_and(|metadata| metadata.ino() == *inode)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns true unless the process that listens at the other end of a connection has ended.
fn has_listener(socket: &UnixStream) -> bool {
    let listener = rustix::net::sockopt::socket_peercred(socket).map(|credentials| credentials.pid);
    listener.map_or(true, |pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Number of the group that may use a socket; `None` if only the daemon's user may.
fn gid_of(group: Option<&str>) -> Result<Option<u32>, ListenError> {
    match nix::unistd::Group::from_name(group.unwrap_or(GROUP)) {
        Ok(Some(found)) => Ok(Some(found.gid.as_raw())),
        _ => group.map_or(Ok(None), |group| Err(ListenError::NoGroup(group.to_owned()))),
    }
}
