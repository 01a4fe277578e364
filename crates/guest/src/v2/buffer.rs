//! An opened stream's buffer: pages that contain nothing but its audio, and the directory that names them.

use sndif::{DirectoryWriter, GrantRef, pages_for};
use xen::{Access, DomainId, Granted, Xen};

use crate::{Result, quarantine};

/// Granted pages of one open. Xen gives them zeroed, whole and never used before, so that the audio is the guest's only
/// data in them (XSA-403).
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) pages: Granted,
    directory: Granted,
}

impl Buffer {
    /// Grants `bytes` bytes, rounded up to whole pages.
    pub(crate) fn new(xen: &Xen, backend: DomainId, bytes: u32) -> Result<Self> {
        let pages = quarantine::grant(xen, backend, pages_for(bytes), Access::ReadWrite)?;
        let directory_pages = DirectoryWriter::pages(pages_for(bytes));
        let directory = quarantine::grant(xen, backend, directory_pages, Access::ReadWrite)?;
        let written = DirectoryWriter::write(&directory, directory.refs(), pages.refs());
        debug_assert!(written, "the directory has as many pages as it needs");
        Ok(Self { pages, directory })
    }

    /// Returns the first page of the directory, for OPEN.
    pub(crate) fn directory(&self) -> GrantRef {
        self.directory.refs().first().copied().unwrap_or(GrantRef(0))
    }

    /// Takes the pages back. Pages that the backend still maps go into quarantine: dropped, but not freed before the
    /// last mapping ends (XSA-396).
    pub(crate) fn end(self) {
        for pages in [self.pages, self.directory] {
            if let Err(still_mapped) = pages.end_access() {
                drop(still_mapped.granted);
            }
        }
    }
}
