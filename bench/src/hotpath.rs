//! The way of a period through both cores, in one process and ordinary memory, for counting instructions.
//!
//! The functions marked `inline(never)` are what valgrind counts in; everything else is not counted.

use anyhow::{Context, Result, bail};
use backend::{DeviceLimits, Frames, HostLimits, Offer, Outcome, Pace, StreamConfig};
use clap::Args;
use sndif::store::{Direction, Limits};
use sndif::test_utils::Pages;
use sndif::v2::{BackRing, EventProducer, Operation, Request, Response, Trigger};
use sndif::{Format, GrantRef, SharedMemory};

use crate::machine::{FRAME_BYTES, RATE_HZ};
use crate::samples::Samples;

const PERIOD_FRAMES: u32 = RATE_HZ / 100;
const PERIOD_NS: u64 = 10_000_000;
const PERIODS: u32 = 4;

#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// Periods to play.
    #[arg(long)]
    periods: u32,
}

/// Plays `periods` periods, frontend and backend by turns.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let geometry = frontend::Geometry::new(Format::S16Le, 2, RATE_HZ, PERIOD_FRAMES, PERIOD_FRAMES * PERIODS)
        .context("no such geometry")?;
    let (ring, events, buffer) = (Pages::new(1), Pages::new(1), Pages::of_bytes(geometry.ring_bytes() as usize));
    let mut back = Back::new(&ring, &events, &buffer);
    let mut front = Front {
        stream: frontend::Stream::new(Direction::Playback, ring, events, 0),
        buffer,
        sound: vec![0x11; geometry.period_bytes() as usize],
        notifications: 0,
    };
    let open = geometry.open_params(0, GrantRef(8)).context("the buffer is too large")?;
    front.request(Operation::Open(open), &mut back)?;
    for _ in 0..PERIODS {
        frontend_period(&mut front);
    }
    back.turn();
    front.request(Operation::Trigger(Trigger::Start), &mut back)?;
    let mut samples = Samples::new(RATE_HZ);
    // The event comes a frame after the period's end.
    back.now_ns += 100_000;
    for _ in 0..arguments.periods {
        back.now_ns += PERIOD_NS;
        // Two wake-ups of the backend: for the end of the period, and for the WRITE that the frontend answers it with.
        backend_period(&mut back);
        frontend_period(&mut front);
        backend_period(&mut back);
        samples.turn();
    }
    let counters = front.stream.counters();
    let played = u64::from(arguments.periods);
    // Three: for OPEN, for all WRITEs that fill the buffer, and for START.
    if counters.xruns > 0 || counters.events != played || front.notifications != 3 + played {
        bail!("the hot path was not what is to be counted: {counters:?}, {} notifications", front.notifications);
    }
    Ok(())
}

/// The daemon's work at a wake-up.
#[inline(never)]
fn backend_period(back: &mut Back) {
    back.turn();
}

/// The guest's work at a wake-up: answers, events, the next WRITE.
#[inline(never)]
fn frontend_period(front: &mut Front) {
    while let Ok(Some(_)) = front.stream.next_completion() {}
    let _ = front.stream.take_events();
    if let Some(span) = front.stream.next_span(PERIOD_FRAMES * FRAME_BYTES)
        && front.stream.submit(Operation::Write(span)).is_ok()
    {
        front.buffer.write(span.offset as usize, &front.sound);
        front.notifications += u64::from(front.stream.publish());
    }
}

struct Front {
    stream: frontend::Stream<Pages>,
    buffer: Pages,
    sound: Vec<u8>,
    notifications: u64,
}

impl Front {
    fn request(&mut self, operation: Operation, back: &mut Back) -> Result<()> {
        self.stream.submit(operation)?;
        self.notifications += u64::from(self.stream.publish());
        back.turn();
        while let Some(completion) = self.stream.next_completion()? {
            if let Err(errno) = completion.result {
                bail!("{:?} was refused: {errno}", completion.operation);
            }
        }
        Ok(())
    }
}

/// The daemon's stream without its system calls.
struct Back {
    core: backend::Stream<Pages>,
    ring: BackRing<Pages>,
    events: EventProducer<Pages>,
    buffer: Pages,
    now_ns: u64,
    notifications: u64,
}

impl Back {
    fn new(ring: &Pages, events: &Pages, buffer: &Pages) -> Self {
        let config = StreamConfig {
            direction: Direction::Playback,
            offer: Offer {
                store: Limits::DEFAULT,
                device: DeviceLimits::ANY,
                host: HostLimits::default(),
                control_bytes: 0,
            },
            permitted: true,
            write_hold_off: false,
        };
        Self {
            core: backend::Stream::new(config),
            ring: BackRing::new(ring.clone()),
            events: EventProducer::new(events.clone()),
            buffer: buffer.clone(),
            now_ns: 1,
            notifications: 0,
        }
    }

    fn turn(&mut self) {
        loop {
            match self.ring.take() {
                Ok(Some(packet)) => {
                    if let Some(response) = self.answer(&packet) {
                        self.ring.respond(&response.emit());
                    }
                }
                Ok(None) if self.ring.arm(1) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.notifications += u64::from(self.ring.publish());
        while let Some(frames) = self.core.frames_to_play(self.now_ns, usize::MAX) {
            let bytes = frames.len();
            self.core.played(bytes);
        }
        self.core.set_queued_frames(0);
        if let Some(position) = self.core.event(self.now_ns)
            && self.events.push(position).is_ok()
        {
            self.core.event_sent(position, self.now_ns);
            self.notifications += 1;
        }
        std::hint::black_box(self.core.next_wake_ns());
    }

    fn answer(&mut self, packet: &[u8; sndif::v2::PACKET_BYTES]) -> Option<Response> {
        let request = Request::parse(packet).ok()?;
        match self.core.request(&request, self.now_ns) {
            Outcome::Open(geometry, _) => {
                let silence = |mirror: &mut [u8]| pcm::fill_silence(geometry.format, mirror);
                self.core.opened(geometry, self.buffer.clone(), Pace::Clock, silence);
                Some(Response { id: request.id, opcode: request.operation.opcode(), result: Ok(()), params: None })
            }
            Outcome::Kept => None,
            Outcome::Copying(_) => std::iter::repeat_with(|| self.core.copy(self.now_ns)).find_map(|response| response),
            Outcome::Respond(response)
            | Outcome::Closed(response)
            | Outcome::Started(response)
            | Outcome::Paused(response)
            | Outcome::Resumed(response)
            | Outcome::Stopped(response)
            | Outcome::VolumeChanged(response) => Some(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_path_plays() {
        run(&Arguments { periods: 50 }).unwrap();
    }
}
