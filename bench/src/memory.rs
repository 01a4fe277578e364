//! Memory that a stream costs the daemon: connected, and playing.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::machine::{CardOf, Machine, RATE_HZ};
use crate::options::Options;
use crate::procfs;
use crate::role::Player;

/// Period of the streams.
const PERIOD_FRAMES: u32 = RATE_HZ / 100;
/// Number of periods in a buffer.
const PERIODS: u32 = 4;
/// Time after which all pages of a buffer have been touched.
const SETTLE: Duration = Duration::from_millis(300);

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Bytes {
    /// All mapped and touched pages, including the guest's.
    pub(crate) rss: f64,
    /// The same, with the guest's pages counted by half.
    pub(crate) pss: f64,
    /// The daemon's own pages.
    pub(crate) private: f64,
}

/// Memory for one number of streams.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) streams: u32,
    pub(crate) idle: Bytes,
    pub(crate) playing: Bytes,
}

/// The part's result.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) rows: Vec<Row>,
    pub(crate) shared_buffer_bytes: u32,
    /// Memory of a connected stream that is not open: the difference quotient over the first and the last row.
    pub(crate) per_idle_stream: Bytes,
    pub(crate) per_playing_stream: Bytes,
}

pub(crate) fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Memory> {
    let mut rows = Vec::new();
    for &streams in &options.memory_streams {
        say(&format!("memory: {streams} streams"));
        rows.push(measure_row(options, streams)?);
    }
    let quotient = |of: fn(&Row) -> Bytes| match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => {
            let more = f64::from(last.streams.saturating_sub(first.streams)).max(1.0);
            let (first, last) = (of(first), of(last));
            Bytes {
                rss: (last.rss - first.rss) / more,
                pss: (last.pss - first.pss) / more,
                private: (last.private - first.private) / more,
            }
        }
        _ => Bytes { rss: 0.0, pss: 0.0, private: 0.0 },
    };
    Ok(Memory {
        shared_buffer_bytes: PERIOD_FRAMES * PERIODS * crate::machine::FRAME_BYTES,
        per_idle_stream: quotient(|row| row.idle),
        per_playing_stream: quotient(|row| row.playing),
        rows,
    })
}

fn measure_row(options: &Options, streams: u32) -> Result<Row> {
    let cards = CardOf::for_streams(streams);
    let machine = Machine::start(&options.daemon, &cards)?;
    if streams == 0 {
        std::thread::sleep(SETTLE);
        let alone = bytes(machine.daemon_memory()?);
        machine.stop()?;
        return Ok(Row { streams, idle: alone, playing: alone });
    }
    let mut player = Player::start(&machine, &cards, PERIOD_FRAMES, PERIODS)?;
    std::thread::sleep(SETTLE);
    let idle = bytes(machine.daemon_memory()?);
    player.play()?;
    std::thread::sleep(SETTLE);
    let playing = bytes(machine.daemon_memory()?);
    player.stop()?;
    machine.stop()?;
    Ok(Row { streams, idle, playing })
}

pub(crate) fn bytes(memory: procfs::Memory) -> Bytes {
    Bytes { rss: memory.rss_bytes as f64, pss: memory.pss_bytes as f64, private: memory.private_bytes as f64 }
}
