//! Draws the model.

mod list;
mod meters;
mod palette;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::ascii;
use super::fit::{cut, wrap};
use super::keys;
use super::model::{Connection, Message, Model};
use super::row::{Row, is_open};
use crate::text;

pub(super) use palette::Palette;

/// Lines about the selected stream, on a screen that is high enough.
const DETAIL_LINES: u16 = 3;

/// State that is kept from one drawing to the next.
#[derive(Debug)]
pub(super) struct View {
    palette: Palette,
    /// The first item of the list that is on the screen.
    first: usize,
    /// First line, line behind the last, and number of each row that is on the screen.
    places: Vec<(u16, u16, usize)>,
    is_ascii: bool,
}

impl View {
    pub(super) fn new(palette: Palette) -> Self {
        Self { palette, first: 0, places: Vec::new(), is_ascii: false }
    }

    /// The same view in ASCII, if the terminal shows nothing else.
    pub(super) fn in_ascii(self, is_ascii: bool) -> Self {
        Self { is_ascii, ..self }
    }

    /// The row whose item covers a line of the screen.
    pub(super) fn row_at(&self, y: u16) -> Option<usize> {
        self.places.iter().find(|(begin, end, _)| (*begin..*end).contains(&y)).map(|(_, _, row)| *row)
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, model: &Model) {
        let height = frame.area().height;
        let lines = |from, lines| Constraint::Length(if height >= from { lines } else { 0 });
        let [header, titles, list, rule, detail, message, hints] = Layout::vertical([
            Constraint::Length(1),
            lines(6, 1),
            Constraint::Min(0),
            lines(9, 1),
            lines(16, DETAIL_LINES),
            lines(3, 1),
            lines(7, 1),
        ])
        .areas(frame.area());

        self.header(frame, header, model);
        let hidden = self.list(frame, titles, list, model);
        self.rule(frame, rule, hidden, model);
        self.detail(frame, detail, model);
        self.message(frame, message, model);
        let hints_text = "↑↓ select  m mute  a capture  +/- volume  s order  / filter  ? help  q quit";
        frame.render_widget(Line::styled(format!(" {hints_text}"), self.palette.dim), hints);
        if model.help {
            self.help(frame);
        }
        if self.is_ascii {
            ascii::transliterate(frame.buffer_mut());
        }
    }

    fn header(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let columns = usize::from(area.width).saturating_sub(2);
        let status = &model.status;
        let (text, style) = match &model.connection {
            Connection::Waiting => ("asking the daemon".to_owned(), self.palette.dim),
            Connection::Gone(reason) => (cut(&format!("TRYING AGAIN: {reason}"), columns), self.palette.bad),
            Connection::Up => {
                let running = status.streams().filter(|(_, stream)| text::runs(stream)).count();
                let cpu = model.rates.cpu_percent().map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.1}"));
                let fields = vec![
                    format!("vsndd {}", text::plain(&status.version)),
                    format!("up {}", text::uptime(status.uptime_ms)),
                    format!("CPU {cpu} %"),
                    text::count(status.guests.len() as u64, "guest"),
                    format!("{running}/{} streams", status.streams().count()),
                    text::count(model.xruns(), "xrun"),
                ];
                (wrap(&fields, columns, 1).concat(), self.palette.strong)
            }
        };
        frame.render_widget(Line::styled(format!(" {text} "), style), area);
    }

    /// A line between the list and the part below, with the numbers of streams that are out of sight.
    fn rule(&self, frame: &mut Frame<'_>, area: Rect, hidden: (usize, usize), model: &Model) {
        frame.render_widget(Block::new().borders(ratatui::widgets::Borders::TOP).style(self.palette.dim), area);
        if let Some(words) = model.arrangement.words() {
            let words = cut(&words, usize::from(area.width).saturating_sub(30));
            frame.render_widget(Line::styled(format!(" {words} "), self.palette.strong), area);
        }
        let words = match hidden {
            (0, 0) => return,
            (above, 0) => format!(" {above} more above "),
            (0, below) => format!(" {below} more below "),
            (above, below) => format!(" {above} more above, {below} below "),
        };
        frame.render_widget(Line::from(words).alignment(Alignment::Right), area);
    }

    fn detail(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let Some(row) = model.selected() else { return };
        let columns = usize::from(area.width).saturating_sub(2);
        let lines = wrap(&details(row), columns, area.height.into());
        let lines: Vec<Line<'_>> = lines.into_iter().map(|line| Line::from(format!(" {line}"))).collect();
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn message(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let (text, style) = match &model.message {
            Message::Nothing => return,
            Message::Done(text) => (text.clone(), self.palette.good),
            Message::Failed(text) => (text.clone(), self.palette.bad),
            Message::Sure(target) => {
                let target = text::plain(&target.to_string());
                (
                    format!("D again disconnects card {target}, and what plays there stops at least for a moment"),
                    self.palette.bad,
                )
            }
        };
        let text = cut(&text, usize::from(area.width).saturating_sub(2));
        frame.render_widget(Line::from(vec![Span::raw(" "), Span::styled(text, style)]), area);
    }

    fn help(&self, frame: &mut Frame<'_>) {
        let lines: Vec<Line<'_>> = keys::HELP
            .iter()
            .map(|(keys, what)| {
                Line::from(vec![Span::styled(format!(" {keys:<13}"), self.palette.strong), Span::raw(*what)])
            })
            .collect();
        let width = lines.iter().map(Line::width).max().unwrap_or_default() as u16 + 3;
        let area = frame.area().centered(Constraint::Length(width), Constraint::Length(lines.len() as u16 + 2));
        frame.render_widget(Clear, area);
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Keys ")), area);
    }
}

/// Details of a stream beyond its line, the most important first.
fn details(row: &Row) -> Vec<String> {
    let stream = &row.stream;
    let mut fields = vec![format!("{} {}", text::plain(&row.target.to_string()), text::direction(stream))];
    if !row.card_name.is_empty() || !stream.pcm_name.is_empty() {
        let names = [&row.card_name, &stream.pcm_name].map(|name| text::plain(name));
        fields.push(names.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>().join(": "));
    }
    if !stream.label.is_empty() {
        fields.push(format!("“{}”", text::plain(&stream.label)));
    }
    let lost = if stream.device_lost { " (went away)" } else { "" };
    fields.push(format!("{}{lost}", text::plain(&stream.device)));
    if !stream.permitted {
        fields.push("denied".to_owned());
    }
    fields.push(format!("volume {}", text::volume(stream)));
    fields.extend(text::guest_volume(stream).map(|guest| format!("guest's {guest}")));
    fields.extend(text::server_volume(stream).map(|server| format!("server's {server}")));
    fields.extend(stream.volume_max_db.map(|max| format!("at most {}", text::decibels(max))));
    if is_open(stream) {
        fields.extend(text::format(stream));
        fields.push(format!("period {}, buffer {} frames", stream.period_frames, stream.buffer_frames));
    }
    fields.extend([
        text::count(stream.frames, "frame"),
        format!("{}, {} refused", text::count(stream.requests, "request"), stream.refused),
        format!("notifications {} in, {} out", stream.notifications_in, stream.notifications_out),
        format!("card {}, connected {}", text::plain(&row.protocol), text::count(row.connections, "time")),
    ]);
    if row.violations > 0 {
        fields.insert(1, text::count(row.violations, "protocol violation"));
    }
    fields
}
