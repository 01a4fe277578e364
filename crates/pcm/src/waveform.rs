//! Picture of a recording: minimum and maximum per column, drawn with characters.

use crate::{sample_bytes, samples};
use sndif::Format;

/// Characters that a picture is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Block characters, two steps per row.
    #[default]
    Blocks,
    /// `#`, `'` and `.`, for terminals without Unicode.
    Ascii,
}

/// The lowest and highest sample of each of `columns` equal parts of `frames`, all channels together.
///
/// A column without samples (fewer frames than columns) is `(0.0, 0.0)`.
#[must_use]
pub fn waveform(format: Format, channels: u8, frames: &[u8], columns: usize) -> Vec<(f32, f32)> {
    let frame_bytes = sample_bytes(format) * usize::from(channels.max(1));
    let total = frames.len() / frame_bytes;
    let edge = |column: usize| (column as u128 * total as u128 / columns as u128) as usize * frame_bytes;
    (0..columns)
        .map(|column| {
            let part = &frames[edge(column)..edge(column + 1)];
            samples(format, part)
                .map(|sample| (sample, sample))
                .reduce(|(low, high), (sample, _)| (low.min(sample), high.max(sample)))
                .unwrap_or((0.0, 0.0))
        })
        .collect()
}

/// Draws `columns` as `height` lines of text, full scale from top to bottom, each ended by `\n`.
///
/// A column always shows at least one step, so that silence is a line in the middle.
#[must_use]
pub fn draw(columns: &[(f32, f32)], height: usize, style: Style) -> String {
    let [both, upper, lower] = match style {
        Style::Blocks => ['█', '▀', '▄'],
        Style::Ascii => ['#', '\'', '.'],
    };
    let steps = height * 2;
    // Step 0 is the top: amplitude 1 is the upper edge of step 0, −1 the lower edge of the last one.
    let edge = |amplitude: f32| (1.0 - amplitude.clamp(-1.0, 1.0)) / 2.0 * steps as f32;
    let spans: Vec<(usize, usize)> = columns
        .iter()
        .map(|&(low, high)| {
            let top = (edge(high).floor() as usize).min(steps.saturating_sub(1));
            (top, (edge(low).ceil() as usize).clamp(top + 1, steps.max(top + 1)))
        })
        .collect();
    let mut text = String::new();
    for row in 0..height {
        for &(top, bottom) in &spans {
            let shown = |step: usize| (top..bottom).contains(&step);
            text.push(match (shown(row * 2), shown(row * 2 + 1)) {
                (true, true) => both,
                (true, false) => upper,
                (false, true) => lower,
                (false, false) => ' ',
            });
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_hold_the_extremes_of_their_part() {
        let frames = [0x80, 0xc0, 0x40, 0x80].map(|byte: u8| byte);
        assert_eq!(waveform(Format::U8, 1, &frames, 2), [(0.0, 0.5), (-0.5, 0.0)]);
        assert_eq!(waveform(Format::U8, 1, &frames[..1], 2), [(0.0, 0.0), (0.0, 0.0)]);
    }

    #[test]
    fn a_picture_of_loud_half_and_silent_columns() {
        let columns = [(-1.0, 1.0), (0.0, 0.5), (0.0, 0.0)];
        assert_eq!(draw(&columns, 2, Style::Blocks), "█▄ \n█ ▀\n");
        assert_eq!(draw(&columns, 2, Style::Ascii), "#. \n# '\n");
    }

    proptest! {
        #[test]
        fn any_picture_has_the_size_that_was_asked_for(
            bytes: Vec<u8>, channels: u8, columns in 0..50_usize, height in 0..9_usize,
        ) {
            for format in Format::all() {
                let picture = draw(&waveform(format, channels, &bytes, columns), height, Style::Blocks);
                prop_assert_eq!(picture.lines().count(), height);
                prop_assert!(picture.lines().all(|line| line.chars().count() == columns));
            }
        }
    }
}
