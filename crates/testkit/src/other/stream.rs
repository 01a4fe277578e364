//! A stream of a connection: requests, answers, and the timer that tells of positions.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use host_audio::wav::Writer;
use sndif::store::Direction;
use sndif::v2::{
    BackRing, EVENT_SLOTS, EVENT_SLOTS_OFFSET, Event, HwParams, Interval, OpenParams, Operation, PACKET_BYTES, Request,
    Response, Trigger,
};
use sndif::{DirectoryStep, DirectoryWalk, Errno, Format, FormatSet, GrantRef, PAGE_BYTES, SharedMemory};
use xen::{Access, EventChannel, Mapped, Port, Xen};

use super::device::{Device, Shape, Sound};
use super::{Card, Error, Habits, Operations};

/// The frontend's and the backend's index in the event page (sndif.h).
const IN_CONS: usize = 0;
const IN_PROD: usize = 4;

/// Capabilities of every device.
const DEVICE: HwParams = HwParams {
    formats: FormatSet::ALL,
    rates_hz: Interval::new(5512, 192_000),
    channels: Interval::new(1, 8),
    buffer_frames: Interval::new(64, 1 << 18),
    period_frames: Interval::new(32, 1 << 17),
};

/// Returns true if the device opens with a format, of those that a query allows.
fn opens(format: Format) -> bool {
    matches!(format, Format::U8 | Format::S16Le | Format::S24Le | Format::S32Le | Format::F32Le)
}

/// A stream's nodes in the store.
pub(super) struct Nodes {
    pub(super) direction: Direction,
    pub(super) ring_ref: u32,
    pub(super) event_ref: u32,
    pub(super) ring_port: u32,
    pub(super) event_port: u32,
}

pub(super) struct Stream {
    card: Card,
    direction: Direction,
    /// File that playing goes to.
    path: PathBuf,
    ring: BackRing<Mapped>,
    ring_channel: EventChannel,
    event_channel: EventChannel,
    events: Events,
    open: Option<Open>,
    /// The device has overrun and waits for OPEN.
    stuck: bool,
}

struct Open {
    pages: Mapped,
    device: Device,
    /// Time at which the timer tells of the next position, and the position that it told last.
    next: Option<Instant>,
    told: u64,
}

/// The event page. An id is used up whether or not there is room for its event.
struct Events {
    page: Mapped,
    producer: u32,
    id: u16,
}

impl Events {
    fn push(&mut self, position_bytes: u64) {
        let event = Event { id: self.id, position_bytes };
        self.id = self.id.wrapping_add(1);
        if self.producer.wrapping_sub(self.page.load_acquire(IN_CONS)) >= EVENT_SLOTS {
            return;
        }
        let slot = EVENT_SLOTS_OFFSET + (self.producer % EVENT_SLOTS) as usize * PACKET_BYTES;
        self.page.write(slot, &event.emit());
        self.producer = self.producer.wrapping_add(1);
        self.page.store_release(IN_PROD, self.producer);
    }
}

impl Stream {
    pub(super) fn attach(xen: &Xen, card: &Card, name: &str, nodes: &Nodes) -> Result<Self, Error> {
        let map = |page| xen.map(card.guest, &[GrantRef(page)], Access::ReadWrite);
        let file = format!("{}-{}-{name}.wav", card.guest, card.card);
        Ok(Self {
            card: card.clone(),
            direction: nodes.direction,
            path: card.directory.join(file),
            ring: BackRing::new(map(nodes.ring_ref)?),
            ring_channel: xen.bind_interdomain(card.guest, Port(nodes.ring_port))?,
            event_channel: xen.bind_interdomain(card.guest, Port(nodes.event_port))?,
            events: Events { page: map(nodes.event_ref)?, producer: 0, id: 0 },
            open: None,
            stuck: false,
        })
    }

    pub(super) fn channel(&self) -> &EventChannel {
        &self.ring_channel
    }

    /// Answers what has been asked.
    pub(super) fn serve(&mut self, xen: &Xen, operations: &Operations) -> Result<(), Error> {
        self.ring_channel.acknowledge()?;
        loop {
            while let Some(packet) = self.ring.take().map_err(|_| "the guest's ring makes no sense")? {
                let request = Request::parse(&packet).map_err(|_| "a request that is none")?;
                operations.lock().unwrap_or_else(PoisonError::into_inner).push(request.operation);
                let params = match request.operation {
                    Operation::QueryHwParams(asked) => Some(asked.intersection(&DEVICE)),
                    _ => None,
                };
                let result = self.carry_out(xen, &request.operation);
                let response = Response { id: request.id, opcode: request.operation.opcode(), result, params };
                self.ring.respond(&response.emit());
            }
            if !self.ring.arm(1) {
                break;
            }
        }
        if self.ring.publish() {
            self.ring_channel.notify()?;
        }
        Ok(())
    }

    fn carry_out(&mut self, xen: &Xen, operation: &Operation) -> Result<(), Errno> {
        let habits = self.card.habits;
        match operation {
            Operation::Open(open) => return self.open(xen, open),
            Operation::Close => {
                self.close();
                return Ok(());
            }
            Operation::QueryHwParams(_) => return Ok(()),
            Operation::SetVolume(_) | Operation::GetVolume(_) | Operation::Mute(_) | Operation::Unmute(_) => {
                return Err(Errno::EINVAL);
            }
            Operation::ReadAhead { .. } => return Err(Errno::EOPNOTSUPP),
            Operation::Trigger(Trigger::Pause | Trigger::Resume) => return Err(Errno::ENOSYS),
            Operation::Write(_) | Operation::Read(_) | Operation::Trigger(_) => {}
        }
        let open = self.open.as_mut().ok_or(Errno::EIO)?;
        match operation {
            Operation::Write(span) => {
                let mut frames = vec![0; span.length as usize];
                open.pages.read(span.offset as usize, &mut frames);
                open.device.write(&frames);
            }
            Operation::Read(span) => {
                let mut frames = vec![0; span.length as usize];
                if self.stuck {
                    return Err(Errno::EIO);
                }
                open.device.read(&mut frames).map_err(|_| Errno::EIO)?;
                open.pages.write(span.offset as usize, &frames);
            }
            Operation::Trigger(Trigger::Start) => open.start(habits),
            Operation::Trigger(_) => {
                self.stuck |= habits.overruns_until_open && open.device.is_overrun();
                open.stop();
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, xen: &Xen, params: &OpenParams) -> Result<(), Errno> {
        self.close();
        self.stuck = false;
        let frame_bytes = params.format.frame_bytes(params.channels).filter(|_| opens(params.format));
        let frame_bytes = frame_bytes.ok_or(Errno::EINVAL)?;
        let sound = match self.direction {
            Direction::Playback => {
                let file = Writer::create_numbered(&self.path, params.format, params.rate_hz, params.channels);
                Sound::Played(file.map_err(|_| Errno::EINVAL)?)
            }
            Direction::Capture => Sound::Captured(Arc::clone(&self.card.source)),
        };
        let shape = Shape {
            frame_bytes: frame_bytes as usize,
            rate_hz: params.rate_hz.max(1).into(),
            buffer_frames: u64::from(params.buffer_bytes / frame_bytes),
            period_frames: u64::from(params.period_bytes / frame_bytes),
        };
        let pages = self.map_buffer(xen, params).map_err(|_| Errno::EFAULT)?;
        self.open = Some(Open { pages, device: Device::new(shape, sound), next: None, told: 0 });
        Ok(())
    }

    fn map_buffer(&self, xen: &Xen, params: &OpenParams) -> Result<Mapped, Error> {
        let mut refs = Vec::new();
        let (mut walk, mut step) = DirectoryWalk::new(params.directory, params.buffer_bytes)?;
        while let DirectoryStep::Page(page) = step {
            let mut entries = [0; PAGE_BYTES];
            xen.map(self.card.guest, &[page], Access::ReadOnly)?.read(0, &mut entries);
            step = walk.page(&entries, |reference| refs.push(reference))?;
        }
        Ok(xen.map(self.card.guest, &refs, Access::ReadWrite)?)
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.device.close();
        }
    }

    /// Tells of the position where its time has come, and says when that is next.
    pub(super) fn tick(&mut self) -> Result<Option<Instant>, Error> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let now = Instant::now();
        let due = open.next.is_some_and(|next| next <= now);
        if due {
            // A timer that was kept from running runs once.
            open.next = Some(now + open.device.period());
            if let Some(position) = open.device.advance()?.filter(|&position| position != open.told) {
                open.told = position;
                self.events.push(position);
                self.event_channel.notify()?;
            }
        }
        Ok(open.next)
    }
}

impl Open {
    fn start(&mut self, habits: Habits) {
        self.device.start(habits.counts_from);
        self.next = Some(Instant::now() + self.device.period());
    }

    fn stop(&mut self) {
        // The last of what is heard.
        let _ = self.device.advance();
        self.device.stop();
        self.next = None;
    }
}
