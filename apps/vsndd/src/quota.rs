//! Bound on the size of all buffers of one guest together: checked before anything is mapped or allocated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limiter::GuestLog;

/// Bytes that the open buffers of one guest take up; clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quota(Arc<AtomicU64>);

/// Log limits and quota, shared by all streams of a guest.
pub(crate) struct Account {
    pub(crate) log: GuestLog,
    pub(crate) quota: Quota,
}

/// A reserved part of a quota, until this value is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    quota: Quota,
    bytes: u64,
}

impl Quota {
    /// Reserves `bytes`; `None` if the sum would exceed `most`.
    pub(crate) fn reserve(&self, bytes: u64, most: u64) -> Option<Reserved> {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|&sum| sum <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Reserved { quota: self.clone(), bytes })
    }
}

/// Reason why a stream is refused that would exceed the quota.
#[derive(Debug, thiserror::Error)]
#[error("all buffers of the guest would be larger than {most} bytes (`buffer-bytes-per-domain`)")]
pub(crate) struct Exceeded {
    pub(crate) most: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.quota.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_gets_no_more_than_its_quota_and_all_of_it_again() {
        let quota = Quota::default();
        let first = quota.reserve(60, 100).unwrap();
        assert!(quota.clone().reserve(41, 100).is_none());
        let second = quota.clone().reserve(40, 100).unwrap();
        assert!(quota.reserve(1, 100).is_none());
        assert!(quota.reserve(u64::MAX, u64::MAX).is_none());
        drop((first, second));
        assert!(quota.reserve(100, 100).is_some());
    }
}
