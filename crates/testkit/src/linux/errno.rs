//! Error numbers of a Linux application.

use std::fmt;

/// A positive error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

#[expect(missing_docs, reason = "the constants are the system's own names")]
impl Errno {
    pub const EIO: Self = Self(5);
    pub const EACCES: Self = Self(13);
    pub const EFAULT: Self = Self(14);
    pub const EBUSY: Self = Self(16);
    pub const ENODEV: Self = Self(19);
    pub const EINVAL: Self = Self(22);
    pub const EPIPE: Self = Self(32);
    pub const EBADFD: Self = Self(77);
    pub const ETIMEDOUT: Self = Self(110);
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::EIO => "EIO",
            Self::EACCES => "EACCES",
            Self::EFAULT => "EFAULT",
            Self::EBUSY => "EBUSY",
            Self::ENODEV => "ENODEV",
            Self::EINVAL => "EINVAL",
            Self::EPIPE => "EPIPE",
            Self::EBADFD => "EBADFD",
            Self::ETIMEDOUT => "ETIMEDOUT",
            Self(number) => return write!(f, "errno {number}"),
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Errno {}
