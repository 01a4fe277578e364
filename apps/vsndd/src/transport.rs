//! Mapping of the pages that connect a stream: its ring and its event page, each with an event channel.

use sndif::GrantRef;
use xen::{Access, DomainId, EventChannel, Mapped, Port, Xen};

/// A shared page and its event channel, as the guest's nodes name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transport {
    pub(crate) page: GrantRef,
    pub(crate) port: Port,
}

/// A shared page and its event channel.
pub(crate) struct Attached {
    pub(crate) page: Mapped,
    pub(crate) channel: EventChannel,
}

impl Transport {
    /// Maps the page and binds the channel; on an error, what succeeded before is undone.
    pub(crate) fn attach(&self, xen: &Xen, guest: DomainId) -> xen::Result<Attached> {
        let page = xen.map(guest, &[self.page], Access::ReadWrite)?;
        Ok(Attached { page, channel: xen.bind_interdomain(guest, self.port)? })
    }
}
