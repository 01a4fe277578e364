//! A guest's sound card from the handshake to the last frame, against a model of a backend in the same process. Needs no Xen.
//!
//!     cargo run -p vsnd-frontend --example play

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sndif::store::{Direction, Limits};
use sndif::test_utils::Pages;
use sndif::v2::{BackRing, EventProducer, Operation, Request, Response, Trigger};
use sndif::{Format, GrantRef, SharedMemory, XenbusState};
use vsnd_frontend::{Action, Actions, Completion, Geometry, Handshake, Negotiation, Step, Stream, Wanted};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The other end: answers what it is asked, and keeps the bytes that it is told to play.
struct Backend {
    ring: BackRing<Pages>,
    events: EventProducer<Pages>,
    buffer: Pages,
    heard: Vec<u8>,
    played: usize,
}

impl Backend {
    /// Answers all requests that are in the ring.
    fn serve(&mut self) -> Result<()> {
        while let Some(packet) = self.ring.take()? {
            let Request { id, operation } = Request::parse(&packet)?;
            let mut params = None;
            match operation {
                // The example's backend can do everything that is asked for.
                Operation::QueryHwParams(asked) => params = Some(asked),
                Operation::Write(span) => {
                    let mut bytes = vec![0; span.length as usize];
                    assert!(self.buffer.read(span.offset as usize, &mut bytes), "a WRITE outside of the buffer");
                    self.heard.append(&mut bytes);
                }
                _ => {}
            }
            let response = Response { id, opcode: operation.opcode(), result: Ok(()), params };
            assert!(self.ring.respond(&response.emit()));
        }
        // With a real event channel, these two say when to notify, and whether to sleep.
        let (_notify, _more) = (self.ring.publish(), self.ring.arm(1));
        Ok(())
    }

    /// Plays a period and reports the position.
    fn play(&mut self, period_bytes: u32) -> Result<()> {
        self.played = self.heard.len().min(self.played + period_bytes as usize);
        // `push` says when to notify, too.
        let _notify = self.events.push(self.played as u64)?;
        Ok(())
    }
}

/// Both ends of a stream, with the pages that they share.
struct Pair {
    stream: Stream<Pages>,
    backend: Backend,
}

impl Pair {
    fn new(buffer: Pages) -> Self {
        let (ring, events) = (Pages::new(1), Pages::new(1));
        let stream = Stream::new(Direction::Playback, ring.clone(), events.clone(), 0);
        let (ring, events) = (BackRing::new(ring), EventProducer::new(events));
        Self { stream, backend: Backend { ring, events, buffer, heard: Vec::new(), played: 0 } }
    }

    /// Sends an operation and waits for its answer.
    fn ask(&mut self, operation: Operation) -> Result<Completion> {
        let id = self.stream.submit(operation)?;
        if self.stream.publish() {
            self.backend.serve()?;
        }
        loop {
            let completion = self.stream.next_completion()?.ok_or("no answer")?;
            if completion.id == id {
                return Ok(completion);
            }
        }
    }

    /// Finds sizes that both sides can use.
    fn negotiate(&mut self, wanted: Wanted) -> Result<Geometry> {
        let (mut negotiation, mut question) = Negotiation::start(wanted, &Limits::DEFAULT)?;
        loop {
            let completion = self.ask(Operation::QueryHwParams(question))?;
            let answer = completion.result.map(|()| completion.params.unwrap_or(question));
            match negotiation.answer(answer)? {
                Step::Ask(next) => question = next,
                Step::Done(geometry) => return Ok(geometry),
            }
        }
    }
}

/// Prints the actions of a driver for its card, a line for each, and returns them.
fn perform(actions: Actions) -> Vec<Action> {
    let actions: Vec<_> = actions.into_iter().collect();
    actions.iter().for_each(|action| println!("handshake: {action:?}"));
    actions
}

fn main() -> Result<()> {
    // The card: each state of the backend, as XenStore would tell it, leads to the next step.
    let mut handshake = Handshake::new();
    assert_eq!(perform(handshake.backend_is(XenbusState::InitWait)), [Action::PublishTransport]);
    perform(handshake.published(true));
    assert_eq!(perform(handshake.backend_is(XenbusState::Connected)), [Action::CreateCard]);
    perform(handshake.card_ready(true));
    assert!(handshake.is_connected());

    // A stream of it: 48 kHz stereo, four periods of 10 ms.
    let wanted =
        Wanted { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 480, buffer_frames: 1920 };
    let buffer = Pages::new(2);
    let mut pair = Pair::new(buffer.clone());
    let geometry = pair.negotiate(wanted)?;
    println!("stream: {} bytes a period, {} in the ring", geometry.period_bytes(), geometry.ring_bytes());
    let open = geometry.open_params(0, GrantRef(8)).ok_or("too large")?;
    pair.ask(Operation::Open(open))?.result?;

    // A second of sound, written wherever there is room; a position for each period makes more.
    let sound: Vec<u8> = (0..192_000_u32).map(|byte| byte as u8).collect();
    let mut written = 0;
    while pair.stream.position_bytes() < sound.len() as u64 {
        while let Some(span) = pair.stream.next_span(u32::try_from(sound.len() - written)?) {
            let end = written + span.length as usize;
            assert!(buffer.write(span.offset as usize, &sound[written..end]));
            pair.stream.submit(Operation::Write(span))?;
            written = end;
        }
        pair.stream.set_draining(written == sound.len());
        if pair.stream.publish() {
            pair.backend.serve()?;
        }
        if !pair.stream.is_running() {
            pair.ask(Operation::Trigger(Trigger::Start))?.result?;
        }
        pair.backend.play(geometry.period_bytes())?;
        pair.stream.take_events()?;
        while pair.stream.next_completion()?.is_some() {}
    }
    pair.ask(Operation::Trigger(Trigger::Stop))?.result?;
    pair.ask(Operation::Close)?.result?;

    assert_eq!(pair.backend.heard, sound);
    println!("stream: the backend played {} bytes, {:?}", sound.len(), pair.stream.counters());
    Ok(())
}
