//! Targets for the protocol's packets and the page directory.

use sndif::v2::{Event, Request, Response};
use sndif::{DIRECTORY_REFS, DirectoryStep, DirectoryWalk, GrantRef, PAGE_BYTES, pages_for};

use crate::input::Input;

/// Parses any packet as a request, a response and an event; a parsed packet must be the same after emitting and
/// parsing again. Then follows a directory of pages that are filled from the input.
pub fn packets(bytes: &[u8]) {
    let mut input = Input(bytes);
    let packet = input.packet();
    if let Ok(request) = Request::parse(&packet) {
        assert_eq!(Request::parse(&request.emit()), Ok(request));
    }
    if let Ok(response) = Response::parse(&packet) {
        assert_eq!(Response::parse(&response.emit()), Ok(response));
    }
    if let Ok(event) = Event::parse(&packet) {
        assert_eq!(Event::parse(&event.emit()), Ok(event));
    }
    directory(&mut input);
}

fn directory(input: &mut Input<'_>) {
    let (first, buffer_bytes) = (GrantRef(u32::from(input.u8())), input.u32());
    let Ok((mut walk, mut step)) = DirectoryWalk::new(first, buffer_bytes) else { return };
    let most = pages_for(buffer_bytes).div_ceil(DIRECTORY_REFS);
    let (mut seen, mut refs) = (Vec::new(), 0);
    while let DirectoryStep::Page(page) = step {
        assert!(!seen.contains(&page) && seen.len() < most);
        seen.push(page);
        let (next, fill, hole) = (u32::from(input.u8()), input.u8(), usize::from(input.u16()));
        let mut bytes = [fill; PAGE_BYTES];
        bytes[..4].copy_from_slice(&next.to_le_bytes());
        if let Some(word) = bytes.get_mut(hole..hole + 4) {
            word.fill(0);
        }
        match walk.page(&bytes, |reference| {
            assert_ne!(reference.0, 0);
            refs += 1;
        }) {
            Ok(then) => step = then,
            Err(_) => return,
        }
    }
    assert_eq!((refs, seen.len()), (pages_for(buffer_bytes), most));
}
