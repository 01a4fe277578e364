//! Mapping what a guest granted: ring, event page, and the buffer behind a page directory.

use sndif::{DirectoryStep, DirectoryWalk, GrantRef, PAGE_BYTES, SharedMemory};
use xen::{Access, DomainId, EventChannel, Mapped, Port, Xen};

/// The four transport nodes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transport {
    pub(crate) ring_ref: GrantRef,
    pub(crate) port: Port,
    pub(crate) event_ref: GrantRef,
    pub(crate) event_port: Port,
}

/// A stream's pages and channels.
pub(crate) struct Attached {
    pub(crate) ring: Mapped,
    pub(crate) channel: EventChannel,
    pub(crate) events: Mapped,
    pub(crate) event_channel: EventChannel,
}

impl Transport {
    /// Maps and binds all; what succeeded before an error is undone.
    pub(crate) fn attach(&self, xen: &Xen, guest: DomainId) -> xen::Result<Attached> {
        Ok(Attached {
            ring: xen.map(guest, &[self.ring_ref], Access::ReadWrite)?,
            events: xen.map(guest, &[self.event_ref], Access::ReadWrite)?,
            channel: xen.bind_interdomain(guest, self.port)?,
            event_channel: xen.bind_interdomain(guest, self.event_port)?,
        })
    }
}

/// Why a buffer cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BufferError {
    #[error("{0}")]
    Directory(#[from] sndif::DirectoryViolation),
    #[error("{0}")]
    Map(#[from] xen::Error),
}

/// Maps the buffer that the page directory starting at `first` describes. Each directory page is
/// mapped, copied once and unmapped before anything in it is believed.
pub(crate) fn map_buffer(
    xen: &Xen,
    guest: DomainId,
    first: GrantRef,
    buffer_bytes: u32,
) -> Result<Mapped, BufferError> {
    let (mut walk, mut step) = DirectoryWalk::new(first, buffer_bytes)?;
    let mut refs = Vec::with_capacity(sndif::pages_for(buffer_bytes));
    while let DirectoryStep::Page(reference) = step {
        let mut page = [0; PAGE_BYTES];
        xen.map(guest, &[reference], Access::ReadOnly)?.read(0, &mut page);
        step = walk.page(&page, |reference| refs.push(reference))?;
    }
    Ok(xen.map(guest, &refs, Access::ReadWrite)?)
}
