//! Figures for Prometheus over HTTP: `GET /metrics`, an answer, the end.

use std::io;

use crate::poller::Poller;

use super::connection::Connection;
use super::listener::Listener;

/// Connections at once.
const SCRAPERS_MAX: usize = 8;

/// Longest request.
const REQUEST_BYTES_MAX: usize = 8192;

/// The socket for figures.
#[derive(Debug)]
pub(crate) struct Metrics {
    listener: Listener,
    scrapers: [Option<Connection>; SCRAPERS_MAX],
    /// Token of the listener; those of the scrapers follow.
    token: u64,
}

impl Metrics {
    /// Tokens that it takes up.
    pub(crate) const TOKENS: u64 = SCRAPERS_MAX as u64 + 1;

    /// Serves `listener`; `token` and the [`TOKENS`](Self::TOKENS) from there on are its own.
    pub(crate) fn new(listener: Listener, token: u64, poller: &Poller) -> io::Result<Self> {
        // As the control socket.
        poller.add_edge(&listener, token)?;
        Ok(Self { listener, scrapers: [const { None }; SCRAPERS_MAX], token })
    }

    /// After `token` became ready; true if it is one of ours. `figures` is asked for when somebody wants them.
    pub(crate) fn woke(&mut self, token: u64, poller: &Poller, figures: impl Fn() -> String) -> bool {
        let Some(index) = token.checked_sub(self.token).filter(|&index| index < Self::TOKENS) else { return false };
        if index == 0 {
            self.accept(poller);
            return true;
        }
        let slot = usize::try_from(index - 1).ok().and_then(|index| self.scrapers.get_mut(index));
        if let Some(Some(scraper)) = slot {
            scraper.flush();
            scraper.receive(REQUEST_BYTES_MAX);
            if let Some(request) = scraper.take_until(b"\r\n\r\n") {
                scraper.send(answer(&request, figures).as_bytes());
                scraper.finish();
            } else if scraper.is_flooded(REQUEST_BYTES_MAX) {
                scraper.send(response("431 Request Header Fields Too Large", "").as_bytes());
                scraper.finish();
            }
            if scraper.is_over()
                && let Some(slot) = usize::try_from(index - 1).ok().and_then(|index| self.scrapers.get_mut(index))
            {
                *slot = None;
            }
        }
        true
    }

    fn accept(&mut self, poller: &Poller) {
        while let Ok(Some(socket)) = self.listener.accept() {
            let Some(index) = self.scrapers.iter().position(Option::is_none) else { continue };
            if poller.add_both_edges(&socket, self.token + 1 + index as u64).is_ok() {
                self.scrapers[index] = Some(Connection::new(socket));
            }
        }
    }
}

fn answer(request: &[u8], figures: impl Fn() -> String) -> String {
    let line = request.split(|&octet| octet == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&octet| octet == b' ');
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => response("200 OK", &figures()),
        (Some(b"GET"), Some(_)) => response("404 Not Found", "figures are at /metrics\n"),
        (Some(_), Some(_)) => response("405 Method Not Allowed", "only GET is known\n"),
        _ => response("400 Bad Request", "this is no HTTP\n"),
    }
}

fn response(status: &str, body: &str) -> String {
    // The media type is that of OpenMetrics 1.0, which is what the figures are written in.
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_figures_are_given() {
        let ask = |request: &str| answer(request.as_bytes(), || "vsndd_x 1\n".to_owned());
        assert!(
            ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                .ends_with("Content-Length: 10\r\nConnection: close\r\n\r\nvsndd_x 1\n")
        );
        assert!(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask("\r\n\r\n").starts_with("HTTP/1.1 400 "));
    }
}
