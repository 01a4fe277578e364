//! Level meters: a bar for each channel, the highest peak of the last moments as a mark and as a number, and a mark for
//! clipping.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::Palette;
use crate::top::meter::{FLOOR_DB, Meter, fraction};

/// Maximum number of channels above each other; more stand side by side.
const LINES_MAX: usize = 8;

/// Columns of the number behind a bar, with the space before it.
const FIGURE: usize = 6;

/// The narrowest bar, and the narrowest meter with a number.
const BAR_MIN: usize = 2;
const WITH_FIGURE: usize = 14;

/// Levels from which on a meter warns.
const NEAR_DB: f32 = -12.0;
const FULL_DB: f32 = -3.0;

/// Parts of a cell, from nothing to nearly all of it.
const EIGHTHS: [&str; 8] = [" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Number of meters of a stream that stand side by side in `columns`.
fn side_by_side(channels: usize, columns: usize) -> usize {
    channels.div_ceil(LINES_MAX).min(columns / (BAR_MIN + 1)).max(1)
}

/// Lines that the meters of a stream take.
pub(super) fn lines(channels: usize, columns: usize) -> usize {
    channels.div_ceil(side_by_side(channels, columns))
}

/// Columns of the bar alone.
fn bar_width(columns: usize) -> usize {
    if columns >= WITH_FIGURE { columns - FIGURE } else { columns }
}

/// Cell of a bar in which a level lies.
fn cell(level_db: f32, bar: usize) -> usize {
    (fraction(level_db) * bar.saturating_sub(1) as f32).round() as usize
}

/// The scale over the meters.
pub(super) fn scale(columns: usize) -> String {
    let bar = bar_width(columns);
    let step_db = match bar {
        48.. => 10,
        24.. => 20,
        _ => 30,
    };
    let mut scale = vec![' '; bar];
    let floor = FLOOR_DB as i32;
    for db in (floor..=0).step_by(step_db) {
        let figure = db.to_string();
        // The last digit stands over its place; the first number begins there.
        let end = if db == floor { figure.len() } else { cell(db as f32, bar) + 1 };
        if let Some(place) = end.checked_sub(figure.len()).and_then(|begin| scale.get_mut(begin..end)) {
            place.iter_mut().zip(figure.chars()).for_each(|(place, digit)| *place = digit);
        }
    }
    let scale: String = scale.into_iter().collect();
    if columns >= WITH_FIGURE { scale + "  dBFS" } else { scale }
}

/// Draws a stream's meters into `area`, as far as they fit.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, meters: &[Meter], palette: &Palette) {
    let columns = usize::from(area.width);
    let beside = side_by_side(meters.len(), columns);
    // One column lies between them.
    let each = if beside == 1 { columns } else { columns / beside - 1 };
    for (index, meter) in meters.iter().enumerate() {
        let (line, place) = ((index / beside) as u16, (index % beside) as u16);
        if line >= area.height {
            break;
        }
        let x = area.x + place * (each as u16 + 1);
        draw_one(buffer, Rect { x, y: area.y + line, width: each as u16, height: 1 }, meter, palette);
    }
}

fn draw_one(buffer: &mut Buffer, area: Rect, meter: &Meter, palette: &Palette) {
    let columns = usize::from(area.width);
    let bar = bar_width(columns);
    let style = |index: usize| match index {
        index if index >= cell(FULL_DB, bar) => palette.meter[2],
        index if index >= cell(NEAR_DB, bar) => palette.meter[1],
        _ => palette.meter[0],
    };
    let mut put = |index: usize, symbol: &str, style: Style| {
        buffer.set_string(area.x + index as u16, area.y, symbol, style);
    };
    let filled_eighths = meter.level_db.map_or(0, |level| (fraction(level) * (bar * 8) as f32).round() as usize);
    for index in 0..bar {
        match filled_eighths.saturating_sub(index * 8) {
            0 => put(index, "·", palette.dim),
            part @ 1..8 => put(index, EIGHTHS[part], style(index)),
            _ => put(index, "█", style(index)),
        }
    }
    let held = meter.held_db().filter(|held| *held > FLOOR_DB).map(|held| cell(held, bar));
    if let Some(held) = held.filter(|held| held * 8 >= filled_eighths) {
        put(held, "│", style(held).add_modifier(Modifier::BOLD));
    }
    if meter.is_clipped() {
        let clip = palette.meter[2].add_modifier(Modifier::BOLD | Modifier::REVERSED);
        if columns >= WITH_FIGURE {
            put(bar, " ", Style::new())
        }
        if columns >= WITH_FIGURE { put(bar + 1, " CLIP", clip) } else { put(bar.saturating_sub(1), "!", clip) }
    } else if columns >= WITH_FIGURE {
        let figure = meter.held_db().map_or_else(|| "-∞".to_owned(), |held| format!("{:.1}", held.max(-99.9)));
        put(bar, &format!(" {figure:>5}"), Style::new());
    }
}
