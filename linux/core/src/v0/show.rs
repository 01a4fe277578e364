// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A stream as text, for people.

use core::fmt::{self, Write};

use sndif::store::Direction;

use super::state::Snapshot;
use crate::place::frames;

pub(crate) fn show(out: &mut dyn Write, only: Option<Direction>, now: &Snapshot) -> fmt::Result {
    let counters = &now.counters;
    write!(out, "protocol version 0, stream {}: ", now.stream_id)?;
    match only {
        Some(direction) => writeln!(out, "{direction}")?,
        None => writeln!(out, "playback or capture, {} last", now.direction)?,
    }
    writeln!(out, "  state: {}, {}", if now.connected { "connected" } else { "without a backend" }, now.phase)?;
    if let Some(geometry) = now.geometry {
        writeln!(
            out,
            "  open: {} {} Hz {} channels, period {} frames, buffer {} frames",
            geometry.format(),
            geometry.rate_hz(),
            geometry.channels(),
            frames(geometry.period_bytes().into(), &geometry),
            frames(geometry.ring_bytes().into(), &geometry)
        )?;
        let position = now.position_bytes.checked_div(geometry.frame_bytes().into()).unwrap_or(0);
        let in_flight = frames(now.in_flight_bytes, &geometry);
        writeln!(out, "  position: {position} frames answered since prepare, {in_flight} more in flight")?;
    }
    writeln!(
        out,
        "  since connected: {} requests, {} responses ({} errors), {} notifications sent",
        counters.requests, counters.responses, counters.errors, now.notifications
    )?;
    match now.violation {
        Some(violation) => writeln!(out, "  violation: {violation}"),
        None => Ok(()),
    }
}
