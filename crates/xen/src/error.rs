//! Errors between a process and Xen, real or emulated.

use std::io;
use std::path::PathBuf;

use sndif::GrantRef;

use crate::{DomainId, Port};

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Reason why an operation on Xen failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No process emulates Xen in that directory.
    #[error("no emulated Xen in {}: start `vsnd emu --dir {}`", dir.display(), dir.display())]
    NoEmulation {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// Another process emulates Xen in that directory.
    #[error("emulation directory {} is in use by process {process}", dir.display())]
    DirectoryInUse {
        /// The directory that was asked for.
        dir: PathBuf,
        /// Process id from the lock file; `?` if it could not be read.
        process: String,
    },
    /// A device file of Xen's drivers does not exist.
    #[error("{path} is missing: not on Xen, or the driver is not loaded (`modprobe {module}`)")]
    DeviceMissing {
        /// The device file.
        path: &'static str,
        /// The kernel module that provides it.
        module: &'static str,
    },
    /// The kernel's page size differs from Xen's. Its drivers then give a program one kernel page for each Xen page,
    /// so shared pages are not contiguous.
    #[error("this kernel has pages of {bytes} bytes, and programs share memory through Xen only where they have 4096")]
    PageSize {
        /// Page size of the kernel.
        bytes: usize,
    },
    /// The process asked to be another domain than the one it runs in.
    #[error("this is domain {actual}, not domain {asked}")]
    OtherDomain {
        /// Domain that was asked for.
        asked: DomainId,
        /// Domain of this machine, as XenStore tells it.
        actual: DomainId,
    },
    /// The store's node for our own domain id holds something else.
    #[error("XenStore's node `domid` holds {value:?}, which is no domain id")]
    BadDomainNode {
        /// Value of the node.
        value: String,
    },
    /// A grant reference could not be mapped; nothing stays mapped.
    #[error("grant {} of domain {from} cannot be mapped: {refusal}", reference.0)]
    Map {
        /// The granting domain.
        from: DomainId,
        /// The first reference that was refused.
        reference: GrantRef,
        /// Reason of the refusal.
        refusal: Refusal,
    },
    /// A remote port could not be bound.
    #[error("port {port} of domain {remote} cannot be bound: {refusal}")]
    Bind {
        /// The domain that owns the port.
        remote: DomainId,
        /// The port.
        port: Port,
        /// Reason of the refusal.
        refusal: Refusal,
    },
    /// The hypervisor refused something else.
    #[error("cannot {doing}: {refusal}")]
    Refused {
        /// The attempted operation, as a verb phrase.
        doing: &'static str,
        /// Reason of the refusal.
        refusal: Refusal,
    },
    /// The emulated hypervisor is gone, and with it this domain.
    #[error("the emulated Xen is gone")]
    HypervisorGone,
    /// The emulated hypervisor sent a malformed answer.
    #[error("the emulated Xen gave a malformed answer")]
    Malformed,
    /// XenStore could not be reached or returned an error.
    #[error(transparent)]
    Store(#[from] xenstore::Error),
    /// A system call failed.
    #[error("cannot {doing}: {cause}")]
    System {
        /// The attempted operation, as a verb phrase.
        doing: &'static str,
        /// The system's error.
        cause: io::Error,
    },
}

impl Error {
    /// Wraps a failed system call, for use with `map_err`.
    pub(crate) fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Error::System { doing, cause: cause.into() }
    }
}

/// The hypervisor's reason for refusing an operation.
///
/// The device files of the real Xen mostly give no reason: [`Refusal::Unspecified`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The domain has no such grant (any more).
    #[error("there is no such grant")]
    NoSuchGrant,
    /// The page is granted to another domain.
    #[error("it is granted to another domain")]
    GrantedToAnother,
    /// The page is granted for reading only.
    #[error("it is granted for reading only")]
    ReadOnly,
    /// The granting side ended the access and waits for the last unmapping.
    #[error("its owner has revoked it")]
    Revoked,
    /// The page is still mapped.
    #[error("it is still mapped")]
    StillMapped,
    /// The domain has no such port.
    #[error("there is no such port")]
    NoSuchPort,
    /// The port is reserved for another domain.
    #[error("it is reserved for another domain")]
    ReservedForAnother,
    /// The port is bound already.
    #[error("it is bound already")]
    Bound,
    /// A limit of this domain is reached.
    #[error("a limit of this domain is reached")]
    Quota,
    /// The hypervisor ran out of memory or file descriptors.
    #[error("the hypervisor is out of resources")]
    NoResources,
    /// A number in the request was out of range.
    #[error("an argument is out of range")]
    BadArgument,
    /// The hypervisor gave no reason.
    #[error("the hypervisor refused it")]
    Unspecified,
}
