//! A card of a hostile guest: its place in the store, its connection, and its streams.

use backend::{Action, DeviceLimits, Handshake};
use sndif::store::{Direction, LimitNodes, Limits};
use sndif::test_utils::Pages;
use sndif::{
    DirectoryStep as Walk, DirectoryWalk, Errno, GrantRef, PAGE_BYTES, Protocol, SharedMemory, XenbusState, pages_for,
};

use super::served::{Broken, Served, Served0, Served2};
use crate::streams::offer;

/// Minimum time between the failure of a card and the next offer.
const HOLD_OFF_NS: u64 = 200_000_000;

/// First reference of the directory pages; references from [`UNMAPPABLE`] on cannot be mapped.
const DIRECTORIES: u32 = 0x100;
pub(super) const UNMAPPABLE: u32 = 0x200;

/// One stream, connected or not.
pub(super) struct Line {
    pub(super) ring: Pages,
    pub(super) events: Pages,
    /// Index of the guest's next request, and its id.
    pub(super) next: u32,
    pub(super) direction: Direction,
    pub(super) served: Option<Box<dyn Served>>,
}

impl Line {
    fn new(direction: Direction) -> Self {
        Self { ring: Pages::new(1), events: Pages::new(1), next: 0, direction, served: None }
    }

    /// Replaces the pages, as for a guest that starts again.
    fn renew(&mut self) {
        *self = Self { served: self.served.take(), ..Self::new(self.direction) };
    }
}

/// The first references in the guest's directory pages; programs change only these.
type Directories = [[u32; 8]; 4];

pub(super) struct Card {
    pub(super) protocol: Protocol,
    pub(super) lines: Vec<Line>,
    handshake: Handshake,
    frontend: XenbusState,
    online: bool,
    permitted: bool,
    /// The limits from the nodes of the streams; `None` if the nodes are invalid.
    limits: Option<Limits>,
    directories: Directories,
    /// Time when the connection was broken; `stepped_back` is true if the guest has left its state since.
    broken_ns: Option<u64>,
    stepped_back: bool,
    noise: u32,
}

impl Card {
    pub(super) fn new(protocol: Protocol, noise: u32, frontend: XenbusState) -> Self {
        let (handshake, actions) = Handshake::new(protocol, frontend, 0);
        assert_eq!(actions.len(), 1);
        let lines = match protocol {
            Protocol::V2 => [Direction::Playback, Direction::Capture, Direction::Playback].map(Line::new).into(),
            Protocol::V0 => [Direction::Playback, Direction::Capture].map(Line::new).into(),
        };
        let mut card = Self {
            protocol,
            lines,
            handshake,
            frontend,
            online: true,
            permitted: true,
            limits: Some(offer().store),
            directories: Directories::default(),
            broken_ns: None,
            stepped_back: false,
            noise,
        };
        card.restore_directories();
        card
    }

    /// Writes the guest's state; with `moved`, also new transport nodes.
    pub(super) fn write_state(&mut self, state: XenbusState, moved: bool, now_ns: u64) {
        self.frontend = state;
        if moved {
            self.lines.iter_mut().for_each(Line::renew);
        }
        self.update(moved, now_ns);
    }

    pub(super) fn set_online(&mut self, online: bool, now_ns: u64) {
        self.online = online;
        self.update(false, now_ns);
    }

    /// Replaces the nodes of the guest's streams.
    pub(super) fn write_nodes(&mut self, nodes: &LimitNodes<'_>) {
        self.limits = offer().store.narrowed_by(nodes).ok();
    }

    pub(super) fn write_directory(&mut self, page: u8, at: u8, value: u32) {
        let reference = match value % 16 {
            0 => 0,
            1 => UNMAPPABLE + value / 16 % 4,
            2..=4 => DIRECTORIES + value / 16 % 6,
            _ => value / 16 % 64,
        };
        self.directories[usize::from(page % 4)][usize::from(at % 8)] = reference;
    }

    /// Restores valid directory pages: each with references of its own, and no next page.
    pub(super) fn restore_directories(&mut self) {
        self.directories =
            std::array::from_fn(|page| std::array::from_fn(|at| if at == 0 { 0 } else { (page * 8 + at) as u32 }));
    }

    pub(super) fn permit(&mut self, permitted: bool) {
        self.permitted = permitted;
        self.lines.iter_mut().filter_map(|line| line.served.as_mut()).for_each(|served| served.permit(permitted));
    }

    fn update(&mut self, moved: bool, now_ns: u64) {
        self.stepped_back |=
            !matches!(self.frontend, XenbusState::Initialised | XenbusState::Connected) || !self.online;
        let actions = self.handshake.update(self.frontend, self.online, moved, now_ns);
        self.act(actions, now_ns);
    }

    /// Performs the handshake's actions, in order.
    fn act(&mut self, actions: Vec<Action>, now_ns: u64) {
        for action in actions {
            match action {
                Action::Release => self.lines.iter_mut().for_each(|line| line.served = None),
                Action::SetState(XenbusState::InitWait) => {
                    if let Some(broken_ns) = self.broken_ns.take() {
                        assert!(self.stepped_back, "offered again to a guest that broke its connection");
                        assert!(now_ns >= broken_ns + HOLD_OFF_NS, "offered again at once");
                    }
                }
                Action::SetState(_) => {}
                Action::Connect => {
                    assert!(
                        self.lines.iter().all(|line| line.served.is_none()),
                        "the last connection was not released"
                    );
                    assert_eq!(self.broken_ns, None, "connected without an offer");
                    let connected = self.connect(now_ns);
                    self.connected(connected, now_ns);
                }
                Action::Resume => {
                    assert!(self.protocol == Protocol::V0);
                    self.lines.iter_mut().for_each(|line| line.served = None);
                    let connected = self.connect(now_ns);
                    self.connected(connected, now_ns);
                }
            }
        }
    }

    fn connected(&mut self, success: bool, now_ns: u64) {
        let actions = self.handshake.connected(success, now_ns);
        if !success {
            (self.broken_ns, self.stepped_back) = (Some(now_ns), false);
        }
        self.act(actions, now_ns);
    }

    fn connect(&mut self, now_ns: u64) -> bool {
        let Some(store) = self.limits else { return false };
        for line in &mut self.lines {
            self.noise = self.noise.wrapping_mul(0x915F_77F5).wrapping_add(1);
            line.served = Some(match self.protocol {
                Protocol::V2 => {
                    let offer = backend::Offer { store, ..offer() };
                    let config = backend::StreamConfig {
                        direction: line.direction,
                        offer,
                        permitted: self.permitted,
                        write_hold_off: false,
                    };
                    Box::new(Served2::new(config, self.noise, now_ns, &line.ring, &line.events))
                }
                Protocol::V0 => {
                    let allowed = self.permitted.then_some(DeviceLimits::ANY);
                    let config = backend::v0::StreamConfig {
                        direction: (self.noise & 1 == 0).then_some(line.direction),
                        playback: allowed,
                        capture: allowed,
                        lead_bytes_max: 4096,
                    };
                    Box::new(Served0::new(config, self.noise, now_ns, &line.ring))
                }
            });
        }
        true
    }

    /// Serves one stream; returns true if requests of it may be left.
    pub(super) fn serve(&mut self, line: usize, now_ns: u64, tail: &[u8]) -> bool {
        let Self { lines, directories, .. } = self;
        let Line { ring, served, .. } = &mut lines[line];
        let Some(served) = served else { return false };
        match served.serve(now_ns, tail, &mut |first, bytes| map(directories, first, bytes)) {
            Ok(more) => more,
            Err(Broken) => {
                // The ring stays broken, even after the guest repairs it.
                ring.store_release(0, served.answered());
                let again = served.serve(now_ns, tail, &mut |_, _| Err(Errno::EFAULT));
                assert_eq!(again, Err(Broken));
                (self.broken_ns, self.stepped_back) = (Some(now_ns), false);
                let actions = self.handshake.broken(now_ns);
                self.act(actions, now_ns);
                assert!(self.lines.iter().all(|line| line.served.is_none()));
                false
            }
        }
    }

    pub(super) fn next_wake_ns(&self) -> Option<u64> {
        let streams = self.lines.iter().filter_map(|line| line.served.as_ref()?.next_wake_ns());
        streams.chain(self.handshake.next_wake_ns()).min()
    }

    /// Handles all due work of the card.
    pub(super) fn wake(&mut self, now_ns: u64, tail: &[u8]) {
        if self.handshake.next_wake_ns().is_some_and(|at| at <= now_ns) {
            self.update(false, now_ns);
        }
        for line in 0..self.lines.len() {
            let Some(served) = self.lines[line].served.as_mut() else { continue };
            if served.next_wake_ns().is_some_and(|at| at <= now_ns) {
                served.look(now_ns, tail);
                self.serve(line, now_ns, tail);
            }
        }
    }

    /// Checks the invariants.
    pub(super) fn check(&self) {
        let connected = self.lines.iter().filter(|line| line.served.is_some()).count();
        assert_eq!(connected > 0, self.handshake.state() == XenbusState::Connected);
        assert!(connected == 0 || connected == self.lines.len());
        let held: u64 = self.lines.iter().filter_map(|line| Some(line.served.as_ref()?.held_bytes())).sum();
        assert!(held <= self.lines.len() as u64 * u64::from(crate::streams::BUFFER_BYTES_MAX), "held: {held}");
    }
}

/// Follows a directory of the guest, like the daemon.
fn map(directories: &Directories, first: GrantRef, bytes: u32) -> Result<(), Errno> {
    let (mut pages, mut refs) = (0, Vec::new());
    let (mut walk, mut step) = DirectoryWalk::new(first, bytes).map_err(|_| Errno::EINVAL)?;
    while let Walk::Page(reference) = step {
        pages += 1;
        assert!(pages <= pages_for(bytes).div_ceil(1023), "more pages of a directory than the buffer needs");
        let index = reference.0.wrapping_sub(DIRECTORIES) as usize;
        let Some(entries) = directories.get(index) else { return Err(Errno::EFAULT) };
        let page = Pages::new(1);
        for at in 0..PAGE_BYTES / 4 {
            let entry = entries.get(at).copied().unwrap_or(64 + at as u32);
            page.store_release(at * 4, entry);
            if at > pages_for(bytes) {
                break;
            }
        }
        step = walk.page(&page.page(0), |reference| refs.push(reference.0)).map_err(|_| Errno::EINVAL)?;
    }
    assert_eq!(refs.len(), pages_for(bytes));
    if refs.iter().any(|&reference| reference >= UNMAPPABLE) {
        return Err(Errno::EFAULT);
    }
    refs.sort_unstable();
    if refs.is_sorted_by(|one, next| one < next) { Ok(()) } else { Err(Errno::EINVAL) }
}
