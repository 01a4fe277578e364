// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A kernel of ordinary memory, a store of a map, and a backend that answers while somebody waits.

use core::cell::{Cell, RefCell};
use core::ops::{Deref, DerefMut};
use std::boxed::Box;
use std::collections::{BTreeMap, VecDeque};
use std::format;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use sndif::test_utils::Pages as Memory;
use sndif::v2::{BackRing, EventProducer, HwParams, Operation, Request, Response, Trigger, opcode};
use sndif::{Errno, GrantRef, SharedMemory, XenbusState};

use crate::{
    Boxed, Bus, Channel, ChannelKind, Error, Listener, Lock, LockClass, Pages, Platform, Signal, Stop, Substream, Text,
    Writer, v0,
};

std::thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
    /// Granted pages by reference. Apart, since backends look there.
    static GRANTED: RefCell<Granted> = const { RefCell::new(BTreeMap::new()) };
    /// ALSA's reaction to being told of a period.
    static ALSA: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
    /// Called as soon as somebody waits.
    static WAITED: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// The memory that a page is part of, and which of it.
type Granted = BTreeMap<u32, (Memory, usize)>;

/// State that all of one test share; tests run in threads of their own.
#[derive(Default)]
struct World {
    next_ref: u32,
    backend: Option<Backend>,
    /// A version 0 backend, which acts while somebody waits.
    v0: Option<v0::testing::Backend>,
    silent: bool,
    /// Wakes the waiting task all the time and answers nothing.
    storming: bool,
    /// A task that waits is killed.
    killed: bool,
    /// The backend keeps what is taken back from it, and so many pages it has.
    keeping: bool,
    kept: usize,
    now_ms: u32,
    now_ns: u64,
    notifications: u32,
    elapsed: u32,
    stops: Vec<Stop>,
    volume_changes: u32,
    /// Names of the dropped values, in order.
    gone: Vec<&'static str>,
}

fn world<R>(access: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|world| access(&mut world.borrow_mut()))
}

/// The backend's end of one stream.
pub(crate) struct Backend {
    ring: BackRing<Memory>,
    events: EventProducer<Memory>,
    /// Number of notifications of events.
    pub(crate) told_events: u32,
    pages: [Memory; 2],
    pub(crate) seen: Vec<Operation>,
    pub(crate) answer: Result<(), Errno>,
    /// Space that HW_PARAM_QUERY is narrowed to.
    pub(crate) space: HwParams,
    /// Notifications that the frontend asked for.
    pub(crate) notified: u32,
    /// Requests after which it wants to be notified.
    pub(crate) awaits: u32,
    /// Start of the run, in bytes since OPEN.
    origin: u64,
    /// The position that was told last.
    told: u64,
    /// STOP rounds the position up to this, and tells so.
    pub(crate) rounds_to: Option<u64>,
    /// The page directory of the last OPEN.
    directory: Option<GrantRef>,
    /// READs that ask for what is still to be captured: ids, and positions at their ends.
    kept: VecDeque<(u16, u64)>,
    /// READs of bytes that are still to be captured are not answered.
    pub(crate) keeps: bool,
}

impl Backend {
    pub(crate) fn serve(&mut self) {
        while let Some(packet) = self.ring.take().unwrap() {
            let request = Request::parse(&packet).unwrap();
            self.seen.push(request.operation);
            let params = match request.operation {
                Operation::QueryHwParams(asked) => Some(asked.intersection(&self.space)),
                Operation::Open(open) => {
                    (self.origin, self.told) = (0, 0);
                    self.directory = Some(open.directory);
                    None
                }
                Operation::Trigger(Trigger::Stop) => {
                    if let Some(position) = self.rounds_to.take() {
                        self.report(position);
                        self.origin += position;
                    }
                    self.answer_kept(u64::MAX, Err(Errno::EIO));
                    None
                }
                Operation::Close => {
                    self.answer_kept(u64::MAX, Err(Errno::EIO));
                    None
                }
                Operation::ReadAhead { until_bytes, .. } if until_bytes > self.told => {
                    self.kept.push_back((request.id, until_bytes));
                    continue;
                }
                _ => None,
            };
            let opcode = request.operation.opcode();
            let response = Response { id: request.id, opcode, result: self.answer, params };
            assert!(self.ring.respond(&response.emit()));
        }
        self.notified += u32::from(self.ring.publish());
        let _ = self.ring.arm(self.awaits);
    }

    /// Reports a position of the present run.
    pub(crate) fn report(&mut self, position: u64) {
        self.told = self.origin + position;
        self.told_events += u32::from(self.events.push(self.told).unwrap());
        if !self.keeps {
            self.answer_kept(self.told, self.answer);
        }
        self.notified += u32::from(self.ring.publish());
    }

    /// Reports that all was played: up to `position` of the present run. The frontend is notified in any case.
    pub(crate) fn report_end(&mut self, position: u64) {
        let before = self.told_events;
        self.report(position);
        self.told_events = before + 1;
    }

    fn answer_kept(&mut self, up_to: u64, result: Result<(), Errno>) {
        while let Some((id, _)) = self.kept.pop_front_if(|(_, until)| *until <= up_to) {
            let response = Response { id, opcode: opcode::READ_AHEAD, result, params: None };
            assert!(self.ring.respond(&response.emit()));
        }
    }

    /// Answers a request that nobody made.
    pub(crate) fn answer_nobody(&mut self) {
        let _ = self.ring.take();
        self.ring.respond(&Response { id: 0xFFFF, opcode: 3, result: Ok(()), params: None }.emit());
        let _ = self.ring.publish();
    }

    /// Writes `bytes` to `offset` of the ring page, or of the event page.
    pub(crate) fn scribble(&self, events: bool, offset: usize, bytes: &[u8]) {
        self.pages[usize::from(events)].write(offset, bytes);
    }

    pub(crate) fn queries(&self) -> usize {
        self.seen.iter().filter(|operation| matches!(operation, Operation::QueryHwParams(_))).count()
    }

    /// The triggers and spans that were seen since the last call, as text.
    pub(crate) fn story(&mut self) -> String {
        let told = self.seen.drain(..).map(|operation| match operation {
            Operation::Open(open) => format!("open {}", open.buffer_bytes),
            Operation::Close => "close".to_string(),
            Operation::Write(span) => format!("write {}+{}", span.offset, span.length),
            Operation::Read(span) => format!("read {}+{}", span.offset, span.length),
            Operation::ReadAhead { span, until_bytes } => {
                format!("read {}+{} until {until_bytes}", span.offset, span.length)
            }
            Operation::Trigger(Trigger::Start) => "start".to_string(),
            Operation::Trigger(Trigger::Stop) => "stop".to_string(),
            Operation::Trigger(Trigger::Pause) => "pause".to_string(),
            Operation::Trigger(Trigger::Resume) => "resume".to_string(),
            Operation::QueryHwParams(_) => "query".to_string(),
            other => format!("{other:?}"),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Resets the thread for its next world.
pub(crate) fn reset() {
    world(|world| *world = World::default());
    with_granted(Granted::clear);
}

/// Has `alsa` called when ALSA is told of a period.
pub(crate) fn on_elapsed(alsa: impl Fn() + 'static) {
    ALSA.with(|place| *place.borrow_mut() = Some(Rc::new(alsa)));
}

/// Has `happen` called, once, as soon as somebody waits.
pub(crate) fn when_waited(happen: impl FnOnce() + 'static) {
    WAITED.with(|place| *place.borrow_mut() = Some(Box::new(happen)));
}

/// Has `act` act as the backend of the stream that was published last.
pub(crate) fn backend<R>(act: impl FnOnce(&mut Backend) -> R) -> R {
    world(|world| act(world.backend.as_mut().unwrap()))
}

/// The same for version 0.
pub(crate) fn v0_backend<R>(act: impl FnOnce(&mut v0::testing::Backend) -> R) -> R {
    world(|world| act(world.v0.as_mut().unwrap()))
}

/// Gives version 0's backend the ring of this reference, and all that is granted.
pub(crate) fn v0_attach(ring: u32) {
    world(|world| {
        let page = with_granted(|granted| granted[&ring].0.clone());
        world.v0 = Some(v0::testing::Backend::new(page));
    });
}

/// Has `access` look at what is granted.
pub(crate) fn with_granted<R>(access: impl FnOnce(&mut Granted) -> R) -> R {
    GRANTED.with(|granted| access(&mut granted.borrow_mut()))
}

/// The buffer that the backend has mapped.
pub(crate) fn mapped() -> Memory {
    world(|world| {
        let directory = world.backend.as_ref().and_then(|backend| backend.directory).unwrap();
        with_granted(|granted| {
            let first = granted[&directory.0].0.load_acquire(4);
            granted[&first].0.clone()
        })
    })
}

/// The backend answers nothing from now on, or it does again.
pub(crate) fn silence(silent: bool) {
    world(|world| world.silent = silent);
}

/// The backend answers nothing from now on, and wakes who waits all the time.
pub(crate) fn storm() {
    world(|world| (world.silent, world.storming) = (true, true));
}

/// Kills tasks that wait, from now on or no longer.
pub(crate) fn kill(killed: bool) {
    world(|world| world.killed = killed);
}

/// The backend keeps what is taken back from it from now on; or it gives all of it back.
pub(crate) fn keep(keeping: bool) {
    world(|world| {
        world.keeping = keeping;
        world.kept = if keeping { world.kept } else { 0 };
    });
}

/// Pages that the backend keeps.
pub(crate) fn kept() -> usize {
    world(|world| world.kept)
}

fn gone(what: &'static str) {
    world(|world| world.gone.push(what));
}

/// Names of the values dropped since the last call, in order.
pub(crate) fn dropped() -> Vec<&'static str> {
    world(|world| core::mem::take(&mut world.gone))
}

/// Time of the clock.
pub(crate) fn now_ms() -> u32 {
    world(|world| world.now_ms)
}

/// Sets the clock of positions.
pub(crate) fn set_now_ns(now_ns: u64) {
    world(|world| world.now_ns = now_ns);
}

/// Pages that are granted.
pub(crate) fn granted() -> usize {
    with_granted(|granted| granted.len())
}

/// Notifications sent to the backend since the last call.
pub(crate) fn notifications() -> u32 {
    world(|world| core::mem::take(&mut world.notifications))
}

/// Number of times that ALSA was told of progress since the last call.
pub(crate) fn elapsed() -> u32 {
    world(|world| core::mem::take(&mut world.elapsed))
}

/// Reasons for which ALSA was told to stop since the last call.
pub(crate) fn stops() -> Vec<Stop> {
    world(|world| core::mem::take(&mut world.stops))
}

/// Number of times that ALSA was told of another volume since the last call.
pub(crate) fn volume_changes() -> u32 {
    world(|world| core::mem::take(&mut world.volume_changes))
}

pub(crate) struct TestKernel;

impl Platform for TestKernel {
    type Pages = TestPages;
    type Channel = TestChannel;
    type Lock<T> = TestLock<T>;
    type Boxed<T> = TestBox<T>;
    type Signal = TestSignal;
    type Listener = TestListener;
}

pub(crate) struct TestPages {
    memory: Memory,
    refs: Vec<GrantRef>,
}

impl TestPages {
    fn grant(&mut self, pages: usize) {
        world(|world| {
            for page in 0..pages {
                world.next_ref += 1;
                with_granted(|granted| granted.insert(world.next_ref, (self.memory.clone(), page)));
                self.refs.push(GrantRef(world.next_ref));
            }
        });
    }

    fn end(&mut self) {
        world(|world| world.kept += if world.keeping { self.refs.len() } else { 0 });
        with_granted(|granted| {
            for reference in self.refs.drain(..) {
                granted.remove(&reference.0);
            }
        });
    }
}

impl Pages for TestPages {
    fn new(_backend: u16, pages: usize) -> Result<Self, Error> {
        let mut made = Self { memory: Memory::new(pages), refs: Vec::new() };
        made.grant(pages);
        Ok(made)
    }

    fn ordinary(pages: usize) -> Result<Self, Error> {
        Ok(Self { memory: Memory::new(pages), refs: Vec::new() })
    }

    fn kept() -> usize {
        kept()
    }

    fn refs(&self) -> &[GrantRef] {
        &self.refs
    }

    fn grant_again(&mut self, _backend: u16) -> Result<(), Error> {
        let pages = self.refs.len();
        self.end();
        self.grant(pages);
        Ok(())
    }
}

impl SharedMemory for TestPages {
    fn len(&self) -> usize {
        self.memory.len()
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        self.memory.load_acquire(offset)
    }
    fn store_release(&self, offset: usize, value: u32) {
        self.memory.store_release(offset, value);
    }
    fn full_fence(&self) {}
    fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        self.memory.read(offset, into)
    }
    fn write(&self, offset: usize, from: &[u8]) -> bool {
        self.memory.write(offset, from)
    }
}

impl Drop for TestPages {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) struct TestChannel(u32);

impl Drop for TestChannel {
    fn drop(&mut self) {
        gone("channel");
    }
}

impl Channel for TestChannel {
    fn port(&self) -> u32 {
        self.0
    }
    fn notify(&self) {
        world(|world| world.notifications += 1);
    }
}

/// Refuses to be taken twice by one thread, as a mutex would hang.
pub(crate) struct TestLock<T>(RefCell<T>);

impl<T> Lock<T> for TestLock<T> {
    fn new(_class: LockClass, make: impl FnOnce() -> T) -> Result<Self, Error> {
        Ok(Self(RefCell::new(make())))
    }
    fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        access(&mut self.0.borrow_mut())
    }
    fn with_unless_killed<R>(&self, access: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
        Ok(self.with(access))
    }
}

pub(crate) struct TestBox<T>(Box<T>);

impl<T> Boxed<T> for TestBox<T> {
    fn new(make: impl FnOnce() -> T) -> Result<Self, Error> {
        Ok(Self(Box::new(make())))
    }
}

impl<T> Deref for TestBox<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for TestBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for TestLock<T> {
    fn drop(&mut self) {
        gone("lock");
    }
}

/// Signal whose waiter lets the backend answer.
pub(crate) struct TestSignal(Cell<bool>);

impl Signal for TestSignal {
    fn new() -> Result<Self, Error> {
        Ok(Self(Cell::new(false)))
    }
    fn reset(&self) {
        self.0.set(false);
    }
    fn raise(&self) {
        self.0.set(true);
    }
    fn wait(&self, ms: u32) -> Result<(), Error> {
        let happen = WAITED.with(|place| place.borrow_mut().take());
        if let Some(happen) = happen {
            happen();
        }
        world(|world| {
            if world.killed {
                return Err(Error::Killed);
            }
            let passed = if world.storming {
                1
            } else if self.0.get() {
                0
            } else if world.silent {
                ms
            } else {
                world.backend.iter_mut().for_each(Backend::serve);
                world.v0.as_mut().map_or(1, v0::testing::Backend::serve_while_waited_for)
            };
            world.now_ms = world.now_ms.wrapping_add(passed);
            Ok(())
        })
    }
    fn now_ms() -> u32 {
        now_ms()
    }
    fn now_ns() -> u64 {
        world(|world| world.now_ns)
    }
}

impl Drop for TestSignal {
    fn drop(&mut self) {
        gone("signal");
    }
}

pub(crate) struct TestListener;

impl Drop for TestListener {
    fn drop(&mut self) {
        gone("listener");
    }
}

impl Listener for TestListener {
    fn new() -> Result<Self, Error> {
        Ok(Self)
    }
    fn elapsed(&self) {
        world(|world| world.elapsed += 1);
        let alsa = ALSA.with(|alsa| alsa.borrow().clone());
        if let Some(alsa) = alsa {
            alsa();
        }
    }
    fn stop(&self, stop: Stop) {
        world(|world| world.stops.push(stop));
    }
    fn volume_changed(&self) {
        world(|world| world.volume_changes += 1);
    }
}

/// A store; nodes of the backend's directory begin with `backend/`.
#[derive(Default)]
pub(crate) struct TestBus(RefCell<BTreeMap<String, String>>);

impl TestBus {
    pub(crate) fn new(nodes: &[(&str, &str)]) -> Self {
        Self(RefCell::new(nodes.iter().map(|(path, value)| (path.to_string(), value.to_string())).collect()))
    }

    pub(crate) fn node(&self, path: &str) -> Option<String> {
        self.0.borrow().get(path).cloned()
    }

    pub(crate) fn set(&self, path: &str, value: &str) {
        self.0.borrow_mut().insert(path.to_string(), value.to_string());
    }

    fn value<'a>(&self, path: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
        let nodes = self.0.borrow();
        let value = nodes.get(path)?.as_bytes();
        let place = into.get_mut(..value.len())?;
        place.copy_from_slice(value);
        Some(place)
    }

    /// Attaches a backend to the transport of the stream at `path`.
    pub(crate) fn attach(&self, path: &str) {
        let page = |node: &str| {
            let reference = self.node(&format!("{path}/{node}")).unwrap().parse().unwrap();
            with_granted(|granted| granted[&reference].0.clone())
        };
        let pages = [page("ring-ref"), page("evt-ring-ref")];
        let backend = Backend {
            ring: BackRing::new(pages[0].clone()),
            events: EventProducer::new(pages[1].clone()).with_hold_off(true),
            told_events: 0,
            pages,
            seen: Vec::new(),
            answer: Ok(()),
            space: HwParams::ANY,
            notified: 0,
            awaits: 1,
            origin: 0,
            told: 0,
            rounds_to: None,
            directory: None,
            kept: VecDeque::new(),
            keeps: false,
        };
        world(|world| world.backend = Some(backend));
    }
}

fn join(path: &str, node: &str) -> String {
    if path.is_empty() { node.into() } else { format!("{path}/{node}") }
}

impl<P: Platform<Channel = TestChannel>> Bus<P> for TestBus {
    type Writer = TestBus;

    fn backend_id(&self) -> u16 {
        0
    }
    fn read<'a>(&self, path: &str, node: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
        self.value(&join(path, node), into)
    }
    fn read_backend<'a>(&self, node: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
        self.value(&format!("backend/{node}"), into)
    }
    fn list(&self, path: &str, each: &mut dyn FnMut(&[u8])) {
        let nodes = self.0.borrow();
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        for name in nodes.keys().filter_map(|key| key.strip_prefix(&below)) {
            each(name.split('/').next().unwrap_or("").as_bytes());
        }
    }
    fn transaction(&self, write: &mut dyn FnMut(&Self) -> Result<(), Error>) -> Result<(), Error> {
        write(self)
    }
    fn channel(&self, stream: &Substream<P>, kind: ChannelKind) -> Result<TestChannel, Error> {
        Ok(TestChannel(u32::from(stream.number()) * 2 + u32::from(kind == ChannelKind::Events)))
    }
    fn set_state(&self, _state: XenbusState) {}
}

impl Writer for TestBus {
    fn number(&self, path: &Text, node: &str, value: u32) -> Result<(), Error> {
        self.set(&join(path.as_str(), node), &value.to_string());
        Ok(())
    }
    fn remove(&self, path: &Text, node: &str) -> Result<(), Error> {
        self.0.borrow_mut().remove(&join(path.as_str(), node));
        Ok(())
    }
}
