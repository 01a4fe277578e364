//! Effects of keys and of the mouse.

use ::control::{Part, Request, Target};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEventKind};

use super::arrange::Arrangement;
use super::model::{Connection, Message, Model};
use super::row::{Row, plays};
use crate::control::change::VOLUME_DB;
use crate::text;

/// Keys and their effects, for the help.
pub(super) const HELP: [(&str, &str); 13] = [
    ("↑ ↓ k j", "select a stream"),
    ("PgUp PgDn", "ten streams up or down"),
    ("Home End g G", "the first or last stream"),
    ("m", "mute the stream, or let it be heard again"),
    ("+ -", "volume up or down by 1 dB"),
    ("a", "allow or deny capture on the stream"),
    ("D", "disconnect the stream's card, when pressed twice"),
    ("s", "order: guest, state, latency, xruns, notifications"),
    ("t", "keep each guest's streams together"),
    ("i", "hide streams that no guest uses"),
    ("/", "only lines with a text; Enter ends it, Esc removes it"),
    ("? Esc", "close this help"),
    ("q Esc Ctrl-C", "end"),
];

/// Streams on a page.
const PAGE: usize = 10;

/// Action to be taken after a key.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// A request to be sent; the model knows of it.
    Ask(Request),
    Quit,
}

/// Handles a key.
pub(super) fn press(model: &mut Model, key: KeyEvent) -> Action {
    if key.kind == KeyEventKind::Release {
        return Action::Nothing;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Action::Quit } else { Action::Nothing };
    }
    if model.arrangement.typing {
        type_filter(model, key.code);
        return Action::Nothing;
    }
    // Any key but a second `D` means no.
    let sure = if let Message::Sure(card) = &model.message { Some(card.clone()) } else { None };
    if sure.is_some() {
        model.message = Message::Nothing;
    }
    match key.code {
        KeyCode::Char('D') => return disconnect(model, sure.as_ref()),
        KeyCode::Char('q') => return Action::Quit,
        KeyCode::Esc if !model.help && !model.arrangement.filter.is_empty() => rearrange(model, |a| a.filter.clear()),
        KeyCode::Esc if !model.help => return Action::Quit,
        KeyCode::Char('?') | KeyCode::Esc => model.help = !model.help,
        _ if model.help => model.help = false,
        KeyCode::Up | KeyCode::Char('k') => go(model, |model| model.select_above(1)),
        KeyCode::Down | KeyCode::Char('j') => go(model, |model| model.select_below(1)),
        KeyCode::PageUp => go(model, |model| model.select_above(PAGE)),
        KeyCode::PageDown => go(model, |model| model.select_below(PAGE)),
        KeyCode::Home | KeyCode::Char('g') => go(model, |model| model.select(0)),
        KeyCode::End | KeyCode::Char('G') => go(model, |model| model.select(usize::MAX)),
        KeyCode::Char('s') => rearrange(model, |arrangement| arrangement.order = arrangement.order.next()),
        KeyCode::Char('t') => rearrange(model, |arrangement| arrangement.grouped = !arrangement.grouped),
        KeyCode::Char('i') => rearrange(model, |arrangement| arrangement.hides_idle = !arrangement.hides_idle),
        KeyCode::Char('/') => rearrange(model, |arrangement| arrangement.typing = true),
        KeyCode::Char('m') => return ask(model, mute),
        KeyCode::Char('a') => return ask(model, capture),
        KeyCode::Char('+' | '=') => return ask(model, |row| volume(row, 1.0)),
        KeyCode::Char('-' | '_') => return ask(model, |row| volume(row, -1.0)),
        _ => {}
    }
    Action::Nothing
}

/// Lists other streams, or in another order.
fn rearrange(model: &mut Model, change: impl FnOnce(&mut Arrangement)) {
    model.message = Message::Nothing;
    change(&mut model.arrangement);
    model.arrange();
}

/// Longest filter, in characters.
const FILTER_MAX: usize = 40;

fn type_filter(model: &mut Model, key: KeyCode) {
    rearrange(model, |arrangement| match key {
        KeyCode::Enter => arrangement.typing = false,
        KeyCode::Esc => {
            arrangement.typing = false;
            arrangement.filter.clear();
        }
        KeyCode::Backspace => drop(arrangement.filter.pop()),
        KeyCode::Char(letter) if arrangement.filter.chars().count() < FILTER_MAX => arrangement.filter.push(letter),
        _ => {}
    });
}

/// Handles a mouse event; `row` is the stream under the mouse.
pub(super) fn point(model: &mut Model, mouse: MouseEventKind, row: Option<usize>) {
    match (mouse, row) {
        (MouseEventKind::ScrollUp, _) => go(model, |model| model.select_above(1)),
        (MouseEventKind::ScrollDown, _) => go(model, |model| model.select_below(1)),
        (MouseEventKind::Down(_), Some(row)) => go(model, |model| model.select(row)),
        _ => {}
    }
}

fn go(model: &mut Model, select: impl FnOnce(&mut Model)) {
    model.message = Message::Nothing;
    select(model);
}

/// Asks for `request` about the selected stream, or shows the reason why there is nothing to be asked.
fn ask(model: &mut Model, request: impl FnOnce(&Row) -> Result<Request, String>) -> Action {
    let request = match (&model.connection, model.selected()) {
        (Connection::Gone(_) | Connection::Waiting, _) => {
            Err("nothing was changed: the daemon does not answer".to_owned())
        }
        (Connection::Up, None) if model.rows.is_empty() => Err("there is no stream".to_owned()),
        (Connection::Up, None) => Err("nothing was changed: no stream is selected; Up or Down selects one".to_owned()),
        (Connection::Up, Some(row)) => request(row),
    };
    match request {
        Ok(request) => {
            model.sent(&request);
            Action::Ask(request)
        }
        Err(why) => {
            model.message = Message::Failed(why);
            Action::Nothing
        }
    }
}

/// Disconnects the card if the key was pressed before; else asks for the key again, since a guest's players may end.
fn disconnect(model: &mut Model, sure: Option<&Target>) -> Action {
    let card = model.selected().map(|row| {
        let part = Part { pcm: None, stream: None, ..row.target.part };
        Target { part, ..row.target.clone() }
    });
    match (&model.connection, card) {
        (Connection::Up, Some(card)) if sure != Some(&card) => {
            model.message = Message::Sure(card);
            Action::Nothing
        }
        (_, card) => ask(model, |row| Ok(Request::Disconnect { target: card.unwrap_or_else(|| row.target.clone()) })),
    }
}

fn mute(row: &Row) -> Result<Request, String> {
    Ok(Request::Mute { target: row.target.clone(), on: !row.stream.muted })
}

fn capture(row: &Row) -> Result<Request, String> {
    if plays(&row.stream) {
        let target = text::plain(&row.target.to_string());
        return Err(format!("{target} is for playback: only capture is allowed or denied"));
    }
    Ok(Request::Capture { target: row.target.clone(), allow: !row.stream.permitted, for_s: None })
}

fn volume(row: &Row, step_db: f64) -> Result<Request, String> {
    let before = row.stream.volume_db;
    let volume_db = (before + step_db).clamp(*VOLUME_DB.start(), *VOLUME_DB.end());
    if volume_db == before {
        let end = if step_db > 0.0 { "loudest" } else { "quietest" };
        return Err(format!("{} is the {end} that there is", text::decibels(before)));
    }
    Ok(Request::Volume { target: row.target.clone(), volume_db })
}
