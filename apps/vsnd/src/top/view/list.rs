//! The list of streams: an item each, with a line for every channel; the selected one is always visible.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Text};

use super::{View, meters};
use crate::text;
use crate::top::columns::{Column, Columns, MARGIN};
use crate::top::fit::{SEPARATOR, cut, width};
use crate::top::model::{Connection, Model};
use crate::top::row::{Row, is_open};

/// Indent of the lines under the first one of an open stream.
const INDENT: usize = 4;

impl View {
    /// Draws titles and list; returns the numbers of streams that are out of sight above and below.
    pub(super) fn list(&mut self, frame: &mut Frame<'_>, titles: Rect, area: Rect, model: &Model) -> (usize, usize) {
        self.places.clear();
        if model.rows.is_empty() && model.others.is_empty() {
            if model.connection == Connection::Up {
                let words = match model.status.guests.is_empty() {
                    true => "No guest has a sound card.",
                    false => "No stream is like that.",
                };
                frame.render_widget(Line::from(format!("  {words}")), area);
            }
            return (0, 0);
        }
        let longest = model.rows.iter().map(|row| width(&text::plain(&row.target.to_string()))).max();
        let columns = Columns::fitting(area.width.into(), longest.unwrap_or_default());
        let title = columns.line(|column, columns| cut(column.title(), columns));
        frame.render_widget(Line::styled(format!("{:MARGIN$}{title}", ""), self.palette.dim), titles);
        if let (Some((begin, width)), false) = (columns.meter(), titles.is_empty()) {
            frame.buffer_mut().set_string(begin as u16, titles.y, meters::scale(width), self.palette.dim);
        }

        let mut heights: Vec<usize> = model.rows.iter().map(|row| height(row, model, &columns)).collect();
        heights.extend(model.others.iter().map(|_| 1));
        let room = usize::from(area.height);
        self.first = scrolled(&heights, self.first, model.place(), room);
        let mut y = area.y;
        let mut shown = 0;
        for (index, height) in heights.iter().enumerate().skip(self.first) {
            let left = area.bottom() - y;
            if left == 0 {
                break;
            }
            let item = Rect { y, height: left.min(*height as u16), ..area };
            if index < model.rows.len() {
                self.places.push((item.y, item.bottom(), index));
            }
            match model.rows.get(index) {
                Some(row) => self.item(frame, item, model, row, &columns, model.selected_row() == Some(index)),
                None => {
                    let words = format!("  {}", model.others[index - model.rows.len()]);
                    frame.render_widget(Line::styled(cut(&words, area.width.into()), self.palette.dim), item);
                }
            }
            y += item.height;
            shown += 1;
        }
        (self.first, heights.len() - self.first - shown)
    }

    fn item(&self, frame: &mut Frame<'_>, area: Rect, model: &Model, row: &Row, columns: &Columns, selected: bool) {
        let line = columns.line(|column, columns| column.text(row, columns));
        let style = match text::state(&row.stream) {
            _ if selected => self.palette.strong,
            _ if matches!(model.connection, Connection::Gone(_)) => self.palette.dim,
            "lost" => self.palette.bad,
            "closed" | "denied" | "muted" => self.palette.dim,
            _ => Style::new(),
        };
        let mark = if selected { "▶ " } else { "  " };
        let mut lines = vec![Line::styled(format!("{mark}{line}"), style)];
        if let Some((begin, _)) = columns.meter() {
            let second = cut(&without_column(row, columns).join(SEPARATOR), begin.saturating_sub(INDENT + 1));
            lines.push(Line::styled(format!("{:INDENT$}{second}", ""), self.palette.dim));
        }
        frame.render_widget(Text::from(lines), area);
        if let Some((begin, width)) = columns.meter() {
            let area = Rect { x: area.x + begin as u16, width: width as u16, ..area };
            meters::draw(frame.buffer_mut(), area, model.meters(row.id), &self.palette);
        }
    }
}

/// Fields without a column of their own, for the second line of an open stream; a screen without meters has no room for
/// it.
fn without_column(row: &Row, columns: &Columns) -> Vec<String> {
    if !is_open(&row.stream) || columns.meter().is_none() {
        return Vec::new();
    }
    let all = [Column::Format, Column::Volume, Column::Device];
    let missing = all.into_iter().filter(|column| !columns.has(*column));
    missing.map(|column| column.text(row, usize::MAX)).collect()
}

/// Lines of a stream's item.
fn height(row: &Row, model: &Model, columns: &Columns) -> usize {
    let second = usize::from(!without_column(row, columns).is_empty());
    let channels = model.meters(row.id).len();
    columns.meter().map_or(0, |(_, width)| meters::lines(channels, width)).max(1 + second)
}

/// The first item to be shown so that the selected one is seen as a whole, and as little as possible moves.
fn scrolled(heights: &[usize], first: usize, selected: usize, room: usize) -> usize {
    // No room is left empty at the end while there is an item above.
    let mut last_first = heights.len().saturating_sub(1);
    let mut height = heights.last().copied().unwrap_or_default();
    while last_first > 0 && height + heights[last_first - 1] <= room {
        last_first -= 1;
        height += heights[last_first];
    }
    let mut first = first.min(selected).min(last_first);
    while first < selected && heights[first..=selected].iter().sum::<usize>() > room {
        first += 1;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::scrolled;

    #[test]
    fn the_selected_stream_is_on_the_screen() {
        let heights = [2, 1, 3, 1, 1, 2];
        assert_eq!(scrolled(&heights, 0, 2, 6), 0);
        assert_eq!(scrolled(&heights, 0, 3, 6), 1);
        assert_eq!(scrolled(&heights, 3, 1, 6), 1);
        assert_eq!(scrolled(&heights, 5, 5, 7), 2, "the screen is filled");
        assert_eq!(scrolled(&heights, 0, 2, 2), 2, "an item that is higher than the screen begins at its top");
        assert_eq!(scrolled(&[], 3, 0, 5), 0);
    }
}
