//! The byte stream below a client: a Unix socket, or a character device such as `/dev/xen/xenbus`.
//!
//! The device carries the same messages, but behaves differently. It never reports that it is writable, accepts a
//! message whole or not at all, may return a reply in pieces, and its `read` waits even when nothing will come. So
//! reading always calls `poll` first, and the descriptor's flags, which other processes may share, stay unchanged.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, Escaped, Result};

/// Result of a write.
pub(crate) enum Sent {
    /// All bytes were written.
    All,
    /// Only this number of bytes was written; the other side accepts no more at the moment.
    Some(usize),
    /// The device refused the message; the device stays usable.
    Refused(Errno),
}

pub(crate) struct ByteStream {
    fd: OwnedFd,
    socket: bool,
}

impl ByteStream {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = path.to_string_lossy();
        let failed = |error: Errno| Error::io(format!("connect to {}", Escaped(&shown)), error);
        let stat = rustix::fs::stat(path).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice {
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
            let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
            return Ok(Self { fd, socket: false });
        }
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
        rustix::net::connect(&fd, &address).map_err(failed)?;
        Ok(Self { fd, socket: true })
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self> {
        let stat = rustix::fs::fstat(&fd).map_err(|error| Error::io("examine the store's descriptor", error))?;
        let socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
        Ok(Self { fd, socket })
    }

    /// Returns true if the descriptor is a device file and not a socket.
    pub(crate) fn is_device(&self) -> bool {
        !self.socket
    }

    /// Reads available bytes; `None` if there are none. Zero bytes are the end.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        if !self.poll(PollFlags::IN, Some(Instant::now()))? {
            return Ok(None);
        }
        match rustix::io::read(&self.fd, buffer) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::INTR | Errno::AGAIN) => Ok(None),
            Err(Errno::CONNRESET | Errno::PIPE) => Ok(Some(0)),
            Err(error) => Err(Error::io("read from the store", error)),
        }
    }

    /// Writes bytes of one message. A device may block here, a socket does not.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<Sent> {
        let result = if self.socket {
            rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
        } else {
            rustix::io::write(&self.fd, bytes)
        };
        match result {
            Ok(count) if count == bytes.len() => Ok(Sent::All),
            Ok(count) => Ok(Sent::Some(count)),
            Err(Errno::INTR | Errno::AGAIN) => Ok(Sent::Some(0)),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(Error::Closed),
            Err(error) if !self.socket => Ok(Sent::Refused(error)),
            Err(error) => Err(Error::io("write to the store", error)),
        }
    }

    /// Waits until reading (with `to_write`: also writing) is possible; false when the time is over.
    pub(crate) fn wait(&self, to_write: bool, until: Option<Instant>) -> Result<bool> {
        // A device never reports POLLOUT; its write waits by itself.
        if to_write && !self.socket {
            return Ok(true);
        }
        let events = if to_write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        self.poll(events, until)
    }

    fn poll(&self, events: PollFlags, until: Option<Instant>) -> Result<bool> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(timespec);
            match poll(&mut [PollFd::new(&self.fd, events)], left.as_ref()) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("wait for the store", error)),
            }
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    // A time-out beyond the clock's range means "very long".
    Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 })
}

impl From<ByteStream> for OwnedFd {
    fn from(stream: ByteStream) -> Self {
        stream.fd
    }
}

impl AsFd for ByteStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
