//! Tests of page directories that we write and read, and that the other side makes up.

use proptest::prelude::*;
use sndif::{
    DIRECTORY_REFS, DirectoryStep as Step, DirectoryViolation as Violation, DirectoryWalk, DirectoryWriter, GrantRef,
    PAGE_BYTES, SharedMemory, pages_for,
};

use sndif::test_utils::Pages;

/// Largest number of buffer pages of any directory.
const MOST: usize = 16 * DIRECTORY_REFS;

fn bytes(pages: usize) -> u32 {
    u32::try_from(pages * PAGE_BYTES).expect("below 4 GiB")
}

fn own(pages: usize) -> Vec<GrantRef> {
    (1..).map(|number| GrantRef(1_000_000 + number)).take(pages).collect()
}

/// Walks the directory in `memory`, whose pages have the references `own`.
fn walk(memory: &Pages, own: &[GrantRef], buffer_bytes: u32) -> Result<(Vec<GrantRef>, usize), Violation> {
    let (mut walk, mut step) = DirectoryWalk::new(own[0], buffer_bytes)?;
    let (mut refs, mut pages) = (Vec::new(), 0);
    while let Step::Page(page) = step {
        let index = own.iter().position(|&one| one == page).expect("one of the directory's pages");
        step = walk.page(&memory.page(index), |reference| refs.push(reference))?;
        pages += 1;
    }
    Ok((refs, pages))
}

fn round_trip(buffer: &[GrantRef], spare_pages: usize) {
    let pages = DirectoryWriter::pages(buffer.len());
    let memory = Pages::new(pages + spare_pages);
    let own = own(pages + spare_pages);
    assert!(DirectoryWriter::write(&memory, &own, buffer));
    assert_eq!(walk(&memory, &own, bytes(buffer.len())), Ok((buffer.to_vec(), pages)));
}

#[test]
fn a_directory_of_any_number_of_pages_is_read_as_it_was_written() {
    let counts = [1, 2, 1022, 1023, 1024, 2 * DIRECTORY_REFS, 2 * DIRECTORY_REFS + 1, MOST - 1, MOST];
    // With miri, the largest would take minutes.
    for count in counts.into_iter().take(if cfg!(miri) { 5 } else { 9 }) {
        let buffer: Vec<_> = (8..).map(GrantRef).take(count).collect();
        round_trip(&buffer, 0);
        round_trip(&buffer, 2);
    }
}

#[test]
fn the_last_page_names_no_next_one_and_the_others_do() {
    let buffer: Vec<_> = (8..).map(GrantRef).take(DIRECTORY_REFS + 1).collect();
    let (memory, own) = (Pages::new(2), own(2));
    assert!(DirectoryWriter::write(&memory, &own, &buffer));
    assert_eq!(memory.load_acquire(0), own[1].0);
    assert_eq!(memory.load_acquire(PAGE_BYTES), 0);
    assert_eq!(memory.load_acquire(PAGE_BYTES + 4), buffer[DIRECTORY_REFS].0);
}

#[test]
fn a_directory_that_does_not_fit_is_not_written() {
    let buffer: Vec<_> = (8..).map(GrantRef).take(DIRECTORY_REFS + 1).collect();
    assert!(!DirectoryWriter::write(&Pages::new(1), &own(2), &buffer));
    assert!(!DirectoryWriter::write(&Pages::new(2), &own(1), &buffer));
}

#[test]
fn a_last_page_need_not_be_full_nor_a_buffer_whole_pages() {
    assert_eq!(pages_for(1), 1);
    assert_eq!(pages_for(4096), 1);
    assert_eq!(pages_for(4097), 2);
    assert_eq!(pages_for(u32::MAX), 1 << 20);
    let (memory, own) = (Pages::new(1), own(1));
    assert!(DirectoryWriter::write(&memory, &own, &[GrantRef(8), GrantRef(9)]));
    assert_eq!(walk(&memory, &own, 4097).unwrap().0, [GrantRef(8), GrantRef(9)]);
    assert_eq!(walk(&memory, &own, 3 * 4096), Err(Violation::MissingRef));
}

#[test]
fn page_directory_buffers_that_none_describes_are_refused() {
    for size in [0, bytes(MOST) + 1, u32::MAX] {
        assert_eq!(DirectoryWalk::new(GrantRef(9), size).unwrap_err(), Violation::BufferSize);
    }
    assert_eq!(DirectoryWalk::new(GrantRef(0), 4096).unwrap_err(), Violation::MissingRef);
}

#[test]
fn page_directory_a_circle_is_found_wherever_it_closes() {
    let count = 4 * DIRECTORY_REFS;
    let buffer: Vec<_> = (8..).map(GrantRef).take(count).collect();
    for (from, to) in [(0, 0), (1, 0), (2, 2), (2, 1)] {
        let (memory, own) = (Pages::new(4), own(4));
        assert!(DirectoryWriter::write(&memory, &own, &buffer));
        memory.store_release(from * PAGE_BYTES, own[to].0);
        assert_eq!(walk(&memory, &own, bytes(count)), Err(Violation::Circular(own[to])));
    }
}

#[test]
fn what_the_last_page_names_as_next_is_not_looked_at() {
    let (memory, own) = (Pages::new(1), own(1));
    assert!(DirectoryWriter::write(&memory, &own, &[GrantRef(8)]));
    memory.store_release(0, own[0].0);
    assert_eq!(walk(&memory, &own, 4096), Ok((vec![GrantRef(8)], 1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 48 }))]

    #[test]
    fn any_references_are_read_as_they_were_written(buffer in proptest::collection::vec(1..u32::MAX, 1..2500)) {
        let buffer: Vec<_> = buffer.into_iter().map(GrantRef).collect();
        round_trip(&buffer, 0);
    }

    /// Pages of noise with few or no zeroes, whose `next` often leads to a page seen before.
    #[test]
    fn page_directory_whatever_the_pages_hold_they_are_few_and_different(
        buffer_bytes in prop_oneof![any::<u32>(), 0..bytes(MOST)],
        first in 0..4_u32,
        seeds in proptest::collection::vec((0..6_u32, any::<u8>(), prop_oneof![Just(None), (1..1024_usize).prop_map(Some)]), 20),
    ) {
        let Ok((mut walk, mut step)) = DirectoryWalk::new(GrantRef(first), buffer_bytes) else { return Ok(()) };
        let most = pages_for(buffer_bytes).div_ceil(DIRECTORY_REFS);
        let (mut visited, mut refs) = (Vec::new(), 0);
        for (next, noise, hole) in seeds {
            let Step::Page(page) = step else { break };
            prop_assert!(!visited.contains(&page) && page.0 != 0);
            visited.push(page);
            prop_assert!(visited.len() <= most);
            let mut bytes = [noise; PAGE_BYTES];
            bytes[..4].copy_from_slice(&next.to_le_bytes());
            if let Some(hole) = hole {
                bytes[hole * 4..hole * 4 + 4].fill(0);
            }
            match walk.page(&bytes, |reference| {
                assert_ne!(reference.0, 0);
                refs += 1;
            }) {
                Ok(then) => step = then,
                Err(_) => return Ok(()),
            }
        }
        prop_assert_eq!(step, Step::Done);
        prop_assert_eq!((visited.len(), refs), (most, pages_for(buffer_bytes)));
    }
}
