// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A stream's state as text, for people.

use sndif::store::Direction;
use sndif::text::{Sink, say};

use super::state::Snapshot;
use crate::place::frames;
use crate::show::{show_geometry, show_violation};

pub(crate) fn show(out: &mut dyn Sink, only: Option<Direction>, now: &Snapshot) {
    let counters = &now.counters;
    say(out, &[&"protocol version 0, stream ", &now.stream_id, &": "]);
    match only {
        Some(direction) => say(out, &[&direction, &"\n"]),
        None => say(out, &[&"playback or capture, ", &now.direction, &" last\n"]),
    }
    say(out, &[&"  state: ", &if now.connected { "connected" } else { "without a backend" }, &", ", &now.phase, &"\n"]);
    if let Some(geometry) = now.geometry {
        show_geometry(out, &geometry);
        let position = now.position_bytes.checked_div(geometry.frame_bytes().into()).unwrap_or(0);
        let in_flight = frames(now.in_flight_bytes, &geometry);
        say(out, &[&"  position: ", &position, &" frames answered since prepare, ", &in_flight, &" more in flight\n"]);
    }
    say(out, &[&"  since connected: ", &counters.requests, &" requests, ", &counters.responses, &" responses ("]);
    say(out, &[&counters.errors, &" errors), ", &now.notifications, &" notifications sent\n"]);
    show_violation(out, now.violation);
}
