//! Resources of a device's connection in protocol version 0: one page and one event channel.

use std::sync::Arc;

use frontend::v0::Stream;
use xen::{Access, DomainId, EventChannel, Granted, Xen};

use super::Epoch;
use crate::{Result, quarantine};

/// A device's ring and channel. Dropping it ends the access; the `xen` crate quarantines pages that the backend still
/// maps.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) stream: Stream<Granted>,
    pub(crate) channel: EventChannel,
    pub(crate) epoch: Arc<Epoch>,
    /// Reference of the ring's page.
    pub(crate) page: u32,
}

impl Transport {
    pub(crate) fn new(xen: &Xen, backend: DomainId, stream_id: u32, epoch: &Arc<Epoch>) -> Result<Self> {
        let page = quarantine::grant(xen, backend, 1, Access::ReadWrite)?;
        Ok(Self {
            page: page.refs().first().map_or(0, |reference| reference.0),
            stream: Stream::new(page, stream_id),
            channel: xen.alloc_unbound(backend)?,
            epoch: Arc::clone(epoch),
        })
    }

    /// Returns true if another open can use it: closed, and nothing unanswered.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.epoch.is_lost()
            && self.stream.violation().is_none()
            && self.stream.in_flight() == 0
            && !self.stream.is_open()
    }
}
