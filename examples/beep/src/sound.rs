//! An opened stream: playing and recording.
//!
//! [`frontend::Stream`] keeps the ring, the position and the place of the next WRITE or READ. Here its requests are sent, frames are
//! copied, and the time in between is slept away.

use frontend::{Completion, Geometry, Negotiation, RequestId, Step, Stream, SubmitError, Wanted};
use sndif::store::Direction;
use sndif::v2::{Operation, Span, Trigger};
use sndif::{DirectoryWriter, Errno, SharedMemory, pages_for};

use crate::card::{Card, Transport};
use crate::error::{Error, Result};
use crate::events::{self, SECOND_NS};
use crate::grants::Granted;
use crate::hypercall;
use crate::memory::Shared;

/// Time that an answer, or the next position, may take: Linux waits as long.
const ANSWER_TIMEOUT_NS: u64 = 3 * SECOND_NS;

/// Pages of events that are taken at once: a backend that writes faster than we read does not hold us up.
const EVENT_PAGES: u32 = 4;

/// An opened stream of a card.
pub struct Opened<'card> {
    card: &'card mut Card,
    /// Place in the card's list.
    index: usize,
    geometry: Geometry,
    buffer: Granted,
    directory: Granted,
}

impl<'card> Opened<'card> {
    /// Opens the card's first stream in this direction, as near to `wanted` as the backend lets us.
    pub fn open(card: &'card mut Card, direction: Direction, wanted: Wanted) -> Result<Self> {
        let index = card.streams.iter().position(|stream| stream.direction == direction);
        let index = index.ok_or(Error::NoStream(direction))?;
        let geometry = negotiate(card, index, wanted)?;
        let buffer = Granted::new(card.backend, pages_for(geometry.ring_bytes()))?;
        let directory = Granted::new(card.backend, DirectoryWriter::pages(buffer.refs.len()))?;
        DirectoryWriter::write(&directory.memory, &directory.refs, &buffer.refs);
        let open = geometry.open_params(0, directory.refs[0]).ok_or(SubmitError::BadSizes)?;
        request(card, index, Operation::Open(open))?;
        Ok(Self { card, index, geometry, buffer, directory })
    }

    /// Sizes that were agreed on.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Number of times that playback ran dry, or captured frames were lost.
    pub fn xruns(&mut self) -> Result<u64> {
        Ok(transport(self.card, self.index)?.stream.counters().xruns)
    }

    /// Plays `bytes` bytes, which `frames` writes one piece after another, and waits for their end.
    pub fn play(&mut self, bytes: u32, mut frames: impl FnMut(&mut [u8])) -> Result<()> {
        let mut left = bytes;
        self.write(&mut left, &mut frames)?;
        request(self.card, self.index, Operation::Trigger(Trigger::Start))?;
        loop {
            self.collect()?;
            self.write(&mut left, &mut frames)?;
            let stream = self.stream()?;
            if left == 0 {
                // To run dry is the end now.
                stream.set_draining(true);
                if stream.position_bytes() == u64::from(bytes) {
                    break;
                }
            }
            self.wait("the end of a period")?;
        }
        request(self.card, self.index, Operation::Trigger(Trigger::Stop))
    }

    /// Writes as much of what is left as there is room for.
    fn write(&mut self, left: &mut u32, frames: &mut impl FnMut(&mut [u8])) -> Result<()> {
        let memory = self.buffer.memory;
        while let Some(span) = self.stream()?.next_span(*left) {
            match self.stream()?.submit(Operation::Write(span)) {
                Err(SubmitError::Full) => break,
                submitted => submitted?,
            };
            // The backend does not see the request before it is published.
            in_chunks(span, |offset, chunk| {
                frames(chunk);
                memory.write(offset, chunk);
            });
            *left -= span.length;
        }
        publish(transport(self.card, self.index)?)
    }

    /// Records `bytes` bytes and gives them to `frames` piece by piece.
    pub fn record(&mut self, bytes: u32, mut frames: impl FnMut(&[u8])) -> Result<()> {
        let memory = self.buffer.memory;
        let mut left = bytes;
        request(self.card, self.index, Operation::Trigger(Trigger::Start))?;
        loop {
            self.collect()?;
            while let Some(span) = self.stream()?.next_span(left) {
                // One at a time: who waits for several answers at once needs fewer notifications.
                request(self.card, self.index, Operation::Read(span))?;
                in_chunks(span, |offset, chunk| {
                    memory.read(offset, chunk);
                    frames(chunk);
                });
                left -= span.length;
            }
            if left == 0 {
                break;
            }
            self.wait("the end of a period")?;
        }
        request(self.card, self.index, Operation::Trigger(Trigger::Stop))
    }

    /// Closes the stream; returns how many of its pages the backend kept.
    pub fn close(self) -> Result<usize> {
        request(self.card, self.index, Operation::Close)?;
        Ok(self.buffer.end_access() + self.directory.end_access())
    }

    fn stream(&mut self) -> Result<&mut Stream<Shared>> {
        Ok(&mut transport(self.card, self.index)?.stream)
    }

    /// Takes the answers and the positions that have come.
    fn collect(&mut self) -> Result<()> {
        let stream = self.stream()?;
        while let Some(completion) = stream.next_completion()? {
            succeeded(&completion)?;
        }
        for _ in 0..EVENT_PAGES {
            if !stream.take_events()?.more {
                break;
            }
        }
        Ok(())
    }

    fn wait(&mut self, what: &'static str) -> Result<()> {
        wait(self.card, self.index, events::now_ns() + ANSWER_TIMEOUT_NS, what)
    }
}

/// Finds a configuration that the backend accepts.
fn negotiate(card: &mut Card, index: usize, wanted: Wanted) -> Result<Geometry> {
    let (mut negotiation, mut question) = Negotiation::start(wanted, &card.streams[index].limits)?;
    loop {
        let completion = ask(card, index, Operation::QueryHwParams(question))?;
        let answer = completion.result.and_then(|()| completion.params.ok_or(Errno::EIO));
        match negotiation.answer(answer)? {
            Step::Ask(next) => question = next,
            Step::Done(geometry) => return Ok(geometry),
        }
    }
}

fn transport(card: &mut Card, index: usize) -> Result<&mut Transport> {
    card.streams[index].transport.as_mut().ok_or(Error::Lost)
}

/// Shows the backend what was submitted, and notifies it if it asked for that.
fn publish(transport: &mut Transport) -> Result<()> {
    if transport.stream.publish() { hypercall::send(transport.ring) } else { Ok(()) }
}

/// Sends a request and waits for its success.
fn request(card: &mut Card, index: usize, operation: Operation) -> Result<()> {
    succeeded(&ask(card, index, operation)?)
}

/// Sends a request and waits for its answer.
fn ask(card: &mut Card, index: usize, operation: Operation) -> Result<Completion> {
    let until_ns = events::now_ns() + ANSWER_TIMEOUT_NS;
    let transport_ = transport(card, index)?;
    let id = transport_.stream.submit(operation)?;
    publish(transport_)?;
    loop {
        if let Some(completion) = answer(&mut transport(card, index)?.stream, id)? {
            return Ok(completion);
        }
        wait(card, index, until_ns, "an answer")?;
    }
}

/// The answer to a request, if it has come; otherwise a notification was asked for.
fn answer(stream: &mut Stream<Shared>, id: RequestId) -> Result<Option<Completion>> {
    loop {
        while let Some(completion) = stream.next_completion()? {
            if completion.id == id {
                return Ok(Some(completion));
            }
            succeeded(&completion)?;
        }
        if !stream.arm(stream.in_flight()) {
            return Ok(None);
        }
    }
}

/// Sleeps until the backend has notified us, or something has become of it.
fn wait(card: &mut Card, index: usize, until_ns: u64, what: &'static str) -> Result<()> {
    let store = card.store_port();
    let Transport { ring, events, .. } = *transport(card, index)?;
    if !events::wait(&[ring, events, store], until_ns)? {
        return Err(Error::Timeout(what));
    }
    // Not `||`: both are to be cleared.
    if events::take(ring) | events::take(events) {
        transport(card, index)?.stream.woken()?;
    }
    card.look()?;
    Ok(())
}

fn succeeded(completion: &Completion) -> Result<()> {
    completion.result.map_err(|errno| Error::Refused { what: name(&completion.operation), errno })
}

/// Calls `each` with parts of a span, each of them with its offset, and room for the bytes that belong there.
fn in_chunks(span: Span, mut each: impl FnMut(usize, &mut [u8])) {
    let mut room = [0; CHUNK_BYTES];
    let (mut offset, end) = (span.offset as usize, (span.offset + span.length) as usize);
    while offset < end {
        let len = (end - offset).min(CHUNK_BYTES);
        each(offset, &mut room[..len]);
        offset += len;
    }
}

/// A whole number of frames, as are all spans.
const CHUNK_BYTES: usize = 960;

/// Returns the operation's name.
fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Open(_) => "OPEN",
        Operation::Close => "CLOSE",
        Operation::Read(_) => "READ",
        Operation::ReadAhead { .. } => "READ_AHEAD",
        Operation::Write(_) => "WRITE",
        Operation::Trigger(_) => "TRIGGER",
        Operation::QueryHwParams(_) => "HW_PARAM_QUERY",
        Operation::SetVolume(_) | Operation::GetVolume(_) => "a volume",
        Operation::Mute(_) | Operation::Unmute(_) => "a mute",
    }
}
