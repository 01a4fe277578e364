//! Columns of the list of streams: the most important first, and more of them the wider the screen is.

use super::fit::{cut, cut_target, width};
use super::row::{Row, is_open};
use crate::text;

/// Columns left of the first one, for the mark of the selected stream.
pub(super) const MARGIN: usize = 2;

/// The narrowest useful meter.
const METER_MIN: usize = 18;

/// Minimum width of a target: in less, streams cannot be told apart.
const TARGET_MIN: usize = 12;

/// Maximum width of a target: a longer one takes no room from the meters, and is shown in full of the selected stream.
const TARGET_MAX: usize = 28;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Target,
    State,
    Direction,
    Latency,
    Xruns,
    Incoming,
    Outgoing,
    Volume,
    Format,
    Device,
    Buffer,
    Label,
    Meter,
}

/// All columns, the most important first, each with its width. The order on the screen is that of [`Column`].
const IMPORTANCE: [(Column, usize); 13] = [
    (Column::Target, TARGET_MIN),
    (Column::State, 7),
    (Column::Meter, METER_MIN),
    (Column::Direction, 4),
    (Column::Latency, 8),
    (Column::Xruns, 5),
    (Column::Incoming, 5),
    (Column::Outgoing, 5),
    (Column::Volume, 10),
    (Column::Format, 24),
    (Column::Device, 20),
    (Column::Buffer, 10),
    (Column::Label, 16),
];

/// The columns of a screen, in their order, each with its width.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns(pub(super) Vec<(Column, usize)>);

impl Columns {
    /// The columns that fit; `target_width` is the width of the longest target.
    pub(super) fn fitting(screen_width: usize, target_width: usize) -> Self {
        let mut left = screen_width.saturating_sub(MARGIN);
        let mut columns = Vec::new();
        for (column, width) in IMPORTANCE {
            let gap = usize::from(!columns.is_empty());
            if left < width + gap {
                break;
            }
            left -= width + gap;
            columns.push((column, width));
        }
        if columns.is_empty() {
            columns.push((Column::Target, std::mem::take(&mut left)));
        }
        let longer = target_width.min(TARGET_MAX).saturating_sub(columns[0].1).min(left);
        columns[0].1 += longer;
        let rest = left - longer;
        if let Some((_, width)) = columns.iter_mut().find(|(column, _)| *column == Column::Meter) {
            *width += rest;
        }
        columns.sort_by_key(|(column, _)| *column as usize);
        Self(columns)
    }

    pub(super) fn has(&self, column: Column) -> bool {
        self.0.iter().any(|(other, _)| *other == column)
    }

    /// Position and width of the meters.
    pub(super) fn meter(&self) -> Option<(usize, usize)> {
        let last = self.0.last().filter(|(column, _)| *column == Column::Meter)?;
        Some((MARGIN + self.0.iter().map(|(_, width)| width + 1).sum::<usize>() - last.1 - 1, last.1))
    }

    /// A line with the text that `cell` gives for each column but the meters.
    pub(super) fn line(&self, cell: impl Fn(Column, usize) -> String) -> String {
        let mut line = String::new();
        for (column, columns) in self.0.iter().filter(|(column, _)| *column != Column::Meter) {
            let text = cell(*column, *columns);
            let padding = " ".repeat(columns.saturating_sub(width(&text)));
            let (before, after) = if column.is_number() { (padding, String::new()) } else { (String::new(), padding) };
            line += &format!("{before}{text}{after} ");
        }
        line
    }
}

impl Column {
    fn is_number(self) -> bool {
        use Column::{Buffer, Incoming, Latency, Outgoing, Volume, Xruns};
        matches!(self, Latency | Xruns | Incoming | Outgoing | Volume | Buffer)
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Target => "STREAM",
            Self::State => "STATE",
            Self::Direction => "DIR",
            Self::Latency => "LATENCY",
            Self::Xruns => "XRUNS",
            Self::Incoming => "IN/s",
            Self::Outgoing => "OUT/s",
            Self::Volume => "VOLUME",
            Self::Format => "FORMAT",
            Self::Device => "SINK/SOURCE",
            Self::Buffer => "PER/BUF",
            Self::Label => "LABEL",
            Self::Meter => "",
        }
    }

    /// Text of the column for a stream.
    pub(super) fn text(self, row: &Row, columns: usize) -> String {
        let stream = &row.stream;
        let rate = |rate: Option<f64>| rate.filter(|_| is_open(stream)).map(|rate| format!("{rate:.0}"));
        let known = match self {
            Self::Target => Some(cut_target(&row.target, columns)),
            Self::State => Some(text::state(stream).to_owned()),
            Self::Direction => Some(text::direction(stream).chars().take(4).collect()),
            Self::Latency => stream.latency_us.map(text::latency),
            Self::Xruns => Some(stream.xruns.to_string()),
            Self::Incoming => rate(row.notifications.map(|rate| rate.incoming)),
            Self::Outgoing => rate(row.notifications.map(|rate| rate.outgoing)),
            Self::Volume => Some(text::volume(stream)),
            Self::Format => text::format(stream),
            Self::Device => Some(text::plain(&stream.device)),
            Self::Buffer => is_open(stream).then(|| format!("{}/{}", stream.period_frames, stream.buffer_frames)),
            Self::Label => Some(text::plain(&stream.label)),
            Self::Meter => None,
        };
        cut(&known.unwrap_or_else(|| text::NOTHING.to_owned()), columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_screen_has_more_columns_and_never_too_many() {
        let mut before = 0;
        for screen_width in 0..300 {
            let Columns(columns) = Columns::fitting(screen_width, 30);
            let taken = MARGIN + columns.iter().map(|(_, width)| width + 1).sum::<usize>() - 1;
            assert!(taken <= screen_width.max(MARGIN), "{taken} of {screen_width}: {columns:?}");
            assert!(columns.len() >= before, "{screen_width}: {columns:?}");
            before = columns.len();
        }
        assert_eq!(before, IMPORTANCE.len());
    }

    #[test]
    fn the_room_that_is_left_goes_to_the_longest_target_then_to_the_meters() {
        let wide = Columns::fitting(200, 20);
        assert_eq!(wide.0[0], (Column::Target, 20));
        let (begin, width) = wide.meter().unwrap();
        assert_eq!(begin + width, 200);
        assert!(Columns::fitting(200, 12).meter().unwrap().1 > width);
    }
}
