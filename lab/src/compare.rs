//! Comparison of a recording with the frames that were heard.

use clap::Args;
use sndif::Format;

use crate::Recording;

/// Differences from the whole recording that may be heard.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Tolerance {
    /// Number of the recording's first frames that is enough: a player was killed.
    #[arg(long, value_name = "FRAMES")]
    pub(crate) at_least: Option<u64>,
    /// Silence may lie between two frames of the recording: a player was stopped, and went on.
    #[arg(long)]
    pub(crate) gaps: bool,
    /// The sound may begin with any frame of the recording: the frames before were heard elsewhere.
    #[arg(long)]
    pub(crate) from_any: bool,
    /// Silence may lie before the sound: a sound server was there first.
    #[arg(long)]
    pub(crate) late: bool,
    /// Frames of zero bytes end the sound in formats whose silence is another value: the stock driver fills a buffer
    /// with them.
    #[arg(long)]
    pub(crate) zeroes: bool,
    /// Number of times that the sound may go on with any other frame of the recording: a recorder was held up, and the
    /// rest is lost.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) jumps: u32,
    /// Channels of the recording, from 0 on, that were heard: the others went elsewhere.
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) only: Option<Channels>,
    /// Channels of the file that are the recording's, of so many: the others belong to another stream.
    #[arg(long, value_name = "FIRST-LAST/CHANNELS")]
    pub(crate) among: Option<Among>,
}

/// Some of a file's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Among {
    channels: Channels,
    pub(crate) of: u8,
}

impl std::str::FromStr for Among {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('/').and_then(|(some, of)| Some((some.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((channels @ Channels { last, .. }, of)) if last < of => Ok(Self { channels, of }),
            _ => Err("not channels and, behind /, how many there are"),
        }
    }
}

/// Adjacent channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Channels {
    first: u8,
    last: u8,
}

impl Channels {
    pub(crate) fn count(self) -> u8 {
        self.last - self.first + 1
    }
}

impl std::str::FromStr for Channels {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match parsed {
            Some((first, last)) if first <= last && last < u8::MAX => Ok(Self { first, last }),
            _ => Err("not two numbers of channels with - between them"),
        }
    }
}

/// Outcome of a comparison.
pub(crate) struct Verdict {
    pub(crate) good: bool,
    /// The result in one line of text.
    pub(crate) text: String,
}

/// Compares the heard frames, of s16_le, with the sum of two recordings, of which `one` began first.
pub(crate) fn compare_mixture(one: &Recording, other: &Recording, heard: &[u8]) -> Verdict {
    let samples = |bytes: &[u8]| -> Vec<i16> {
        bytes.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect()
    };
    let (first, second, heard) = (samples(&one.bytes()), samples(&other.bytes()), samples(heard));
    let channels = usize::from(one.channels.max(1));
    let at =
        |recording: &[i16], place: Option<usize>| place.and_then(|place| recording.get(place)).copied().unwrap_or(0);
    let before = heard.iter().take_while(|&&sample| sample == 0).count() / channels * channels;
    let heard = &heard[before..];
    // The other one begins where the frames differ from the first recording.
    let alone = heard.iter().enumerate().take_while(|&(place, &sample)| sample == at(&first, Some(place))).count();
    let alone = alone / channels * channels;
    let mixed = |place: usize| at(&first, Some(place)).saturating_add(at(&second, place.checked_sub(alone)));
    let differs = heard.iter().enumerate().find(|&(place, &sample)| sample != mixed(place)).map(|(place, _)| place);
    let (frames, together) = (heard.len() / channels, one.frames.saturating_sub((alone / channels) as u64));
    let text = match differs {
        Some(place) => format!(
            "frame {} of {frames} is not the sum, {} frames after both play",
            place / channels,
            place.saturating_sub(alone) / channels
        ),
        None if alone >= first.len() => "the two did not play at the same time".to_owned(),
        None if heard.len() < first.len().max(alone + second.len()) => format!("only {frames} frames came"),
        None => format!("{} and {} frames, {together} of them at once, are their sum", one.frames, other.frames),
    };
    let good = differs.is_none() && alone < first.len() && heard.len() >= first.len().max(alone + second.len());
    Verdict { good, text }
}

/// Bytes of some channels of a recording, and the size of their frame.
fn only(recording: &Recording, channels: Channels) -> (Vec<u8>, usize) {
    pick(recording, channels, &recording.bytes())
}

/// The heard frames of a recording that has only some of a file's channels.
pub(crate) fn heard_among(recording: &Recording, among: Among, heard: &[u8]) -> Vec<u8> {
    pick(&Recording { channels: among.of, ..*recording }, among.channels, heard).0
}

/// Bytes of some channels of `sound`, which has the recording's format, and the size of their frame.
fn pick(like: &Recording, channels: Channels, sound: &[u8]) -> (Vec<u8>, usize) {
    let frame = like.frame_bytes().max(1);
    let sample = frame / usize::from(like.channels.max(1));
    let [from, to] = [channels.first, channels.last + 1].map(|channel| (usize::from(channel) * sample).min(frame));
    (sound.chunks_exact(frame).flat_map(|frame| &frame[from..to]).copied().collect(), (to - from).max(1))
}

/// Number of frames that identify a place of a recording.
const PLACE_FRAMES: usize = 16;

/// Number of the frame of the recording `expected` with which `heard` begins.
fn place(expected: &[u8], heard: &[u8], frame: usize) -> Option<usize> {
    let beginning = heard.get(..(PLACE_FRAMES * frame).min(heard.len()))?;
    (0..expected.len() / frame).find(|at| expected.get(at * frame..).is_some_and(|rest| rest.starts_with(beginning)))
}

/// Compares the heard frames with `recording`: the recording's frames from the first one on, then only silence.
pub(crate) fn compare(recording: &Recording, heard: &[u8], tolerance: Tolerance) -> Verdict {
    let (expected, frame) = match tolerance.only {
        None => (recording.bytes(), recording.frame_bytes().max(1)),
        Some(channels) => only(recording, channels),
    };
    let mut quiet = vec![0; frame];
    pcm::fill_silence(recording.format, &mut quiet);
    // Padding of ALSA: equal to silence in every format but mu-law, whose zero has two codes.
    let padding = if recording.format == Format::MuLaw { vec![0x7f; frame] } else { quiet.clone() };

    let is_silence = |got: &[u8]| got == quiet || got == padding;
    let (before, heard) = if tolerance.late {
        heard.split_at(heard.chunks(frame).take_while(|got| is_silence(got)).map(<[u8]>::len).sum())
    } else {
        heard.split_at(0)
    };

    // Next frame of the recording, frames of silence so far, and frames of silence between frames of the recording.
    let first = if tolerance.from_any { place(&expected, heard, frame).unwrap_or(0) } else { 0 };
    let (mut same, mut silence, mut gaps) = (first, 0, 0);
    // Number of jumps within the recording, and total number of its frames that came.
    let (mut jumps, mut came) = (0, first);
    // Number of frames of zero bytes at the end.
    let zero = vec![0; frame];
    let has_zeroes = tolerance.zeroes && !is_silence(&zero);
    let mut zeroes = 0;
    let mut differs = None;
    for (at, got) in (before.len() / frame..).zip(heard.chunks(frame)) {
        let next = expected.get(same * frame..).and_then(|rest| rest.chunks(frame).next());
        if has_zeroes && next.is_none() && got == zero {
            zeroes += 1;
        } else if zeroes > 0 {
            differs = Some(at);
            break;
        } else if next == Some(got) && (silence == 0 || (tolerance.gaps && same > 0)) {
            (same, came, gaps) = (same + 1, came + 1, silence);
        } else if is_silence(got) {
            silence += 1;
        } else if jumps < tolerance.jumps
            && silence == 0
            && let Some(to) = heard.get(at * frame - before.len()..).and_then(|rest| place(&expected, rest, frame))
        {
            (same, came, jumps) = (to + 1, came + 1, jumps + 1);
        } else {
            differs = Some(at);
            break;
        }
    }

    let total = recording.frames as usize;
    let at_least = tolerance.at_least.unwrap_or(recording.frames) as usize;
    let Recording { format, channels, .. } = recording;
    let text = if let Some(at) = differs {
        let frames = heard.len() / frame;
        format!("frame {at} of {total} differs, after {same} of the recording ({frames} {format} {channels} ch heard)")
    } else if came < at_least {
        format!("only {came} of {total} frames came, and {silence} of silence")
    } else if jumps > 0 {
        format!("{came} frames {format} {channels} ch identical, in {} pieces", jumps + 1)
    } else {
        let of = match (first, same < total) {
            (0, true) => format!("first {same} of {total}"),
            (0, false) => same.to_string(),
            _ => format!("from {first} to {same} of {total}"),
        };
        let between = if gaps > 0 { format!(", {gaps} of silence between") } else { String::new() };
        let after = silence - gaps;
        let end = if has_zeroes { format!(", then {zeroes} of zero bytes") } else { String::new() };
        let begin = if before.is_empty() { String::new() } else { format!(", {} before", before.len() / frame) };
        format!("{of} frames {format} {channels} ch identical{between}, {after} of silence after{begin}{end}")
    };
    Verdict { good: differs.is_none() && came >= at_least && (zeroes > 0 || !has_zeroes), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDING: Recording = Recording { format: Format::S16Le, channels: 2, frames: 100, seed: 1, tone: false };
    const EXACT: Tolerance = Tolerance {
        at_least: None,
        gaps: false,
        from_any: false,
        late: false,
        zeroes: false,
        jumps: 0,
        only: None,
        among: None,
    };
    const HALF: Tolerance = Tolerance { at_least: Some(50), ..EXACT };
    const GAPS: Tolerance = Tolerance { gaps: true, ..EXACT };
    const REST: Tolerance = Tolerance { from_any: true, ..EXACT };

    fn good(heard: &[u8], tolerance: Tolerance) -> bool {
        compare(&RECORDING, heard, tolerance).good
    }

    #[test]
    fn only_the_recording_and_silence_after_it_pass() {
        let bytes = RECORDING.bytes();
        assert!(good(&bytes, EXACT));
        assert!(good(&[&bytes[..], &[0; 40]].concat(), EXACT));
        assert!(!good(&[&[0; 4], &bytes[..]].concat(), EXACT), "silence before");
        assert!(!good(&[&bytes[..], &[0, 0, 1, 0]].concat(), EXACT), "a sound after");
        assert!(!good(&bytes[..396], EXACT), "a frame is missing");
        assert!(!good(&[&bytes[..], &[0; 3]].concat(), EXACT), "a part of a frame");
        assert!(!good(&[&bytes[..200], &[0; 4], &bytes[200..]].concat(), EXACT), "a gap");
        let mut changed = bytes.clone();
        changed[200] ^= 1;
        assert!(!good(&changed, EXACT), "one bit");
    }

    #[test]
    fn a_player_that_was_killed_may_have_played_a_part() {
        let bytes = RECORDING.bytes();
        assert!(good(&bytes[..200], HALF));
        assert!(good(&[&bytes[..200], &[0; 8]].concat(), HALF));
        assert!(!good(&bytes[..196], HALF));
        assert!(!good(&[&bytes[..200], &bytes[204..]].concat(), HALF), "a frame is missing in the middle");
    }

    #[test]
    fn a_player_that_was_stopped_may_leave_gaps_and_lose_nothing() {
        let bytes = RECORDING.bytes();
        assert!(good(&[&bytes[..200], &[0; 80], &bytes[200..], &[0; 4]].concat(), GAPS));
        assert!(!good(&[&bytes[..200], &[0; 80], &bytes[204..]].concat(), GAPS), "a frame is lost");
        assert!(!good(&[&bytes[..200], &[0; 80], &bytes[196..]].concat(), GAPS), "a frame came twice");
        assert!(!good(&[&[0; 4], &bytes[..]].concat(), GAPS), "silence before");
    }

    #[test]
    fn silence_may_lie_before_a_late_recording() {
        let late = |heard: &[u8]| compare(&RECORDING, heard, Tolerance { late: true, ..EXACT });
        let bytes = RECORDING.bytes();
        assert!(late(&bytes).good);
        let verdict = late(&[&[0; 4], &bytes[..]].concat());
        assert!(verdict.good && verdict.text.ends_with("0 of silence after, 1 before"), "{}", verdict.text);
        assert!(!late(&[&[0; 4], &bytes[4..]].concat()).good, "a frame is missing");
        assert!(late(&[&[0; 40], &bytes[4..]].concat()).text.starts_with("frame 10 of"));
    }

    #[test]
    fn zero_bytes_end_what_has_another_silence() {
        let recording = Recording { format: Format::U8, ..RECORDING };
        let zeroes = Tolerance { zeroes: true, ..EXACT };
        let bytes = recording.bytes();
        let heard = [&bytes[..], &[0x80; 8], &[0; 6]].concat();
        let verdict = compare(&recording, &heard, zeroes);
        assert!(verdict.good);
        assert!(verdict.text.ends_with("4 of silence after, then 3 of zero bytes"), "{}", verdict.text);
        assert!(!compare(&recording, &heard, EXACT).good);
        assert!(!compare(&recording, &heard[..heard.len() - 6], zeroes).good, "none came");
        assert!(!compare(&recording, &[&heard[..], &[0x80; 2]].concat(), zeroes).good, "silence behind them");
        assert!(!compare(&recording, &[&bytes[..100], &[0; 6]].concat(), zeroes).good, "a part of the recording");
        assert!(good(&[&RECORDING.bytes()[..], &[0; 8]].concat(), zeroes), "where zero is silence");
    }

    #[test]
    fn a_mixture_is_the_sum_of_both_to_the_last_frame() {
        let other = Recording { seed: 2, ..RECORDING };
        let samples = |recording: Recording, begin: usize| -> Vec<i16> {
            let bytes = recording.bytes();
            let sounds = bytes.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]]));
            std::iter::repeat_n(0, begin * 2).chain(sounds).chain(std::iter::repeat(0)).take(400).collect()
        };
        let mix = |begin: usize| -> Vec<u8> {
            let sums = samples(RECORDING, 10).into_iter().zip(samples(other, begin));
            sums.flat_map(|(one, other)| one.saturating_add(other).to_le_bytes()).collect()
        };
        let good = |heard: &[u8]| compare_mixture(&RECORDING, &other, heard).good;
        assert!(good(&mix(50)));
        assert!(!good(&mix(110)), "one after the other");
        assert!(!good(&mix(50)[..520]), "the end of the second is missing");
        assert!(!good(&RECORDING.bytes()), "one alone");
        let mut changed = mix(50);
        changed[300] ^= 1;
        assert!(!good(&changed), "one bit");
        assert!(!good(&[&mix(50)[..300], &mix(50)[304..], &[0; 4]].concat()), "a frame is lost");
    }

    #[test]
    fn the_rest_of_a_recording_begins_anywhere_and_ends_with_it() {
        let bytes = RECORDING.bytes();
        assert!(good(&bytes, REST));
        assert!(good(&[&bytes[120..], &[0; 8]].concat(), REST));
        assert!(compare(&RECORDING, &bytes[120..], REST).text.starts_with("from 30 to 100 of 100 frames"));
        assert!(!good(&bytes[120..396], REST), "the end is missing");
        assert!(!good(&[&[0; 4], &bytes[120..]].concat(), REST), "silence before");
        assert!(!good(&[&bytes[120..200], &bytes[204..]].concat(), REST), "a frame is missing");
        assert!(!good(&bytes[122..], REST), "not a whole frame");
        assert!(!good(&[], REST));
    }

    #[test]
    fn a_recorder_that_was_held_up_goes_on_elsewhere_as_often_as_allowed() {
        let bytes = RECORDING.bytes();
        let jump = |heard: &[u8], jumps| compare(&RECORDING, heard, Tolerance { jumps, at_least: Some(60), ..EXACT });
        let held_up = [&bytes[..120], &bytes[240..]].concat();
        assert!(jump(&held_up, 1).good);
        assert!(!jump(&held_up, 0).good);
        assert!(jump(&[&bytes[..120], &bytes[..160]].concat(), 1).good, "back to the beginning");
        assert!(!jump(&[&bytes[..120], &bytes[240..260]].concat(), 1).good, "35 frames are not 60");
        assert!(!jump(&[&bytes[..120], &bytes[240..320], &bytes[..80]].concat(), 1).good, "two jumps");
        assert!(!jump(&[&bytes[..120], &[7; 40], &bytes[120..]].concat(), 1).good, "something else between");
        assert!(
            jump(&held_up, 1).text.contains("70 frames s16_le 2 ch identical, in 2 pieces"),
            "{}",
            jump(&held_up, 1).text
        );
    }

    #[test]
    fn some_of_a_recordings_channels_are_compared_where_the_others_went_elsewhere() {
        let four = Recording { channels: 4, ..RECORDING };
        let bytes = four.bytes();
        let pair = |at: usize| bytes.chunks(8).flat_map(|frame| frame[at..at + 4].to_vec()).collect::<Vec<_>>();
        let only = |channels: &str| Tolerance { only: Some(channels.parse().unwrap()), ..EXACT };
        assert!(compare(&four, &pair(0), only("0-1")).good);
        assert!(compare(&four, &pair(4), only("2-3")).good);
        assert!(!compare(&four, &pair(4), only("0-1")).good);
        for wrong in ["", "1", "1-0", "0-255", "0-256", "a-b"] {
            assert!(wrong.parse::<Channels>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_recording_may_have_some_of_a_files_channels() {
        let mono = |seed| Recording { channels: 1, seed, ..RECORDING };
        let (left, right) = (mono(1).bytes(), mono(2).bytes());
        let heard: Vec<u8> =
            left.chunks(2).zip(right.chunks(2)).flat_map(|(left, right)| [left, right].concat()).collect();
        let good = |recording: Recording, among: &str| {
            compare(&recording, &heard_among(&recording, among.parse().unwrap(), &heard), EXACT).good
        };
        assert!(good(mono(1), "0-0/2") && good(mono(2), "1-1/2"));
        assert!(!good(mono(1), "1-1/2") && !good(mono(2), "0-0/2"));
        for wrong in ["", "0-0", "0-1/1", "0-0/", "1-0/2", "0/2"] {
            assert!(wrong.parse::<Among>().is_err(), "{wrong}");
        }
    }
}
