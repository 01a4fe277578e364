//! The connection to the daemon: asks for its status at each interval, passes requests on, connects again after a loss.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ::control::{Client, ClientError, Reply, Request, Status};

use crate::control::commands;

/// Report of the connection.
#[derive(Debug)]
pub(super) enum Report {
    /// Status of the daemon.
    Status(Box<Status>),
    /// Outcome of a request: the daemon's words, or the reason of a failure.
    Answer(Result<String, String>),
    /// The daemon does not answer, for this reason.
    Gone(String),
}

/// Works until nobody sends `requests` or takes reports any more. Every request gets its answer, and after it a fresh
/// status.
pub(super) fn run(
    path: &Path,
    client: Client,
    interval: Duration,
    requests: &Receiver<Request>,
    mut tell: impl FnMut(Report) -> bool,
) {
    let mut client = Some(client);
    let mut next = Instant::now();
    loop {
        let report = match requests.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(request) => {
                next = Instant::now();
                Report::Answer(change(&mut client, &request))
            }
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + interval;
                look(path, &mut client)
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if !tell(report) {
            return;
        }
    }
}

fn look(path: &Path, client: &mut Option<Client>) -> Report {
    let mut asked = || {
        let client = match client {
            Some(client) => client,
            None => client.insert(Client::connect(path)?),
        };
        client.ask(&Request::List { levels: true })
    };
    let reason = match asked() {
        Ok(Reply::Status(status)) => return Report::Status(Box::new(status)),
        Ok(_) => "it answered something else".to_owned(),
        Err(error) => error.to_string(),
    };
    *client = None;
    Report::Gone(reason)
}

fn change(client: &mut Option<Client>, request: &Request) -> Result<String, String> {
    let connected = client.as_mut().ok_or("nothing was changed: the daemon does not answer")?;
    match connected.ask(request) {
        Ok(Reply::Done { message, streams }) => Ok(commands::done(request, &message, streams)),
        Ok(_) => Err("the daemon answered something else".to_owned()),
        Err(error @ (ClientError::Refused(_) | ClientError::NoSuchStream(_))) => Err(error.to_string()),
        Err(error) => {
            *client = None;
            Err(error.to_string())
        }
    }
}
