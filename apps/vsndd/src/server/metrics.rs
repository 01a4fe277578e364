//! Metrics for Prometheus over HTTP: `GET /metrics`, an answer, the end.

use std::io;

use crate::poller::Poller;

use super::listener::Listener;
use super::longest_silent;
use crate::connection::Connection;

/// Maximum number of connections at the same time.
const SCRAPERS_MAX: usize = 8;

/// Time that a client may be silent while it asks, or takes the answer.
const IDLE_NS_MAX: u64 = 10_000_000_000;

/// Longest request.
const REQUEST_BYTES_MAX: usize = 8192;

/// A connected client.
#[derive(Debug)]
struct Scraper {
    connection: Connection,
    /// Format of the metrics that the client waits for, if it does.
    waits: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    Plain,
}

/// The metrics socket.
#[derive(Debug)]
pub(crate) struct Metrics {
    listener: Listener,
    scrapers: [Option<Scraper>; SCRAPERS_MAX],
    /// Token of the listener; those of the scrapers follow.
    token: u64,
}

impl Metrics {
    /// Number of tokens that this socket takes up.
    pub(crate) const TOKENS: u64 = SCRAPERS_MAX as u64 + 1;

    /// Serves `listener`; `token` and the [`TOKENS`](Self::TOKENS) from there on are its own.
    pub(crate) fn new(listener: Listener, token: u64, poller: &Poller) -> io::Result<Self> {
        // Edge-triggered, as for the control socket.
        poller.add_edge(&listener, token)?;
        Ok(Self { listener, scrapers: [const { None }; SCRAPERS_MAX], token })
    }

    /// Serves what became ready under `token`.
    pub(crate) fn woke(&mut self, token: u64, poller: &Poller) {
        let Some(index) = token.checked_sub(self.token).filter(|&index| index < Self::TOKENS) else { return };
        let now_ns = poller.now_ns();
        if index == 0 {
            self.accept(poller, now_ns);
            return;
        }
        let Some(place) = usize::try_from(index - 1).ok().and_then(|index| self.scrapers.get_mut(index)) else {
            return;
        };
        let Some(Scraper { connection, waits }) = place else { return };
        connection.active_ns = now_ns;
        connection.flush();
        connection.receive(REQUEST_BYTES_MAX);
        if let Some(request) = connection.take_until(b"\r\n\r\n") {
            match wanted(&request) {
                Ok(format) => *waits = Some(format),
                Err(refusal) => {
                    connection.send(refusal.as_bytes());
                    connection.finish();
                }
            }
        } else if connection.is_flooded(REQUEST_BYTES_MAX) {
            connection.send(response("431 Request Header Fields Too Large", PLAIN, "").as_bytes());
            connection.finish();
        }
        if connection.is_over() && waits.is_none() {
            *place = None;
        }
    }

    /// Returns true if a client waits for metrics.
    pub(crate) fn is_asked(&self) -> bool {
        self.scrapers.iter().flatten().any(|scraper| scraper.waits.is_some())
    }

    /// Sends the metrics to the clients that wait for them.
    pub(crate) fn give(&mut self, exposition: &str) {
        for place in &mut self.scrapers {
            let Some(Scraper { connection, waits }) = place else { continue };
            let Some(format) = waits.take() else { continue };
            let answer = match format {
                Format::OpenMetrics => {
                    response("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", exposition)
                }
                Format::Plain => response("200 OK", "text/plain; version=0.0.4; charset=utf-8", &plain(exposition)),
            };
            connection.send(answer.as_bytes());
            connection.finish();
            if connection.is_over() {
                *place = None;
            }
        }
    }

    /// Accepts connections. If no slot is free, the client that was silent longest makes room.
    fn accept(&mut self, poller: &Poller, now_ns: u64) {
        while let Ok(Some(socket)) = self.listener.accept() {
            let index = longest_silent(
                self.scrapers.iter().map(|slot| slot.as_ref().map(|scraper| scraper.connection.active_ns)),
            );
            self.scrapers[index] = None;
            if poller.add_both_edges(&socket, self.token + 1 + index as u64).is_ok() {
                self.scrapers[index] = Some(Scraper { connection: Connection::new(socket, now_ns), waits: None });
            }
        }
    }

    /// Closes connections that were silent for too long.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        for slot in &mut self.scrapers {
            slot.take_if(|scraper| now_ns >= scraper.connection.active_ns + IDLE_NS_MAX);
        }
    }

    /// Time at which [`expire`](Self::expire) has something to do.
    pub(crate) fn next_wake_ns(&self) -> Option<u64> {
        self.scrapers.iter().flatten().map(|scraper| scraper.connection.active_ns + IDLE_NS_MAX).min()
    }
}

/// The format that a request for metrics wants, or the answer to any other request.
fn wanted(request: &[u8]) -> Result<Format, String> {
    let mut lines = request.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next().unwrap_or_default().split(|&byte| byte == b' ');
    // The part after a question mark is ignored.
    let path = |target: &'_ [u8]| target.split(|&byte| byte == b'?').next().unwrap_or_default().to_vec();
    match (words.next(), words.next().map(path).as_deref()) {
        (Some(b"GET"), Some(b"/metrics")) => {
            let header = |line: &[u8]| {
                let line = String::from_utf8_lossy(line).to_ascii_lowercase();
                line.strip_prefix("accept:").map(str::to_owned)
            };
            let accept: Vec<String> = lines.filter_map(header).collect();
            Ok(preferred(&accept.join(",")))
        }
        (Some(b"GET"), Some(_)) => Err(response("404 Not Found", PLAIN, "metrics are at /metrics\n")),
        (Some(_), Some(_)) => Err(response("405 Method Not Allowed", PLAIN, "only GET is known\n")),
        _ => Err(response("400 Bad Request", PLAIN, "this is no HTTP\n")),
    }
}

/// The format that an `Accept` header prefers, by its weights (RFC 9110, 12.5.1); the older one by default.
fn preferred(accept: &str) -> Format {
    let weight = |wanted: &str, version: &str| {
        let weights = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next()?;
            let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let of =
                |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'));
            let fits = media == wanted && of("version").is_none_or(|its| its == version);
            fits.then(|| of("q").map_or(Some(1.0), |q| q.parse::<f32>().ok()))?
        });
        weights.fold(0.0, f32::max)
    };
    let (new, old) = (weight(OPEN_METRICS, "1.0.0"), weight("text/plain", "0.0.4"));
    if new > 0.0 && new >= old { Format::OpenMetrics } else { Format::Plain }
}

/// The media type of OpenMetrics 1.0, in which metrics are written.
const OPEN_METRICS: &str = "application/openmetrics-text";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Metrics in Prometheus' older format, for clients that do not say that they read OpenMetrics: there a counter has the
/// name of its samples, and there are neither units nor an end.
pub(crate) fn plain(exposition: &str) -> String {
    let counters: Vec<&str> =
        exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(exposition.len());
    for line in exposition.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
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

    /// Metrics at an address of this machine.
    fn metrics(poller: &Poller) -> (Metrics, std::net::SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        (Metrics::new(Listener::Tcp(socket), 100, poller).unwrap(), address)
    }

    /// The answer to a request.
    fn ask(request: &str, exposition: &str) -> String {
        let poller = Poller::new().unwrap();
        let (mut metrics, address) = metrics(&poller);
        let mut client = TcpStream::connect(address).unwrap();
        metrics.woke(100, &poller);
        client.write_all(request.as_bytes()).unwrap();
        metrics.woke(101, &poller);
        assert_eq!(metrics.is_asked(), request.starts_with("GET /metrics "));
        metrics.give(exposition);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn metrics_come_in_the_format_that_the_scraper_reads() {
        let exposition = "# HELP vsndd_x Help text.\n# TYPE vsndd_x counter\nvsndd_x_total 1\n# UNIT vsndd_y seconds\n\
                       # TYPE vsndd_y gauge\nvsndd_y 2\n# EOF\n";
        let ask = |accept: &str| ask(&format!("GET /metrics HTTP/1.1\r\n{accept}\r\n"), exposition);
        let new = ask("Host: x\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
        assert!(new.contains("Content-Type: application/openmetrics-text; version=1.0.0") && new.ends_with("# EOF\n"));
        for old in [ask("Host: x\r\n"), ask("Accept: text/plain\r\n"), ask("Accept: */*\r\n")] {
            assert!(old.contains("Content-Type: text/plain; version=0.0.4"), "{old}");
            let body = "# HELP vsndd_x_total Help text.\n# TYPE vsndd_x_total counter\nvsndd_x_total 1\n\
                        # TYPE vsndd_y gauge\nvsndd_y 2\n";
            assert!(old.ends_with(&format!("\r\n\r\n{body}")), "{old}");
        }
    }

    #[test]
    fn the_format_is_the_one_that_is_accepted_most() {
        for (accept, format) in [
            ("", Format::Plain),
            ("*/*", Format::Plain),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Plain),
            ("application/openmetrics-text; version=2.0.0", Format::Plain),
            ("text/plain;q=0.5,application/openmetrics-text;q=0.4", Format::Plain),
            (
                "text/plain;version=0.0.4;q=0.3,*/*;q=0.2,application/openmetrics-text;version=\"1.0.0\";q=0.5",
                Format::OpenMetrics,
            ),
            // The header that Prometheus 3 sends.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;\
                 version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;q=x,,;;=", Format::Plain),
        ] {
            assert_eq!(preferred(accept), format, "{accept}");
        }
        let request =
            b"GET /metrics?x=1 HTTP/1.1\r\nACCEPT: text/plain;q=0.1\r\naccept: Application/OpenMetrics-Text\r\n";
        assert_eq!(wanted(request), Ok(Format::OpenMetrics));
    }

    #[test]
    fn those_who_say_nothing_make_room_and_are_closed_after_a_while() {
        let poller = Poller::new().unwrap();
        let (mut metrics, address) = metrics(&poller);
        let connect = || TcpStream::connect(address).unwrap();
        let mut silent: Vec<TcpStream> = (0..SCRAPERS_MAX).map(|_| connect()).collect();
        metrics.woke(100, &poller);
        let mut late = connect();
        metrics.woke(100, &poller);
        assert_eq!(silent[0].read(&mut [0]).unwrap(), 0, "the first is closed");
        late.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        metrics.woke(101, &poller);
        metrics.give("vsndd_x 1\n");
        let mut answer = String::new();
        late.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("vsndd_x 1\n"), "{answer}");
        let ends_ns = metrics.next_wake_ns().unwrap();
        metrics.expire(ends_ns + IDLE_NS_MAX);
        assert_eq!(silent[1].read(&mut [0]).unwrap(), 0, "so are the others");
        assert_eq!(metrics.next_wake_ns(), None);
    }

    #[test]
    fn only_metrics_are_given() {
        let ask = |request: &str| ask(request, "vsndd_x 1\n");
        assert!(
            ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                .ends_with("Content-Length: 10\r\nConnection: close\r\n\r\nvsndd_x 1\n")
        );
        assert!(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask("\r\nHost\r\n\r\n").starts_with("HTTP/1.1 400 "));
    }
}
