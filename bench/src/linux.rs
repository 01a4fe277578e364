//! The model of Linux's frontend as a guest, for comparison: the model waits for every answer.

use anyhow::{Context, Result, ensure};
use clap::Args;
use testkit::linux::{LinuxFrontend, Wish};
use xen::{DomainId, Xen, XenSpec};

use crate::counts::Counts;
use crate::machine::FRAME_BYTES;

/// Operation code of WRITE.
const WRITE: u8 = 3;

#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// The emulation.
    #[arg(long)]
    xen: XenSpec,
    /// The guest.
    #[arg(long)]
    domain: DomainId,
    /// Length of a period.
    #[arg(long)]
    period_frames: u32,
    /// Length of the buffer.
    #[arg(long)]
    buffer_frames: u32,
    /// Periods to play.
    #[arg(long)]
    periods: u32,
}

/// Plays like `aplay` and writes the counts as JSON to the standard output. The model panics on failures, so it has a
/// process of its own.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let xen = Xen::open(&arguments.xen, Some(arguments.domain))?;
    let frontend = LinuxFrontend::probe(&xen);
    frontend.wait_card();
    let errno = |errno| anyhow::anyhow!("{errno:?}");
    let mut pcm = frontend.open_playback(0, 0).map_err(errno)?;
    let wish = Wish::stereo(arguments.period_frames, arguments.buffer_frames);
    let agreed = pcm.hw_params(&wish).map_err(errno).context("no configuration")?;
    ensure!(agreed.period_frames == u64::from(arguments.period_frames), "the period became {}", agreed.period_frames);
    let sound = vec![0x11; (arguments.periods * arguments.period_frames * FRAME_BYTES) as usize];
    let played = pcm.aplay(&sound);
    let observed = pcm.observed();
    let played = played.map_err(|error| {
        let (state, xruns, last) = (pcm.state(), pcm.xruns(), observed.requests.last());
        let (events, position, slowest) = (observed.positions.len(), observed.positions.last(), observed.slowest_answer);
        anyhow::anyhow!(
            "aplay ends with {error:?} in {state:?} after {xruns} xruns, {events} events up to {position:?}, {} requests, \
             the last {last:?}, slowest answer {slowest:?}",
            observed.requests.len(),
        )
    })?;
    let writes = observed.requests.iter().filter(|request| request.operation == WRITE).count() as u64;
    let events = observed.positions.len() as u64;
    // One request is in flight, and its answer is waited for: each request costs one notification in each direction.
    let counts = Counts {
        streams: 1,
        frames: u64::from(arguments.periods * arguments.period_frames),
        requests: writes,
        events,
        xruns: played.underruns as u64,
        notifications_to_back: writes,
        ring_notifications_to_front: writes,
        event_notifications_to_front: events,
    };
    crate::player::answer(&counts)
}
