//! What became of a recording.

use crate::Recording;

/// Outcome of a comparison.
pub(crate) struct Verdict {
    pub(crate) good: bool,
    /// One line that says what was compared.
    pub(crate) text: String,
}

/// Compares what was heard with `recording`: at least its first `at_least` frames, then only silence.
pub(crate) fn compare(recording: &Recording, heard: &[u8], at_least: u64) -> Verdict {
    let expected = recording.octets();
    let frame = recording.frame_bytes().max(1);
    let same = expected.chunks(frame).zip(heard.chunks(frame)).take_while(|(a, b)| a == b).count();
    let (frames, total) = (heard.len() / frame, recording.frames as usize);
    let Recording { format, channels, .. } = recording;

    let mut quiet = vec![0; frame];
    pcm::fill_silence(*format, &mut quiet);
    let loud = heard.chunks(frame).skip(same).position(|heard| heard != quiet).map(|at| at + same);

    let enough = same as u64 >= at_least.min(recording.frames);
    let whole_frames = heard.len().is_multiple_of(frame);
    let (good, text) = match loud {
        Some(at) => (false, format!("frame {at} of {total} differs ({frames} frames {format} {channels} ch heard)")),
        None if !enough => (false, format!("only {same} of {total} frames came, then {} of silence", frames - same)),
        None if !whole_frames => (false, format!("{same} frames identical, then a part of one")),
        None => {
            let of = if same < total { format!("first {same} of {total}") } else { same.to_string() };
            (true, format!("{of} frames {format} {channels} ch identical, {} of silence after", frames - same))
        }
    };
    Verdict { good, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sndif::Format;

    const RECORDING: Recording = Recording { format: Format::S16Le, channels: 2, frames: 100, seed: 1 };

    fn good(heard: &[u8], at_least: u64) -> bool {
        compare(&RECORDING, heard, at_least).good
    }

    #[test]
    fn only_the_recording_and_silence_after_it_pass() {
        let octets = RECORDING.octets();
        assert!(good(&octets, 100));
        assert!(good(&[&octets[..], &[0; 40]].concat(), 100));
        assert!(!good(&[&[0; 4], &octets[..]].concat(), 100), "silence before");
        assert!(!good(&[&octets[..], &[0, 0, 1, 0]].concat(), 100), "a sound after");
        assert!(!good(&octets[..396], 100), "a frame is missing");
        assert!(!good(&[&octets[..], &[0; 3]].concat(), 100), "a part of a frame");
        let mut changed = octets.clone();
        changed[200] ^= 1;
        assert!(!good(&changed, 100), "one bit");
    }

    #[test]
    fn a_player_that_was_killed_may_have_played_a_part() {
        let octets = RECORDING.octets();
        assert!(good(&octets[..200], 50));
        assert!(good(&[&octets[..200], &[0; 8]].concat(), 50));
        assert!(!good(&octets[..200], 51));
        assert!(!good(&[&octets[..200], &octets[204..]].concat(), 50), "a frame is missing in the middle");
    }
}
