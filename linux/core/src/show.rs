// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A stream as text, for people.

use core::fmt::{self, Write};

use frontend::{Counters, Geometry, Violation};

use crate::layout::StreamInfo;

/// A stream at one moment.
pub(crate) struct Snapshot {
    pub(crate) connected: bool,
    pub(crate) phase: &'static str,
    pub(crate) geometry: Option<Geometry>,
    pub(crate) position_bytes: u64,
    pub(crate) filled_bytes: u32,
    pub(crate) counters: Counters,
    pub(crate) notifications: u64,
    pub(crate) violation: Option<Violation>,
}

pub(crate) fn show(out: &mut dyn Write, info: &StreamInfo, now: &Snapshot) -> fmt::Result {
    let (limits, counters) = (&info.limits, &now.counters);
    writeln!(out, "pcm {} stream {}: {} substream {}", info.pcm, info.node, info.direction, info.substream)?;
    write!(
        out,
        "  limits: {} to {} channels, buffer {} octets, rates",
        limits.channels.min, limits.channels.max, limits.buffer_bytes_max
    )?;
    if limits.rates.list().is_empty() {
        write!(out, " 5512 to 48000")?;
    }
    limits.rates.list().iter().try_for_each(|rate| write!(out, " {rate}"))?;
    write!(out, " Hz, formats")?;
    limits.formats.iter().try_for_each(|format| write!(out, " {format}"))?;
    writeln!(out)?;
    writeln!(out, "  state: {}, {}", if now.connected { "connected" } else { "without a backend" }, now.phase)?;
    if let Some(geometry) = now.geometry {
        let frame_bytes = geometry.frame_bytes();
        let frames = |bytes: u32| bytes.checked_div(frame_bytes).unwrap_or(0);
        writeln!(
            out,
            "  open: {} {} Hz {} channels, period {} frames, buffer {} frames",
            geometry.format(),
            geometry.rate_hz(),
            geometry.channels(),
            frames(geometry.period_bytes()),
            frames(geometry.ring_bytes())
        )?;
        let position = now.position_bytes.checked_div(u64::from(frame_bytes)).unwrap_or(0);
        writeln!(out, "  position: {position} frames since open, latency {} frames", frames(now.filled_bytes))?;
    }
    writeln!(
        out,
        "  since connected: {} requests, {} responses ({} errors), {} events, {} notifications sent, {} xruns",
        counters.requests, counters.responses, counters.errors, counters.events, now.notifications, counters.xruns
    )?;
    writeln!(
        out,
        "  disbelieved: {} id gaps, {} unknown events, {} positions while closed, {} back, {} beyond",
        counters.event_id_gaps,
        counters.unknown_events,
        counters.ignored_closed,
        counters.ignored_rewinds,
        counters.ignored_beyond
    )?;
    match now.violation {
        Some(violation) => writeln!(out, "  violation: {violation}"),
        None => Ok(()),
    }
}
