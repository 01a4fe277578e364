//! Result of `vsnd demo`, for people and as JSON.

use std::fmt;

use host_audio::wav::WavAudio;
use serde::Serialize;

use crate::guest_side::GuestReport;

/// Rows and columns of the drawn waveform.
const WAVEFORM: (usize, usize) = (8, 72);

/// Outcome of comparing the output with the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(crate) enum Comparison {
    /// Every byte is the same.
    Identical {
        /// Number of bytes.
        bytes: usize,
    },
    /// The bytes differ.
    Different {
        /// First byte that differs, or the end of the shorter one.
        first_difference: usize,
        /// Bytes of the input.
        expected_bytes: usize,
        /// Bytes of the output.
        found_bytes: usize,
    },
    /// The sink keeps nothing to compare with.
    NotCompared,
}

impl Comparison {
    pub(crate) fn of(expected: &WavAudio, found: &WavAudio) -> Self {
        if expected == found {
            return Self::Identical { bytes: expected.data.len() };
        }
        let same = expected.data.iter().zip(&found.data).take_while(|(a, b)| a == b).count();
        Self::Different { first_difference: same, expected_bytes: expected.data.len(), found_bytes: found.data.len() }
    }

    fn is_good(&self) -> bool {
        !matches!(self, Self::Different { .. })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identical { bytes } => write!(f, "identical ({bytes} bytes compared)"),
            Self::Different { first_difference, expected_bytes, found_bytes } => write!(
                f,
                "DIFFERENT from byte {first_difference} on ({expected_bytes} bytes expected, {found_bytes} found)"
            ),
            Self::NotCompared => f.write_str("not compared: this sink keeps nothing"),
        }
    }
}

/// The whole result.
#[derive(Debug, Serialize)]
pub(crate) struct DemoReport {
    pub(crate) file: String,
    pub(crate) protocol: String,
    pub(crate) sink: String,
    pub(crate) playback: Comparison,
    pub(crate) capture: Comparison,
    pub(crate) player: GuestReport,
    pub(crate) recorder: GuestReport,
    #[serde(skip)]
    pub(crate) heard: WavAudio,
}

impl DemoReport {
    /// Returns true if all that was compared is identical.
    pub(crate) fn is_good(&self) -> bool {
        self.playback.is_good() && self.capture.is_good()
    }
}

impl fmt::Display for DemoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} → guest → shared ring → vsndd → {}", self.file, self.sink)?;
        writeln!(f, "  playback       {}", self.playback)?;
        writeln!(f, "  capture        {}", self.capture)?;
        writeln!(f, "  stream         {}, protocol {}", self.player.stream, self.protocol)?;
        // With protocol v0 an answer comes when it is due, and its time says nothing about the latency.
        if self.player.latency_us.count > 0 {
            writeln!(
                f,
                "  request        p50 {:.1} µs, p99 {:.1} µs ({} measured)",
                self.player.latency_us.p50, self.player.latency_us.p99, self.player.latency_us.count
            )?;
        }
        for (name, report) in [("playing", &self.player), ("recording", &self.recorder)] {
            writeln!(
                f,
                "  {name:<14} {:.2} notifications per period front→back, {:.2} back→front; {} xruns",
                report.notifications_per_period.to_backend, report.notifications_per_period.from_backend, report.xruns,
            )?;
        }
        let (rows, columns) = WAVEFORM;
        let WavAudio { format, channels, ref data, .. } = self.heard;
        let wave = pcm::waveform(format, channels, data, columns);
        write!(f, "{}", pcm::draw(&wave, rows, pcm::Style::Blocks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(data: &[u8]) -> WavAudio {
        WavAudio { format: sndif::Format::U8, rate_hz: 8000, channels: 1, data: data.to_vec() }
    }

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(Comparison::of(&audio(b"abc"), &audio(b"abc")), Comparison::Identical { bytes: 3 });
        for (found, at) in [(&b"aXc"[..], 1), (b"ab", 2), (b"abcd", 3)] {
            let comparison = Comparison::of(&audio(b"abc"), &audio(found));
            let expected = Comparison::Different { first_difference: at, expected_bytes: 3, found_bytes: found.len() };
            assert_eq!(comparison, expected);
        }
    }
}
