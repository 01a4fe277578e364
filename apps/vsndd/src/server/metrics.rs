//! Figures for Prometheus over HTTP: `GET /metrics`, an answer, the end.

use std::io;

use crate::poller::Poller;

use super::connection::Connection;
use super::listener::Listener;
use super::longest_silent;

/// Connections at once.
const SCRAPERS_MAX: usize = 8;

/// How long one may take to ask, and to take the answer.
const IDLE_NS_MAX: u64 = 10_000_000_000;

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
        let now_ns = poller.now_ns();
        if index == 0 {
            self.accept(poller, now_ns);
            return true;
        }
        let slot = usize::try_from(index - 1).ok().and_then(|index| self.scrapers.get_mut(index));
        if let Some(Some(scraper)) = slot {
            scraper.active_ns = now_ns;
            scraper.flush();
            scraper.receive(REQUEST_BYTES_MAX);
            if let Some(request) = scraper.take_until(b"\r\n\r\n") {
                scraper.send(answer(&request, figures).as_bytes());
                scraper.finish();
            } else if scraper.is_flooded(REQUEST_BYTES_MAX) {
                scraper.send(response("431 Request Header Fields Too Large", PLAIN, "").as_bytes());
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

    /// Where nothing is free, the one that was silent longest makes room.
    fn accept(&mut self, poller: &Poller, now_ns: u64) {
        while let Ok(Some(socket)) = self.listener.accept() {
            let index = longest_silent(self.scrapers.iter().map(|slot| slot.as_ref().map(|scraper| scraper.active_ns)));
            self.scrapers[index] = None;
            if poller.add_both_edges(&socket, self.token + 1 + index as u64).is_ok() {
                self.scrapers[index] = Some(Connection::new(socket, now_ns));
            }
        }
    }

    /// Closes what was silent for too long.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        for slot in &mut self.scrapers {
            slot.take_if(|scraper| now_ns >= scraper.active_ns + IDLE_NS_MAX);
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_wake_ns(&self) -> Option<u64> {
        self.scrapers.iter().flatten().map(|scraper| scraper.active_ns + IDLE_NS_MAX).min()
    }
}

fn answer(request: &[u8], figures: impl Fn() -> String) -> String {
    let mut lines = request.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next().unwrap_or_default().split(|&byte| byte == b' ');
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => {
            let accepts = lines.any(|line| {
                let line = line.to_ascii_lowercase();
                line.starts_with(b"accept:")
                    && line.windows(OPEN_METRICS.len()).any(|part| part == OPEN_METRICS.as_bytes())
            });
            if accepts {
                response("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", &figures())
            } else {
                response("200 OK", "text/plain; version=0.0.4; charset=utf-8", &plain(&figures()))
            }
        }
        (Some(b"GET"), Some(_)) => response("404 Not Found", PLAIN, "figures are at /metrics\n"),
        (Some(_), Some(_)) => response("405 Method Not Allowed", PLAIN, "only GET is known\n"),
        _ => response("400 Bad Request", PLAIN, "this is no HTTP\n"),
    }
}

/// The media type of OpenMetrics 1.0, in which figures are written.
const OPEN_METRICS: &str = "application/openmetrics-text";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Figures in Prometheus' older format, for those who do not say that they read OpenMetrics: a counter is called there as its samples
/// are, and there are neither units nor an end.
fn plain(figures: &str) -> String {
    let counters: Vec<&str> =
        figures.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(figures.len());
    for line in figures.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(&name) => {
                out.push_str(&format!("# {kind} {name}_total {rest}\n"));
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

fn response(status: &str, media_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn figures_come_in_the_format_that_the_scraper_reads() {
        let figures = "# HELP vsndd_x Help text.\n# TYPE vsndd_x counter\nvsndd_x_total 1\n# UNIT vsndd_y seconds\n\
                       # TYPE vsndd_y gauge\nvsndd_y 2\n# EOF\n";
        let ask =
            |accept: &str| answer(format!("GET /metrics HTTP/1.1\r\n{accept}\r\n").as_bytes(), || figures.to_owned());
        let new = ask("Host: x\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
        assert!(new.contains("Content-Type: application/openmetrics-text; version=1.0.0") && new.ends_with("# EOF\n"));
        for old in [ask(""), ask("Accept: text/plain\r\n"), ask("Accept: */*\r\n")] {
            assert!(old.contains("Content-Type: text/plain; version=0.0.4"), "{old}");
            let body = "# HELP vsndd_x_total Help text.\n# TYPE vsndd_x_total counter\nvsndd_x_total 1\n\
                        # TYPE vsndd_y gauge\nvsndd_y 2\n";
            assert!(old.ends_with(&format!("\r\n\r\n{body}")), "{old}");
        }
    }

    #[test]
    fn those_who_say_nothing_make_room_and_are_closed_after_a_while() {
        let listener = Listener::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
        let Listener::Tcp(socket) = &listener else { unreachable!() };
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let poller = Poller::new().unwrap();
        let mut metrics = Metrics::new(listener, 100, &poller).unwrap();
        let connect = || TcpStream::connect(address).unwrap();
        let mut silent: Vec<TcpStream> = (0..SCRAPERS_MAX).map(|_| connect()).collect();
        assert!(metrics.woke(100, &poller, String::new));
        let mut late = connect();
        metrics.woke(100, &poller, String::new);
        assert_eq!(silent[0].read(&mut [0]).unwrap(), 0, "the first is closed");
        late.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        metrics.woke(101, &poller, || "vsndd_x 1\n".to_owned());
        let mut answer = String::new();
        late.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("vsndd_x 1\n"), "{answer}");
        let ends_ns = metrics.next_wake_ns().unwrap();
        metrics.expire(ends_ns + IDLE_NS_MAX);
        assert_eq!(silent[1].read(&mut [0]).unwrap(), 0, "so are the others");
        assert_eq!(metrics.next_wake_ns(), None);
    }

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
