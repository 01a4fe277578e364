//! The buffer of a stream: the pages that a guest's page directory names. They are mapped and unmapped in parts, so that
//! other streams have their turn in between.

use std::collections::TryReserveError;

use sndif::{DirectoryStep, DirectoryWalk, GrantRef, PAGE_BYTES, SharedMemory};
use xen::{Access, DomainId, Mapped, Xen};

use crate::quota::Reserved;

/// Pages that are mapped or unmapped at once, and their size.
pub(crate) const PART_PAGES: usize = 64;
const PART_BYTES: usize = PART_PAGES * PAGE_BYTES;

/// Reason why a buffer cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BufferError {
    #[error(transparent)]
    Directory(#[from] sndif::DirectoryViolation),
    #[error("page {0} is named twice")]
    Twice(u32),
    #[error(transparent)]
    Map(#[from] xen::Error),
    #[error("the host has no memory for the list of its pages")]
    Memory(#[from] TryReserveError),
}

/// A mapped buffer. Every part but the last has the same size.
pub(crate) struct Buffer {
    parts: Vec<Mapped>,
    /// Share of the buffer in the guest's quota, held until the last page is unmapped.
    _reserved: Reserved,
}

impl Buffer {
    /// Unmaps a part; returns its size in bytes, 0 once nothing is left.
    pub(crate) fn unmap_part(&mut self) -> u64 {
        self.parts.pop().map_or(0, |part| part.len() as u64)
    }

    /// Calls `act` on each stretch of `[offset, offset + length)` that lies within one part: with the part, the place in
    /// it, and the place in the range. Returns false, and calls nothing, if the range is not within the buffer.
    fn stretches(
        &self,
        offset: usize,
        length: usize,
        mut act: impl FnMut(&Mapped, usize, std::ops::Range<usize>) -> bool,
    ) -> bool {
        if offset.checked_add(length).is_none_or(|end| end > self.len()) {
            return false;
        }
        let mut done = 0;
        while done < length {
            let (part, within) = ((offset + done) / PART_BYTES, (offset + done) % PART_BYTES);
            let count = (length - done).min(PART_BYTES - within);
            if !self.parts.get(part).is_some_and(|part| act(part, within, done..done + count)) {
                return false;
            }
            done += count;
        }
        true
    }
}

impl SharedMemory for Buffer {
    fn len(&self) -> usize {
        self.parts.last().map_or(0, |last| (self.parts.len() - 1) * PART_BYTES + last.len())
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        self.parts.get(offset / PART_BYTES).map_or(0, |part| part.load_acquire(offset % PART_BYTES))
    }

    fn store_release(&self, offset: usize, value: u32) {
        if let Some(part) = self.parts.get(offset / PART_BYTES) {
            part.store_release(offset % PART_BYTES, value);
        }
    }

    fn full_fence(&self) {
        if let Some(part) = self.parts.first() {
            part.full_fence();
        }
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        let read = self.stretches(offset, into.len(), |part, within, range| {
            into.get_mut(range).is_some_and(|stretch| part.read(within, stretch))
        });
        if !read {
            into.fill(0);
        }
        read
    }

    fn write(&self, offset: usize, from: &[u8]) -> bool {
        self.stretches(offset, from.len(), |part, within, range| {
            from.get(range).is_some_and(|stretch| part.write(within, stretch))
        })
    }
}

/// A buffer that is being mapped. When dropped, unmaps what was mapped so far.
pub(crate) struct Mapping {
    guest: DomainId,
    /// The walk through the directory and its next page, until all pages of the buffer are known.
    walk: Option<(DirectoryWalk, GrantRef)>,
    refs: Vec<GrantRef>,
    buffer: Buffer,
}

impl Mapping {
    /// Begins with the directory page `first` of a buffer of `buffer_bytes`, for which `reserved` was reserved.
    pub(crate) fn new(
        guest: DomainId,
        first: GrantRef,
        buffer_bytes: u32,
        reserved: Reserved,
    ) -> Result<Self, BufferError> {
        let (walk, step) = DirectoryWalk::new(first, buffer_bytes)?;
        let pages = sndif::pages_for(buffer_bytes);
        let (mut refs, mut parts) = (Vec::new(), Vec::new());
        refs.try_reserve_exact(pages)?;
        parts.try_reserve_exact(pages.div_ceil(PART_PAGES))?;
        let walk = match step {
            DirectoryStep::Page(first) => Some((walk, first)),
            DirectoryStep::Done => None,
        };
        Ok(Self { guest, walk, refs, buffer: Buffer { parts, _reserved: reserved } })
    }

    /// Reads a page of the directory, or maps a part. Returns the size in bytes of the pages that were named or mapped.
    ///
    /// # Errors
    /// The buffer cannot be mapped; the value is to be dropped.
    pub(crate) fn go_on(&mut self, xen: &Xen) -> Result<u64, BufferError> {
        let Some((walk, reference)) = self.walk.take() else {
            let rest = self.refs.get(self.buffer.parts.len() * PART_PAGES..).unwrap_or_default();
            let part = xen.map(self.guest, &rest[..rest.len().min(PART_PAGES)], Access::ReadWrite)?;
            let bytes = part.len() as u64;
            self.buffer.parts.push(part);
            return Ok(bytes);
        };
        let known = self.refs.len();
        self.read_directory(xen, walk, reference)?;
        Ok(((self.refs.len() - known) * PAGE_BYTES) as u64)
    }

    /// Copies a directory page once, and unmaps it before anything in it is used.
    fn read_directory(&mut self, xen: &Xen, mut walk: DirectoryWalk, page: GrantRef) -> Result<(), BufferError> {
        let mut bytes = [0; PAGE_BYTES];
        xen.map(self.guest, &[page], Access::ReadOnly)?.read(0, &mut bytes);
        match walk.page(&bytes, |reference| self.refs.push(reference))? {
            DirectoryStep::Page(next) => self.walk = Some((walk, next)),
            DirectoryStep::Done => self.check_different()?,
        }
        Ok(())
    }

    /// Refuses a page that is named many times: to the guest it is one page, to the host as many mappings.
    fn check_different(&self) -> Result<(), BufferError> {
        let mut sorted = Vec::new();
        sorted.try_reserve_exact(self.refs.len())?;
        sorted.extend(self.refs.iter().map(|reference| reference.0));
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(BufferError::Twice(pair[0])),
            None => Ok(()),
        }
    }

    /// Returns true if the whole buffer is mapped.
    pub(crate) fn is_complete(&self) -> bool {
        self.walk.is_none() && self.buffer.parts.len() == self.refs.len().div_ceil(PART_PAGES)
    }

    /// The buffer, as far as it is mapped.
    pub(crate) fn into_buffer(self) -> Buffer {
        self.buffer
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::quota::Quota;
    use sndif::DirectoryWriter;
    use xen::{Granted, emu};

    const GUEST: DomainId = DomainId(1);

    /// A directory of `refs`, granted to domain 0.
    pub(crate) fn directory(guest: &Xen, refs: &[GrantRef]) -> Granted {
        let directory = guest.grant(DomainId(0), DirectoryWriter::pages(refs.len()), Access::ReadOnly).unwrap();
        assert!(DirectoryWriter::write(&directory, directory.refs(), refs));
        directory
    }

    #[test]
    fn the_parts_of_a_buffer_are_one_memory() {
        let dir = tempfile::tempdir().unwrap();
        let emulation = emu::spawn(dir.path()).unwrap();
        let (host, guest) = (emulation.open(DomainId(0)).unwrap(), emulation.open(GUEST).unwrap());
        let bytes = 2 * PART_BYTES + PAGE_BYTES;
        let pages = guest.grant(DomainId(0), bytes / PAGE_BYTES, Access::ReadWrite).unwrap();
        let directory = directory(&guest, pages.refs());
        let reserved = Quota::default().reserve(1, 1).unwrap();
        let mut mapping = Mapping::new(GUEST, directory.refs()[0], bytes as u32, reserved).unwrap();
        while !mapping.is_complete() {
            mapping.go_on(&host).unwrap();
        }
        let mut buffer = mapping.into_buffer();
        assert_eq!(buffer.len(), bytes);
        let sound: Vec<u8> = (0..bytes).map(|at| (at / 7) as u8).collect();
        for (offset, end) in [(0, bytes), (PART_BYTES - 3, PART_BYTES + 2), (PART_BYTES - 3, bytes - 1), (bytes, bytes)]
        {
            assert!(pages.write(0, &sound));
            let mut read = vec![0; end - offset];
            assert!(buffer.read(offset, &mut read));
            assert_eq!(read, sound[offset..end]);
            assert!(pages.write(0, &vec![0; bytes]));
            assert!(buffer.write(offset, &sound[offset..end]));
            let mut written = vec![0; bytes];
            assert!(pages.read(0, &mut written));
            assert_eq!(written[offset..end], sound[offset..end]);
            assert!(written[..offset].iter().chain(&written[end..]).all(|&byte| byte == 0));
        }
        for (offset, length) in [(bytes - 1, 2), (bytes + 1, 0), (usize::MAX, 2), (0, bytes + 1)] {
            let mut read = vec![7; length];
            assert!(!buffer.read(offset, &mut read) && !buffer.write(offset, &vec![7; length]));
            assert!(read.iter().all(|&byte| byte == 0));
        }
        buffer.store_release(2 * PART_BYTES + 4, 0x0807_0605);
        assert_eq!(
            (pages.load_acquire(2 * PART_BYTES + 4), buffer.load_acquire(2 * PART_BYTES + 4)),
            (0x0807_0605, 0x0807_0605)
        );
        for left in [2, 1, 0] {
            assert!(buffer.unmap_part() > 0);
            assert_eq!((buffer.len(), host.usage().mapped_pages), (left * PART_BYTES, left * PART_PAGES));
        }
        assert_eq!(buffer.unmap_part(), 0);
    }
}
