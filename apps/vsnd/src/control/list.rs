//! `vsnd list`: guests, cards and streams as a table.

use std::fmt::Write;

use ::control::Status;
use clap::Args;
use program::{ExitStatus, Failure};

use crate::daemon::{self, Daemon};
use crate::output::Output;
use crate::text;

#[derive(Debug, Args)]
#[command(
    after_help = "STATE: closed, open, running or paused; `muted` where it runs and the host silences it; `denied` where the \
    host does not let the guest use the stream; `lost` where the host's device went away. VOLUME is the host's, to which the \
    guest's own is added; `≤` stands before what the ceiling (volume-max-db) leaves of both. A STREAM behind the \
    guest's name makes a TARGET: `studio/0/0/1`."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// Prints the whole status as one JSON object instead: {version, pid, uptime_ms, cpu_ms, config, guests} as
    /// docs/control.md describes it.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let status = daemon::status(&mut arguments.daemon.connect()?, false)?;
    let mut out = Output::new();
    if arguments.json {
        out.json(&status)?;
    } else {
        out.line(table(&status).trim_end())?;
    }
    Ok(ExitStatus::Success)
}

/// Columns; those whose title ends with a space are aligned to the left.
const TITLES: [&str; 10] =
    ["STREAM ", "DIRECT. ", "STATE ", "FORMAT ", "RATE", "CH", "LATENCY", "XRUNS", "VOLUME", " SINK/SOURCE "];

/// A line under a guest: a stream's cells, or something in words about the guest or a card.
enum Row {
    Stream(Box<[String; TITLES.len()]>),
    Words(String),
}

fn table(status: &Status) -> String {
    let guests: Vec<(String, Vec<Row>)> = status
        .guests
        .iter()
        .map(|guest| {
            let state = text::worker_state(guest).map(|words| Row::Words(words.to_owned()));
            (heading(guest), state.into_iter().chain(guest.cards.iter().flat_map(rows)).collect())
        })
        .collect();
    let mut widths = TITLES.map(|title| title.trim_end().len());
    for row in guests.iter().flat_map(|(_, rows)| rows) {
        if let Row::Stream(cells) = row {
            for (width, cell) in widths.iter_mut().zip(cells.iter()) {
                *width = (*width).max(cell.chars().count());
            }
        }
    }
    let line = |cells: &[String; TITLES.len()]| {
        let mut line = String::from(" ");
        for ((cell, title), width) in cells.iter().zip(TITLES).zip(widths) {
            let padding = " ".repeat(width - cell.chars().count());
            let (before, after) = if title.ends_with(' ') { ("", &padding[..]) } else { (&padding[..], "") };
            let _ = write!(line, " {before}{cell}{after}");
        }
        line.trim_end().to_owned() + "\n"
    };

    let mut text = summary(status);
    if guests.is_empty() {
        text += "\nno guest has a sound card: `xl create` a guest with a `vsnd` line, or `vsnd emu attach` one\n";
    }
    for (heading, rows) in &guests {
        let _ = write!(text, "\n{heading}\n");
        if rows.iter().any(|row| matches!(row, Row::Stream(_))) {
            text += &line(&TITLES.map(|title| title.trim_end().to_owned()));
        }
        for row in rows {
            match row {
                Row::Stream(cells) => text += &line(cells),
                Row::Words(words) => {
                    let _ = writeln!(text, "  {words}");
                }
            }
        }
    }
    text
}

fn summary(status: &Status) -> String {
    let running = status.streams().filter(|(_, stream)| text::runs(stream)).count();
    let config = status.config.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    format!(
        "vsndd {}, process {}, up {}, configuration {}\n{}, {}, {running} running\n",
        text::plain(&status.version),
        status.pid,
        text::uptime(status.uptime_ms),
        text::plain(&config),
        text::count(status.guests.len() as u64, "guest"),
        text::count(status.streams().count() as u64, "stream"),
    )
}

fn heading(guest: &::control::Guest) -> String {
    let id = format!("domain {}", guest.domain);
    let parts = guest.name.as_deref().into_iter().chain([id.as_str()]).chain(guest.uuid.as_deref());
    parts.map(text::plain).collect::<Vec<_>>().join(", ")
}

fn rows(card: &::control::Card) -> Vec<Row> {
    let or_nothing = |cell: Option<String>| cell.unwrap_or_else(|| text::NOTHING.to_owned());
    let mut rows = Vec::new();
    if card.streams.is_empty() {
        rows.push(Row::Words(format!("{}: {}, no stream is connected", text::card_name(card), text::card_state(card))));
    } else if let Some(names) = text::names(card) {
        rows.push(Row::Words(names));
    }
    for stream in &card.streams {
        let open = stream.format.is_some();
        let on_server = text::server_volume(stream).map(|server| format!(" (there {server})"));
        rows.push(Row::Stream(Box::new([
            format!("{}/{}/{}", card.card, stream.pcm, stream.stream),
            text::direction(stream).to_owned(),
            text::state(stream).to_owned(),
            or_nothing(stream.format.as_deref().map(text::plain)),
            or_nothing(open.then(|| stream.rate_hz.to_string())),
            or_nothing(open.then(|| stream.channels.to_string())),
            or_nothing(stream.latency_us.map(text::latency)),
            stream.xruns.to_string(),
            text::volume(stream),
            format!(" {}{}", text::plain(&stream.device), on_server.unwrap_or_default()),
        ])));
    }
    if card.violations > 0 {
        let violations = text::count(card.violations, "time");
        rows.push(Row::Words(format!("card {}: the guest broke the protocol {violations}", card.card)));
    }
    rows
}
