//! `vsnd top`: the daemon's streams on a live screen.
//!
//! [`model`] selects from the daemon's status what is worth showing, [`keys`] turns keys into requests, [`view`] draws:
//! all three without a terminal, a socket or a clock. [`connection`] talks to the daemon in a thread of its own, so that a
//! daemon that hangs does not make the screen hang; [`screen`] has the terminal.

mod arrange;
mod ascii;
mod columns;
mod connection;
mod fit;
mod keys;
mod meter;
mod model;
mod rates;
mod row;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use ::control::Client;
use clap::Args;
use program::{ExitStatus, Failure};

use crate::daemon::{self, Daemon};
use crate::output::Output;

/// Interval at which the screen is updated.
const SCREEN_INTERVAL: Duration = Duration::from_millis(250);

/// Interval between lines of JSON.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(
    after_help = "Keys: Up and Down (or k and j) select a stream, m mutes it, + and - change its volume by 1 dB, a \
    allows or denies capture, D twice disconnects the card, s changes the order, / filters, i hides idle streams, ? shows all keys, q ends; the mouse selects, too. \
        Colours are left out where NO_COLOR is set; where the locale has no UTF-8, the screen is ASCII."
)]
pub(crate) struct Arguments {
    /// Seconds between two looks, 0.1 to 60 [default: 0.25, with --json 1].
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    interval: Option<Duration>,
    /// Prints the status with levels as a line of JSON for each look instead, until interrupted.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: Daemon,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, 0.1 to 60".to_owned()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    if !arguments.json && !std::io::stdout().is_terminal() {
        let message = "standard output is no terminal to draw on: use `vsnd list`, or for programs `vsnd list --json` and \
            `vsnd top --json`";
        return Err(Failure::new(ExitStatus::Usage, message));
    }
    let client = arguments.daemon.connect()?;
    if arguments.json {
        stream(client, arguments.interval.unwrap_or(JSON_INTERVAL))
    } else {
        screen::run(arguments.daemon.socket(), client, arguments.interval.unwrap_or(SCREEN_INTERVAL))
    }
}

/// Prints a line of JSON at each interval, counted from the first one.
fn stream(mut client: Client, interval: Duration) -> Result<ExitStatus, Failure> {
    let mut out = Output::new();
    let mut next = Instant::now();
    loop {
        out.json(&daemon::status(&mut client, true)?)?;
        next = (next + interval).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
