//! Reasons for which beep cannot go on.

use core::fmt;

use alloc::boxed::Box;
use alloc::string::String;
use frontend::{NegotiationError, SubmitError, Violation};
use sndif::Errno;
use sndif::store::{BadNode, Direction};
use xenstore::wire::{Op, WireError};
use xenstore::{PathError, StoreErrno};

use crate::hypercall::Ring;
use crate::memory::Frame;

/// Result of most functions here.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Reason of a failure.
#[derive(Debug)]
pub enum Error {
    /// There is no Xen below us.
    NoXen,
    /// Xen refused a hypercall.
    Xen { what: &'static str, status: i64 },
    /// The domain was made without one of its rings.
    NoRing(Ring),
    /// Xen has put a page where the page tables end.
    OutOfReach(Frame),
    /// All pages, or all grant references, are in use.
    NoMemory,
    /// The store refused a request.
    Store { op: Op, path: String, errno: StoreErrno },
    /// The path cannot be a store path.
    Path(PathError),
    /// The store's answers cannot be understood.
    StoreProtocol(&'static str),
    /// Something did not happen in time.
    Timeout(&'static str),
    /// The domain has no sound card.
    NoCard,
    /// The card has no stream in this direction.
    NoStream(Direction),
    /// A node of the card makes no sense.
    Node(BadNode),
    /// The backend left.
    Lost,
    /// No configuration suits both.
    Negotiation(Box<NegotiationError>),
    /// The stream cannot take the request.
    Submit(SubmitError),
    /// The backend refused a request.
    Refused { what: &'static str, errno: Errno },
    /// The backend broke the protocol.
    Violation(Violation),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoXen => f.write_str("this machine is not Xen's"),
            Self::Xen { what, status } => write!(f, "Xen answers {what} with {status}"),
            Self::NoRing(ring) => write!(f, "this domain has no {ring:?}"),
            Self::OutOfReach(frame) => write!(f, "the page at {:#x} lies outside of the page tables", frame.address()),
            Self::NoMemory => f.write_str("no page is left that could be granted"),
            Self::Store { op, path, errno } => write!(f, "XenStore: {op} {path}: {errno}"),
            Self::Path(error) => write!(f, "XenStore: the path {error}"),
            Self::StoreProtocol(what) => write!(f, "XenStore: {what}"),
            Self::Timeout(what) => write!(f, "{what}: not in time"),
            Self::NoCard => f.write_str("this domain has no sound card: vsnd = [ ... ] in its xl.cfg adds one"),
            Self::NoStream(direction) => write!(f, "the card has no stream for {direction}"),
            Self::Node(error) => write!(f, "XenStore: {error}"),
            Self::Lost => f.write_str("the backend has left"),
            Self::Negotiation(error) => error.fmt(f),
            Self::Submit(error) => error.fmt(f),
            Self::Refused { what, errno } => write!(f, "the backend refuses {what}: {errno}"),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl From<WireError> for Error {
    fn from(_: WireError) -> Self {
        Self::StoreProtocol("a message is too long")
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<BadNode> for Error {
    fn from(error: BadNode) -> Self {
        Self::Node(error)
    }
}

impl From<NegotiationError> for Error {
    fn from(error: NegotiationError) -> Self {
        Self::Negotiation(Box::new(error))
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        Self::Submit(error)
    }
}

impl From<Violation> for Error {
    fn from(error: Violation) -> Self {
        Self::Violation(error)
    }
}
