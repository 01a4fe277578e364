//! Sleeping until a descriptor is readable.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{Error, Result};

/// Default time that a blocking call waits for a backend that went away. Our daemon may hold a guest off for 10 s.
pub(crate) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(15);

/// Returns which of the descriptors are readable; `None` at the deadline. A signal ends the wait, too.
pub(crate) fn readable<const N: usize>(fds: [BorrowedFd<'_>; N], deadline: Instant) -> Result<Option<[bool; N]>> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout =
        Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
    let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(fds.map(|fd| !fd.revents().is_empty()))),
        Err(Errno::INTR) => Ok(Some([false; N])),
        Err(error) => Err(Error::system("wait for the backend")(error)),
    }
}
