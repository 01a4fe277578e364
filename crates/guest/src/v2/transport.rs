//! Resources of a stream's connection: two pages and two event channels.

use std::sync::Arc;

use frontend::{Counters, Stream};
use sndif::store::Direction;
use xen::{Access, DomainId, EventChannel, Granted, Xen};

use crate::transport::{self, Epoch, Wire};
use crate::{Result, quarantine};

/// A stream's ring and event page with their channels.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) stream: Stream<Granted>,
    pub(crate) ring: EventChannel,
    pub(crate) events: EventChannel,
    epoch: Arc<Epoch>,
    /// References of the ring page and the event page.
    pub(crate) refs: [u32; 2],
}

impl Transport {
    pub(crate) fn new(
        xen: &Xen,
        backend: DomainId,
        direction: Direction,
        control_bytes: u32,
        epoch: &Arc<Epoch>,
    ) -> Result<Self> {
        let ring_page = quarantine::grant(xen, backend, 1, Access::ReadWrite)?;
        let event_page = quarantine::grant(xen, backend, 1, Access::ReadWrite)?;
        let reference = |page: &Granted| page.refs().first().map_or(0, |reference| reference.0);
        Ok(Self {
            refs: [reference(&ring_page), reference(&event_page)],
            stream: Stream::new(direction, ring_page, event_page, control_bytes),
            ring: xen.alloc_unbound(backend)?,
            events: xen.alloc_unbound(backend)?,
            epoch: Arc::clone(epoch),
        })
    }
}

impl transport::Transport for Transport {
    fn from_wire(wire: Wire) -> Option<Self> {
        if let Wire::V2(transport) = wire { Some(*transport) } else { None }
    }
    fn into_wire(self) -> Wire {
        Wire::V2(Box::new(self))
    }
    fn epoch(&self) -> &Arc<Epoch> {
        &self.epoch
    }
    fn ring(&self) -> &EventChannel {
        &self.ring
    }
    fn counters(&self) -> Counters {
        self.stream.counters()
    }
    fn is_broken(&self) -> bool {
        self.stream.violation().is_some()
    }
    fn is_idle(&self) -> bool {
        self.stream.in_flight() == 0 && self.stream.geometry().is_none()
    }
}
