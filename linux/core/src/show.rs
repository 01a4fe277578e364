// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! A stream's state as text, for people.

use frontend::{Counters, Geometry, Violation};
use sndif::text::{Sink, say};

use crate::layout::StreamInfo;
use crate::place::frames;

/// A stream at one moment.
pub struct Snapshot {
    pub(crate) connected: bool,
    pub(crate) phase: &'static str,
    pub(crate) geometry: Option<Geometry>,
    pub(crate) position_bytes: u64,
    pub(crate) filled_bytes: u32,
    pub(crate) counters: Counters,
    pub(crate) notifications: u64,
    pub(crate) violation: Option<Violation>,
}

pub(crate) fn show(out: &mut dyn Sink, info: &StreamInfo, now: &Snapshot) {
    say(
        out,
        &[&"pcm ", &info.pcm, &" stream ", &info.node, &": ", &info.direction, &" substream ", &info.substream, &"\n"],
    );
    show_limits(out, info);
    say(out, &[&"  state: ", &if now.connected { "connected" } else { "without a backend" }, &", ", &now.phase, &"\n"]);
    if let Some(geometry) = now.geometry {
        show_geometry(out, &geometry);
        let position = now.position_bytes.checked_div(u64::from(geometry.frame_bytes())).unwrap_or(0);
        let latency = frames(now.filled_bytes.into(), &geometry);
        say(out, &[&"  position: ", &position, &" frames since open, latency ", &latency, &" frames\n"]);
    }
    show_counters(out, &now.counters, now.notifications);
    show_violation(out, now.violation);
}

fn show_limits(out: &mut dyn Sink, info: &StreamInfo) {
    let limits = &info.limits;
    say(out, &[&"  limits: ", &limits.channels.min, &" to ", &limits.channels.max, &" channels, buffer "]);
    say(out, &[&limits.buffer_bytes_max, &" bytes, rates"]);
    if limits.rates.list().is_empty() {
        out.text(" 5512 to 48000");
    }
    limits.rates.list().iter().for_each(|rate| say(out, &[&" ", rate]));
    out.text(" Hz, formats");
    limits.formats.iter().for_each(|format| say(out, &[&" ", &format]));
    out.text("\n");
}

/// Writes the geometry of an open stream of either version.
pub(crate) fn show_geometry(out: &mut dyn Sink, geometry: &Geometry) {
    let frames = |bytes: u32| frames(bytes.into(), geometry);
    say(
        out,
        &[&"  open: ", &geometry.format(), &" ", &geometry.rate_hz(), &" Hz ", &geometry.channels(), &" channels"],
    );
    say(out, &[&", period ", &frames(geometry.period_bytes()), &" frames"]);
    say(out, &[&", buffer ", &frames(geometry.ring_bytes()), &" frames\n"]);
}

fn show_counters(out: &mut dyn Sink, counters: &Counters, notifications: u64) {
    say(out, &[&"  since connected: ", &counters.requests, &" requests, ", &counters.responses, &" responses ("]);
    say(
        out,
        &[&counters.errors, &" errors), ", &counters.events, &" events, ", &notifications, &" notifications sent, "],
    );
    say(out, &[&counters.xruns, &" xruns\n"]);
    say(
        out,
        &[&"  disbelieved: ", &counters.event_id_gaps, &" id gaps, ", &counters.unknown_events, &" unknown events, "],
    );
    say(out, &[&counters.ignored_closed, &" positions while closed, ", &counters.ignored_rewinds, &" back, "]);
    say(out, &[&counters.ignored_beyond, &" beyond\n"]);
}

/// Writes the violation that has broken the stream, if there is one.
pub(crate) fn show_violation(out: &mut dyn Sink, violation: Option<Violation>) {
    if let Some(violation) = violation {
        say(out, &[&"  violation: ", &violation, &"\n"]);
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use sndif::store::{Direction, Limits};
    use sndif::text::Writer;
    use sndif::{Format, RingViolation};

    use super::*;

    #[test]
    fn a_stream_is_shown_whole() {
        let info = StreamInfo { pcm: 1, node: 2, direction: Direction::Capture, substream: 0, limits: Limits::DEFAULT };
        let now = Snapshot {
            connected: true,
            phase: "running",
            geometry: Geometry::new(Format::S16Le, 2, 48_000, 480, 1920),
            position_bytes: 4800,
            filled_bytes: 1920,
            counters: Counters {
                requests: 1,
                responses: 2,
                errors: 3,
                events: 4,
                xruns: 5,
                event_id_gaps: 6,
                unknown_events: 7,
                ignored_closed: 8,
                ignored_rewinds: 9,
                ignored_beyond: 10,
            },
            notifications: 11,
            violation: Some(Violation::Ring(RingViolation { producer: 12, limit: 13 })),
        };
        let mut text = String::new();
        show(&mut Writer::new(&mut text), &info, &now);
        let expected = "pcm 1 stream 2: capture substream 0\n  \
            limits: 1 to 2 channels, buffer 65536 bytes, rates 5512 to 48000 Hz, formats u8 s16_le\n  \
            state: connected, running\n  \
            open: s16_le 48000 Hz 2 channels, period 480 frames, buffer 1920 frames\n  \
            position: 1200 frames since open, latency 480 frames\n  \
            since connected: 1 requests, 2 responses (3 errors), 4 events, 11 notifications sent, 5 xruns\n  \
            disbelieved: 6 id gaps, 7 unknown events, 8 positions while closed, 9 back, 10 beyond\n  \
            violation: the backend's response index: producer index 12 is past its limit 13\n";
        assert_eq!(text, expected);
    }
}
