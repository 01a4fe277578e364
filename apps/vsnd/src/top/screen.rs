//! The terminal: all events come in one queue, and after each the screen is drawn again.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ::control::Client;
use program::{ExitStatus, Failure};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event};
use ratatui::crossterm::execute;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::ascii;
use super::connection::{self, Report};
use super::keys::{self, Action};
use super::model::Model;
use super::view::{Palette, View};

/// An event for the screen.
enum Happening {
    Reported(Report),
    Terminal(io::Result<Event>),
    Signal,
}

/// Restores the terminal, however this ends; on a panic ratatui's own hook does that, before the message.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), DisableMouseCapture);
        // A second restoring would put the cursor over the panic's message.
        if !thread::panicking() {
            // The terminal may have gone away.
            let _ = ratatui::try_restore();
        }
    }
}

/// Shows the daemon at `path`, to which `client` is a connection, until the user ends it.
pub(super) fn run(path: PathBuf, client: Client, interval: Duration) -> Result<ExitStatus, Failure> {
    let unusable = |error: io::Error| Failure::new(ExitStatus::Failure, format!("cannot use the terminal: {error}"));
    let (happened, happenings) = mpsc::channel();
    let (requests, asked) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]).map_err(unusable)?;
    let _restored = Restored;
    let mut terminal = ratatui::try_init().map_err(unusable)?;
    execute!(io::stdout(), EnableMouseCapture).map_err(unusable)?;

    spawn(&happened, move |tell| {
        signals.forever().for_each(|_| {
            tell(Happening::Signal);
        });
    })?;
    spawn(&happened, |tell| while tell(Happening::Terminal(event::read())) {})?;
    spawn(&happened, move |tell| {
        connection::run(&path, client, interval, &asked, |report| tell(Happening::Reported(report)));
    })?;

    let start = Instant::now();
    let mut model = Model::new();
    let is_ascii = !ascii::has_utf8(|name| std::env::var(name).ok());
    let mut view = View::new(Palette::from_environment()).in_ascii(is_ascii);
    draw(&mut terminal, &mut view, &model).map_err(unusable)?;
    for happening in happenings {
        match happening {
            Happening::Reported(report) => model.take(report, start.elapsed()),
            Happening::Terminal(Ok(Event::Key(key))) => match keys::press(&mut model, key) {
                Action::Nothing => {}
                Action::Ask(request) => requests.send(request).map_err(Failure::with(ExitStatus::Failure))?,
                Action::Quit => break,
            },
            Happening::Terminal(Ok(Event::Mouse(mouse))) => {
                keys::point(&mut model, mouse.kind, view.row_at(mouse.row));
            }
            Happening::Terminal(Ok(_)) => {}
            Happening::Terminal(Err(error)) => return Err(unusable(error)),
            Happening::Signal => break,
        }
        draw(&mut terminal, &mut view, &model).map_err(unusable)?;
    }
    Ok(ExitStatus::Success)
}

/// Runs `work` in a thread; what it tells is queued, until nobody listens.
fn spawn(
    happened: &Sender<Happening>,
    work: impl FnOnce(&dyn Fn(Happening) -> bool) + Send + 'static,
) -> Result<(), Failure> {
    let happened = happened.clone();
    let run = move || work(&|happening| happened.send(happening).is_ok());
    thread::Builder::new().spawn(run).map(drop).map_err(Failure::with(ExitStatus::Failure))
}

fn draw(terminal: &mut DefaultTerminal, view: &mut View, model: &Model) -> io::Result<()> {
    terminal.draw(|frame| view.draw(frame, model)).map(drop)
}
