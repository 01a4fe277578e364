//! Mapping of what a guest granted: ring, event page, and the buffer behind a page directory.

use sndif::{DirectoryStep, DirectoryWalk, GrantRef, PAGE_BYTES, SharedMemory};
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

/// Reason why a buffer cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BufferError {
    #[error(transparent)]
    Directory(#[from] sndif::DirectoryViolation),
    #[error("page {0} is named twice")]
    Twice(u32),
    #[error(transparent)]
    Map(#[from] xen::Error),
}

/// Maps the buffer that the page directory starting at `first` describes. Each directory page is mapped, copied once
/// and unmapped before anything in it is used.
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
    let mut sorted = refs.clone();
    sorted.sort_unstable_by_key(|reference| reference.0);
    // A page that is named many times costs the guest one page, and us that many mappings.
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(BufferError::Twice(pair[0].0));
    }
    Ok(xen.map(guest, &refs, Access::ReadWrite)?)
}
