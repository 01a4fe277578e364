//! Bound of what the buffers of one guest take up, all of its streams together: checked before anything is mapped or allocated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that the open buffers of one guest take up; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quota(Arc<AtomicU64>);

/// A part of it, until this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    quota: Quota,
    bytes: u64,
}

impl Quota {
    /// Reserves so many bytes; `None` where that would be more than `most` in all.
    pub(crate) fn reserve(&self, bytes: u64, most: u64) -> Option<Reserved> {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|&sum| sum <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Reserved { quota: self.clone(), bytes })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.quota.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The quotas of all guests.
#[derive(Debug, Default)]
pub(crate) struct Quotas(BTreeMap<u16, Quota>);

impl Quotas {
    /// The one of a guest, the same for as long as any part of the guest is served.
    pub(crate) fn of(&mut self, domain: u16) -> Quota {
        self.0.entry(domain).or_default().clone()
    }

    /// Forgets guests of which nothing is served any more.
    pub(crate) fn forget_the_gone(&mut self) {
        self.0.retain(|_, quota| Arc::strong_count(&quota.0) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_gets_no_more_than_its_quota_and_all_of_it_again() {
        let mut quotas = Quotas::default();
        let quota = quotas.of(3);
        let first = quota.reserve(60, 100).unwrap();
        assert!(quotas.of(3).reserve(41, 100).is_none());
        let second = quotas.of(3).reserve(40, 100).unwrap();
        assert!(quota.reserve(1, 100).is_none() && quotas.of(4).reserve(100, 100).is_some());
        assert!(quota.reserve(u64::MAX, u64::MAX).is_none());
        drop((first, second));
        assert!(quota.reserve(100, 100).is_some());
        quotas.forget_the_gone();
        assert_eq!(quotas.0.len(), 1);
    }
}
