//! Requests that take several turns, with turns and time as the test gives them. The pages of a guest are those of an
//! emulated Xen, which counts how many are mapped.

use super::*;
use crate::buffer::PART_PAGES;
use crate::buffer::tests::directory;
use crate::card::StreamNodes;
use crate::journal::Journal;
use crate::limiter::GuestLog;
use crate::poller::Poller;
use crate::quota::Quota;
use crate::stream::Stream as _;
use crate::transport::Transport;
use host_audio::{DeviceSpec, Fallback};
use sndif::store::Direction;
use sndif::v2::{FrontRing, OpenParams, Span};
use sndif::{Format, GrantRef, PAGE_BYTES, SharedMemory};
use tempfile::TempDir;
use xen::{Access, DomainId, Granted, Port, Xen, emu};

const HOST: DomainId = DomainId(0);
const GUEST: DomainId = DomainId(1);
/// Pages of ring and event page of a connected stream.
const TRANSPORT_PAGES: usize = 2;
/// Pages of a large buffer, and of a small one, which is mapped in one turn.
const LARGE: usize = 1024;
const SMALL: usize = 8;

/// An emulated Xen, and what a worker lends to its streams.
struct Host {
    // Fields are dropped in this order: the handles before the machine.
    xen: Xen,
    guest: Xen,
    _emulation: emu::Handle,
    _dir: TempDir,
    poller: Poller,
    journal: Journal,
    scratch: Vec<u8>,
    quota: Quota,
    now_ns: u64,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let emulation = emu::spawn(dir.path()).unwrap();
        Self {
            xen: emulation.open(HOST).unwrap(),
            guest: emulation.open(GUEST).unwrap(),
            _emulation: emulation,
            _dir: dir,
            poller: Poller::new().unwrap(),
            journal: Journal::default(),
            scratch: Vec::new(),
            quota: Quota::default(),
            now_ns: 0,
        }
    }

    fn mapped(&self) -> usize {
        self.xen.usage().mapped_pages
    }

    /// Bytes of the quota that no stream has taken.
    fn assert_quota_is_free(&self) {
        let most = Limits::BUFFER_BYTES_PER_DOMAIN;
        assert!(self.quota.reserve(most, most).is_some(), "a part of the quota is still taken");
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        act(&mut Turn {
            now_ns: self.now_ns,
            xen: &self.xen,
            poller: &self.poller,
            device_token: 0,
            journal: &mut self.journal,
            spent_bytes: 0,
            scratch: &mut self.scratch,
        })
    }
}

/// Pages of the guest for sound, with their directory.
struct Pages {
    pages: Granted,
    directory: Granted,
}

impl Pages {
    fn new(host: &Host, count: usize) -> Self {
        let pages = host.guest.grant(HOST, count, Access::ReadWrite).unwrap();
        let directory = directory(&host.guest, pages.refs());
        Self { pages, directory }
    }

    fn open(&self) -> Operation {
        Operation::Open(OpenParams {
            rate_hz: 48_000,
            format: Format::S16Le,
            channels: 2,
            buffer_bytes: self.pages.len() as u32,
            directory: self.directory.refs()[0],
            period_bytes: 0,
        })
    }
}

/// A playback stream, and the guest's end of its ring.
struct Stream {
    ring: FrontRing<Granted>,
    next_id: u16,
    host: GuestStream<V2>,
    _channels: [EventChannel; 2],
    _events: Granted,
}

impl Stream {
    fn new(host: &Host) -> Self {
        let page = || host.guest.grant(HOST, 1, Access::ReadWrite).unwrap();
        let channel = || host.guest.alloc_unbound(HOST).unwrap();
        let attach = |page: &Granted, channel: &EventChannel| Attached {
            page: host.xen.map(GUEST, page.refs(), Access::ReadWrite).unwrap(),
            channel: host.xen.bind_interdomain(GUEST, channel.port()).unwrap(),
        };
        let (ring, events, channels) = (page(), page(), [channel(), channel()]);
        let shared = [attach(&ring, &channels[0]), attach(&events, &channels[1])];
        let account = Account { log: GuestLog::default(), quota: host.quota.clone() };
        let label = StreamAddress { domain: GUEST.0, card: 0, pcm: 0, stream: 0 };
        let nodes = nodes();
        let asked = Asked { guest: GUEST, name: None, label, nodes: &nodes };
        let Kind::V2(described) = &nodes.kind else { panic!("another version") };
        let host = connect(&asked, described, shared, account, route(None));
        Self { ring: FrontRing::new(ring), next_id: 0, host, _channels: channels, _events: events }
    }

    /// Puts requests into the ring, all at once.
    fn ask(&mut self, operations: &[Operation]) {
        for &operation in operations {
            self.ring.put(&Request { id: self.next_id, operation }.emit()).unwrap();
            self.next_id += 1;
        }
        let _ = self.ring.publish();
    }

    fn turn(&mut self, host: &mut Host) -> After {
        host.act(|turn| self.host.turn(turn))
    }

    /// The results of the requests that were answered since the last look, by their numbers.
    fn answers(&mut self) -> Vec<(u16, Result<(), Errno>)> {
        let taken = std::iter::from_fn(|| self.ring.take().unwrap());
        taken.map(|packet| Response::parse(&packet).unwrap()).map(|response| (response.id, response.result)).collect()
    }

    /// Gives the stream turns until it has nothing to do; calls `between` after each. Returns all answers.
    fn settle(
        &mut self,
        host: &mut Host,
        mut between: impl FnMut(&mut Self, &mut Host),
    ) -> Vec<(u16, Result<(), Errno>)> {
        let mut answers = Vec::new();
        loop {
            let after = self.turn(host);
            answers.extend(self.answers());
            between(self, host);
            match after {
                After::More => {}
                After::Idle => return answers,
                After::Broken(violation) => panic!("{violation}"),
            }
        }
    }
}

fn route(denied: Option<Fallback>) -> Route {
    Route {
        device: DeviceSpec::Null,
        denied,
        absent: Fallback::Silence,
        volume: crate::policy::HostVolume::default(),
        role: None,
        limits: Limits::default(),
    }
}

/// The nodes of the stream; its pages are mapped without them.
fn nodes() -> StreamNodes {
    let mut limits = sndif::store::Limits::DEFAULT;
    limits.buffer_bytes_max = 4 << 20;
    let elsewhere = Transport { page: GrantRef(0), port: Port(0) };
    let described = Described {
        direction: Direction::Playback,
        label: String::new(),
        limits,
        control_bytes: 0,
        events: elsewhere,
        write_hold_off: false,
        event_hold_off: false,
    };
    let (pcm_name, path, kind) = (String::new(), String::new(), Kind::V2(described));
    StreamNodes { pcm: 0, stream: 0, pcm_name, path, ring: elsewhere, kind }
}

#[test]
fn frames_of_another_stream_are_moved_between_the_parts_of_an_open_and_of_a_close() {
    let mut host = Host::new();
    let (small, large) = (Pages::new(&host, SMALL), Pages::new(&host, LARGE));
    let (mut player, mut other) = (Stream::new(&host), Stream::new(&host));
    let span = Span { offset: 0, length: (SMALL * PAGE_BYTES) as u32 };
    player.ask(&[small.open(), Operation::Write(span), Operation::Trigger(Trigger::Start)]);
    assert_eq!(player.settle(&mut host, |_, _| {}), [(0, Ok(())), (1, Ok(())), (2, Ok(()))]);

    let idle = host.mapped();
    let mut mapped = idle;
    let mut check = |_: &mut Stream, host: &mut Host| {
        assert!(host.mapped().abs_diff(mapped) <= PART_PAGES, "from {mapped} to {} pages in one turn", host.mapped());
        mapped = host.mapped();
        // A millisecond passes, and the player has its turn.
        host.now_ns += 1_000_000;
        let before = player.host.core.counters().frames;
        player.turn(host);
        assert_eq!(player.host.core.counters().frames - before, 48);
    };
    other.ask(&[large.open()]);
    assert_eq!(other.settle(&mut host, &mut check), [(0, Ok(()))]);
    assert_eq!(host.mapped(), idle + LARGE);
    // The same of an OPEN after another, and of a CLOSE.
    other.ask(&[large.open()]);
    assert_eq!(other.settle(&mut host, &mut check), [(1, Ok(()))]);
    other.ask(&[Operation::Close]);
    assert_eq!(other.settle(&mut host, &mut check), [(2, Ok(()))]);
    assert_eq!(host.mapped(), idle);
}

#[test]
fn requests_behind_an_open_wait_for_it_and_a_close_is_answered_when_all_is_unmapped() {
    let mut host = Host::new();
    let large = Pages::new(&host, LARGE);
    let mut stream = Stream::new(&host);
    let length = (LARGE * PAGE_BYTES) as u32;
    stream.ask(&[
        large.open(),
        Operation::Write(Span { offset: 0, length }),
        Operation::Trigger(Trigger::Start),
        large.open(),
        Operation::Close,
        Operation::Trigger(Trigger::Start),
    ]);
    let answers = stream.settle(&mut host, |stream, host| {
        let requests = stream.host.core.counters().requests;
        if stream.host.core.geometry().is_some() {
            assert_eq!(host.mapped(), TRANSPORT_PAGES + LARGE);
        }
        if requests >= 5 {
            assert_eq!(host.mapped(), TRANSPORT_PAGES, "CLOSE is carried out too early");
        }
    });
    assert_eq!(answers, [(0, Ok(())), (1, Ok(())), (2, Ok(())), (3, Ok(())), (4, Ok(())), (5, Err(Errno::EIO))]);
    host.assert_quota_is_free();
}

#[test]
fn xsa_465_a_guest_that_goes_in_the_middle_of_an_open_or_a_close_leaves_no_mapping() {
    for close in [false, true] {
        let mut host = Host::new();
        let large = Pages::new(&host, LARGE);
        let mut stream = Stream::new(&host);
        stream.ask(&[large.open()]);
        if close {
            assert_eq!(stream.settle(&mut host, |_, _| {}), [(0, Ok(()))]);
            stream.ask(&[Operation::Close]);
        }
        for _ in 0..5 {
            assert_eq!(stream.turn(&mut host), After::More);
        }
        let mapped = host.mapped() - TRANSPORT_PAGES;
        assert!(0 < mapped && mapped < LARGE, "{mapped} pages are no middle");
        assert_eq!(stream.answers(), []);
        drop(stream);
        assert_eq!(host.mapped(), 0);
        host.assert_quota_is_free();
        large.pages.end_access().expect("the guest has its pages back");
        large.directory.end_access().expect("and those of the directory");
    }
}

#[test]
fn cve_2026_72085_an_error_in_the_middle_of_an_open_leaves_no_mapping() {
    let mut host = Host::new();
    let large = Pages::new(&host, LARGE);
    let mut stream = Stream::new(&host);
    let mut refs = large.pages.refs().to_vec();
    refs[LARGE / 2] = GrantRef(u32::MAX);
    let bad = directory(&host.guest, &refs);
    let Operation::Open(open) = large.open() else { panic!("another operation") };
    let mut most = 0;
    stream.ask(&[Operation::Open(OpenParams { directory: bad.refs()[0], ..open })]);
    let answers = stream.settle(&mut host, |_, host| most = most.max(host.mapped()));
    assert_eq!(answers, [(0, Err(Errno::EFAULT))]);
    assert!(most > TRANSPORT_PAGES, "the error was in the middle");
    assert_eq!(host.mapped(), TRANSPORT_PAGES);
    host.assert_quota_is_free();
    stream.ask(&[large.open()]);
    assert_eq!(stream.settle(&mut host, |_, _| {}), [(1, Ok(()))]);
}

#[test]
fn a_stream_that_is_denied_in_the_middle_of_an_open_is_not_opened() {
    let mut host = Host::new();
    let large = Pages::new(&host, LARGE);
    let mut stream = Stream::new(&host);
    stream.ask(&[large.open()]);
    for _ in 0..5 {
        assert_eq!(stream.turn(&mut host), After::More);
    }
    assert!(host.mapped() > TRANSPORT_PAGES);
    host.act(|turn| stream.host.change(&nodes().kind, &|_| route(Some(Fallback::Refuse)), turn));
    assert_eq!(stream.settle(&mut host, |_, _| {}), [(0, Err(Errno::EACCES))]);
    assert_eq!(host.mapped(), TRANSPORT_PAGES);
    assert!(!stream.host.host.is_open());
    host.assert_quota_is_free();
}
