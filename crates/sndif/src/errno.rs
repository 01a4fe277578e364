//! Error numbers of Xen (`xen/errno.h`); those used here are equal to Linux's.

use core::fmt;

/// A positive error number; responses carry it negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// Input/output error.
    pub const EIO: Self = Self(5);
    /// Out of memory.
    pub const ENOMEM: Self = Self(12);
    /// Permission denied.
    pub const EACCES: Self = Self(13);
    /// Bad address: a grant could not be mapped.
    pub const EFAULT: Self = Self(14);
    /// Device or resource busy.
    pub const EBUSY: Self = Self(16);
    /// No such device.
    pub const ENODEV: Self = Self(19);
    /// Invalid argument.
    pub const EINVAL: Self = Self(22);
    /// Function not implemented.
    pub const ENOSYS: Self = Self(38);
    /// Operation not supported.
    pub const EOPNOTSUPP: Self = Self(95);

    /// Returns the error in a response's status, or `None` for success. A positive status is not defined by the
    /// protocol and counts as [`Errno::EIO`].
    #[must_use]
    pub const fn from_status(status: i32) -> Option<Self> {
        match status {
            0 => None,
            i32::MIN..=-1 => Some(Self(status.saturating_neg())),
            1.. => Some(Self::EIO),
        }
    }

    /// Returns the status that a response carries for this error.
    #[must_use]
    pub const fn status(self) -> i32 {
        self.0.saturating_neg()
    }

    /// Returns the positive number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Returns the error's C name, or `None` when this crate has no constant for it.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::EPERM => "EPERM",
            Self::EIO => "EIO",
            Self::ENOMEM => "ENOMEM",
            Self::EACCES => "EACCES",
            Self::EFAULT => "EFAULT",
            Self::EBUSY => "EBUSY",
            Self::ENODEV => "ENODEV",
            Self::EINVAL => "EINVAL",
            Self::ENOSYS => "ENOSYS",
            Self::EOPNOTSUPP => "EOPNOTSUPP",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}
