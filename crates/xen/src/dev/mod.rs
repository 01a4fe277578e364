//! Real Xen through the device files of its Linux drivers.
//!
//! The files are `/dev/xen/evtchn` (one open file for each channel, so that each can be polled by itself),
//! `/dev/xen/gntdev` (mapping) and `/dev/xen/gntalloc` (granting). No `privcmd`, no foreign mapping:
//! a process with these files can reach only the pages that other domains granted to its domain.

pub mod abi;
pub(crate) mod ioctl;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sndif::{GrantRef, PAGE_BYTES};

use crate::memory::SharedPages;
use crate::{Access, DomainId, Error, Port, Refusal, Result};

const EVTCHN: DeviceFile = DeviceFile { path: "/dev/xen/evtchn", module: "xen-evtchn" };
const GNTDEV: DeviceFile = DeviceFile { path: "/dev/xen/gntdev", module: "xen-gntdev" };
const GNTALLOC: DeviceFile = DeviceFile { path: "/dev/xen/gntalloc", module: "xen-gntalloc" };
/// Socket of dom0's store daemon, unless the environment names another one, as for Xen's own tools.
const STORE_SOCKET: &str = "/run/xenstored/socket";
const STORE_SOCKET_VARIABLE: &str = "XENSTORED_PATH";
const STORE_DEVICE: &str = "/dev/xen/xenbus";

struct DeviceFile {
    path: &'static str,
    module: &'static str,
}

impl DeviceFile {
    fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::open(self.path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::NOTDIR => {
                Error::DeviceMissing { path: self.path, module: self.module }
            }
            error => Error::System { doing: "open a device file of Xen", cause: naming(self.path, error) },
        })
    }
}

fn pages_are_xens(bytes: usize) -> Result<()> {
    if bytes == PAGE_BYTES { Ok(()) } else { Err(Error::PageSize { bytes }) }
}

/// The device files of this domain.
pub(crate) struct Device {
    domain: DomainId,
    gntdev: Arc<OwnedFd>,
    /// Opened when the first page is granted: a backend never grants.
    gntalloc: OnceLock<Arc<OwnedFd>>,
}

impl Device {
    /// Opens the files that every user of Xen needs, and finds out which domain this is.
    pub fn open(asked: Option<DomainId>) -> Result<Self> {
        pages_are_xens(rustix::param::page_size())?;
        let gntdev = Arc::new(GNTDEV.open()?);
        drop(EVTCHN.open()?);
        let actual = own_domain()?;
        match asked {
            Some(asked) if asked != actual => Err(Error::OtherDomain { asked, actual }),
            _ => Ok(Self { domain: actual, gntdev, gntalloc: OnceLock::new() }),
        }
    }

    pub fn domain(&self) -> DomainId {
        self.domain
    }

    pub fn check(&self) -> Result<()> {
        EVTCHN.open().and(GNTDEV.open()).map(drop)
    }

    pub fn grant(
        &self,
        to: DomainId,
        pages: usize,
        access: Access,
    ) -> Result<(Allocation, Vec<GrantRef>, SharedPages)> {
        const DOING: &str = "grant pages";
        let bad = Error::Refused { doing: DOING, refusal: Refusal::BadArgument };
        let Some(count) = u32::try_from(pages).ok().filter(|count| (1..=1 << 20).contains(count)) else {
            return Err(bad);
        };
        let device = self.gntalloc()?;
        let writable = access == Access::ReadWrite;
        let (index, refs) =
            ioctl::gntalloc_alloc(device.as_fd(), to.0, writable, count).map_err(|error| match error {
                // The driver's own limit: its parameter `limit`, 1024 pages by default.
                Errno::NOSPC => Error::Refused { doing: DOING, refusal: Refusal::Quota },
                error => Error::system(DOING)(error),
            })?;
        let allocation = Allocation { device, index, count };
        let shared = SharedPages::map_device(allocation.device.as_fd(), index, pages, Access::ReadWrite)
            .map_err(Error::system("map granted pages"))?;
        Ok((allocation, refs, shared))
    }

    pub fn map(&self, from: DomainId, refs: &[GrantRef], access: Access) -> Result<(Mapping, SharedPages)> {
        let device = Arc::clone(&self.gntdev);
        let count = u32::try_from(refs.len())
            .ok()
            .filter(|count| *count > 0)
            .ok_or(Error::Refused { doing: "map grants", refusal: Refusal::BadArgument })?;
        let index = ioctl::gntdev_map(device.as_fd(), from.0, refs).map_err(Error::system("map grants"))?;
        let mapping = Mapping { device, index, count };
        // The driver maps every page in `mmap`, checks every status, and undoes all if one failed. The error
        // does not tell which one.
        let shared =
            SharedPages::map_device(mapping.device.as_fd(), index, refs.len(), access).map_err(|error| {
                match (error.kind(), refs.first()) {
                    (io::ErrorKind::InvalidInput, Some(first)) => {
                        Error::Map { from, reference: *first, refusal: Refusal::Unspecified }
                    }
                    _ => Error::system("map the pages of another domain")(error),
                }
            })?;
        Ok((mapping, shared))
    }

    /// Like [`map`](Self::map), for another process: returns a new file, whose holder can map `refs` at the returned
    /// offset. The references are released when the file is closed and none of them is mapped any more.
    pub fn lend(from: DomainId, refs: &[GrantRef]) -> Result<(OwnedFd, u64)> {
        let file = GNTDEV.open()?;
        let index = ioctl::gntdev_map(file.as_fd(), from.0, refs).map_err(Error::system("map grants"))?;
        Ok((file, index))
    }

    pub fn alloc_unbound(&self, remote: DomainId) -> Result<Channel> {
        let file = EVTCHN.open()?;
        let port = ioctl::evtchn_bind_unbound_port(file.as_fd(), remote.0)
            .map_err(Error::system("allocate an event channel"))?;
        Ok(Channel { file, port: Port(port) })
    }

    pub fn bind_interdomain(&self, remote: DomainId, port: Port) -> Result<Channel> {
        Channel::bind(EVTCHN.open()?, remote, port)
    }

    /// Like [`bind_interdomain`](Self::bind_interdomain), on a file that can reach no other domain.
    pub fn bind_for_another(remote: DomainId, port: Port) -> Result<Channel> {
        let file = EVTCHN.open()?;
        // A file for domain 0 reaches every domain: Xen has no restriction to domain 0.
        if remote != DomainId(0) {
            ioctl::evtchn_restrict(file.as_fd(), remote.0).map_err(Error::system("restrict an event channel"))?;
        }
        Channel::bind(file, remote, port)
    }

    fn gntalloc(&self) -> Result<Arc<OwnedFd>> {
        if let Some(device) = self.gntalloc.get() {
            return Ok(Arc::clone(device));
        }
        let device = Arc::new(GNTALLOC.open()?);
        Ok(Arc::clone(self.gntalloc.get_or_init(|| device)))
    }
}

/// Pages of `/dev/xen/gntalloc`. Dropping the value frees them, once our own mapping and those of the other
/// domain are gone; until then the kernel keeps the pages aside.
pub(crate) struct Allocation {
    device: Arc<OwnedFd>,
    index: u64,
    count: u32,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let freed = ioctl::gntalloc_dealloc(self.device.as_fd(), self.index, self.count);
        debug_assert_eq!(freed, Ok(()), "an allocation of our own");
    }
}

/// References at an offset of `/dev/xen/gntdev`. Dropped after the memory was unmapped.
pub(crate) struct Mapping {
    device: Arc<OwnedFd>,
    index: u64,
    count: u32,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let freed = ioctl::gntdev_unmap(self.device.as_fd(), self.index, self.count);
        debug_assert_eq!(freed, Ok(()), "an unmapped mapping of our own");
    }
}

/// One port with an open `/dev/xen/evtchn` of its own; closing the file closes the port.
pub(crate) struct Channel {
    file: OwnedFd,
    port: Port,
}

impl Channel {
    /// A port that was bound on `file`.
    pub fn of(file: OwnedFd, port: Port) -> Self {
        Self { file, port }
    }

    fn bind(file: OwnedFd, remote: DomainId, port: Port) -> Result<Self> {
        match ioctl::evtchn_bind_interdomain(file.as_fd(), remote.0, port.0) {
            Ok(local) => Ok(Self { file, port: Port(local) }),
            Err(Errno::INVAL) => Err(Error::Bind { remote, port, refusal: Refusal::Unspecified }),
            Err(error) => Err(Error::system("bind an event channel")(error)),
        }
    }

    pub fn into_parts(self) -> (OwnedFd, Port) {
        (self.file, self.port)
    }

    pub fn port(&self) -> Port {
        self.port
    }

    pub fn notify(&self) -> io::Result<()> {
        Ok(ioctl::evtchn_notify(self.file.as_fd(), self.port.0)?)
    }

    /// Reads the port, which the driver masked when the event came, and writes it back to unmask it.
    pub fn acknowledge(&self) -> io::Result<bool> {
        let mut bytes = [0; 64];
        let count = match rustix::io::read(&self.file, &mut bytes) {
            Ok(count) => count,
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let ports = &bytes[..count];
        rustix::io::write(&self.file, ports)?;
        Ok(!ports.is_empty())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A connection to the store: dom0's socket if there is one, the kernel's device otherwise.
pub(crate) fn store() -> Result<OwnedFd> {
    let variable = std::env::var_os(STORE_SOCKET_VARIABLE);
    let socket = variable.as_deref().map_or(Path::new(STORE_SOCKET), Path::new);
    if variable.is_some() || socket.exists() {
        return Ok(xenstore::client::connect(socket)?);
    }
    if !Path::new(STORE_DEVICE).exists() {
        return Err(Error::DeviceMissing { path: STORE_DEVICE, module: "xenfs" });
    }
    Ok(xenstore::client::connect(Path::new(STORE_DEVICE))?)
}

/// The domain we run in. Relative store paths start at the domain's own directory, where the toolstack writes
/// the domain's number.
fn own_domain() -> Result<DomainId> {
    let value = xenstore::Client::from_fd(store()?)?.read_string("domid")?;
    match value.parse() {
        Ok(id) => Ok(DomainId(id)),
        Err(_) => Err(Error::BadDomainNode { value }),
    }
}

fn naming(path: &str, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_as_large_as_xens_are_shared() {
        assert!(pages_are_xens(4096).is_ok());
        for bytes in [16384, 65536] {
            assert!(pages_are_xens(bytes).unwrap_err().to_string().contains(&bytes.to_string()));
        }
    }
}
