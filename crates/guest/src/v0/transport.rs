//! Resources of a device's connection in protocol version 0: one page and one event channel.

use std::sync::Arc;

use frontend::Counters;
use frontend::v0::Stream;
use xen::{Access, DomainId, EventChannel, Granted, Xen};

use crate::transport::{self, Epoch, Wire};
use crate::{Result, quarantine};

/// A device's ring and channel.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) stream: Stream<Granted>,
    pub(crate) channel: EventChannel,
    epoch: Arc<Epoch>,
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
}

impl transport::Transport for Transport {
    fn from_wire(wire: Wire) -> Option<Self> {
        if let Wire::V0(transport) = wire { Some(*transport) } else { None }
    }
    fn into_wire(self) -> Wire {
        Wire::V0(Box::new(self))
    }
    fn epoch(&self) -> &Arc<Epoch> {
        &self.epoch
    }
    fn ring(&self) -> &EventChannel {
        &self.channel
    }
    fn counters(&self) -> Counters {
        let frontend::v0::Counters { requests, responses, errors, moved_bytes: _ } = self.stream.counters();
        Counters { requests, responses, errors, ..Counters::default() }
    }
    fn is_broken(&self) -> bool {
        self.stream.violation().is_some()
    }
    fn is_idle(&self) -> bool {
        self.stream.in_flight() == 0 && !self.stream.is_open()
    }
}
