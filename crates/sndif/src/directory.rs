//! The page directory: the list of grants that make up a stream's shared buffer.
//!
//! Each directory page holds the reference of the next one (0 = last) and up to 1023 references of
//! buffer pages (sndif.h, `struct xensnd_page_directory`).

use core::fmt;

use crate::{GrantRef, PAGE_BYTES, SharedMemory};

/// Buffer references in one directory page.
pub const DIRECTORY_REFS: usize = PAGE_BYTES / 4 - 1;

/// Maximum number of directory pages that [`DirectoryWalk`] follows: buffers up to 64 MB.
const MAX_PAGES: usize = 16;

/// Number of pages that hold `buffer_bytes` bytes.
#[must_use]
pub const fn pages_for(buffer_bytes: u32) -> usize {
    (buffer_bytes as usize).div_ceil(PAGE_BYTES)
}

/// Fault of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// The buffer is empty or larger than 16 directory pages can describe.
    BufferSize,
    /// Reference 0 where a page has to be named.
    MissingRef,
    /// A directory page names one that was already read.
    Circular(GrantRef),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferSize => f.write_str("buffer is empty or too large for a page directory"),
            Self::MissingRef => f.write_str("page directory ends before the buffer does"),
            Self::Circular(page) => write!(f, "page directory comes back to its page {}", page.0),
        }
    }
}

impl core::error::Error for Violation {}

/// Next step of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Copy the directory page with this reference and give it to [`DirectoryWalk::page`].
    Page(GrantRef),
    /// All references were given.
    Done,
}

/// Reads a directory of the other side, page after page, each copied once.
///
/// Reads exactly ceil(n/1023) pages, none of them twice, whatever they contain.
#[derive(Debug)]
pub struct DirectoryWalk {
    seen: [u32; MAX_PAGES],
    pages: usize,
    refs_left: usize,
}

impl DirectoryWalk {
    /// Starts at `first` for a buffer of `buffer_bytes` bytes.
    ///
    /// # Errors
    /// [`Violation::BufferSize`], or [`Violation::MissingRef`] when `first` is 0.
    pub fn new(first: GrantRef, buffer_bytes: u32) -> Result<(Self, Step), Violation> {
        let refs_left = pages_for(buffer_bytes);
        if refs_left == 0 || refs_left > MAX_PAGES * DIRECTORY_REFS {
            return Err(Violation::BufferSize);
        }
        let mut walk = Self { seen: [0; MAX_PAGES], pages: 0, refs_left };
        let step = walk.visit(first)?;
        Ok((walk, step))
    }

    /// Takes the copy of the requested page, and passes its references to `refs` in order.
    ///
    /// # Errors
    /// A [`Violation`]; the references passed until then must not be used.
    pub fn page(&mut self, page: &[u8; PAGE_BYTES], mut refs: impl FnMut(GrantRef)) -> Result<Step, Violation> {
        let (words, _) = page.as_chunks::<4>();
        let mut words = words.iter().map(|&word| u32::from_le_bytes(word));
        let next = words.next().unwrap_or(0);
        for reference in words.take(self.refs_left) {
            if reference == 0 {
                return Err(Violation::MissingRef);
            }
            self.refs_left = self.refs_left.saturating_sub(1);
            refs(GrantRef(reference));
        }
        if self.refs_left == 0 { Ok(Step::Done) } else { self.visit(GrantRef(next)) }
    }

    fn visit(&mut self, page: GrantRef) -> Result<Step, Violation> {
        if page.0 == 0 {
            return Err(Violation::MissingRef);
        }
        if self.seen.iter().take(self.pages).any(|&seen| seen == page.0) {
            return Err(Violation::Circular(page));
        }
        // `new` bounds the references, so there is a place for every page of the walk.
        let place = self.seen.get_mut(self.pages).ok_or(Violation::BufferSize)?;
        *place = page.0;
        self.pages = self.pages.saturating_add(1);
        Ok(Step::Page(page))
    }
}

/// Writes a directory for our own buffer.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryWriter;

impl DirectoryWriter {
    /// Number of directory pages for a buffer of `buffer_pages` pages.
    #[must_use]
    pub const fn pages(buffer_pages: usize) -> usize {
        buffer_pages.div_ceil(DIRECTORY_REFS)
    }

    /// Fills `memory`, whose pages have the references `own`, with the references `buffer`. Returns false when memory
    /// or `own` is too short for them.
    pub fn write(memory: &impl SharedMemory, own: &[GrantRef], buffer: &[GrantRef]) -> bool {
        let pages = Self::pages(buffer.len());
        if own.len() < pages || memory.len() < pages.saturating_mul(PAGE_BYTES) {
            return false;
        }
        buffer.chunks(DIRECTORY_REFS).enumerate().all(|(page, refs)| {
            let base = page.saturating_mul(PAGE_BYTES);
            let next = page.saturating_add(1);
            let next = if next < pages { own.get(next).map_or(0, |page| page.0) } else { 0 };
            memory.write(base, &next.to_le_bytes())
                && refs.iter().enumerate().all(|(index, page)| {
                    let at = base.saturating_add(index.saturating_add(1).saturating_mul(4));
                    memory.write(at, &page.0.to_le_bytes())
                })
        })
    }
}
