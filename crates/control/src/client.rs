//! Client side of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Event, Reply, Request};

/// Time that the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Errors of a request to the daemon.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or nobody listens or answers in time.
    #[error("no daemon answers at {}: {reason}; is vsndd running?", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
    /// The user may not use the socket.
    #[error("not allowed to use {}: be root, or a member of the group that owns it (`vsnd`)", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The connection ended, or a message cannot be understood.
    #[error("the daemon at {}: {reason}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Description of the fault.
        reason: String,
    },
    /// The daemon knows no such guest, card or stream.
    #[error("{0}")]
    NoSuchStream(String),
    /// The configuration cannot be used; the text has several lines.
    #[error("{0}")]
    BadConfig(String),
    /// The daemon refused the request.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`], [`ClientError::Denied`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let path = path.to_owned();
        let connect = || -> io::Result<UnixStream> {
            let stream = UnixStream::connect(&path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        match connect() {
            Ok(stream) => Ok(Self { stream: BufReader::new(stream), path }),
            Err(reason) if reason.kind() == io::ErrorKind::PermissionDenied => Err(ClientError::Denied { path }),
            Err(reason) => Err(ClientError::NoDaemon { path, reason }),
        }
    }

    /// Sends a request, and waits for the answer.
    ///
    /// # Errors
    /// [`ClientError::NoSuchStream`], [`ClientError::BadConfig`] and [`ClientError::Refused`] when the daemon refuses,
    /// [`ClientError::Broken`] when it is gone, [`ClientError::NoDaemon`] when it does not answer in time.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let mut line = serde_json::to_string(request).map_err(|error| self.broken(error))?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).map_err(|error| self.ended(error))?;
        match self.read_line()? {
            Reply::NoSuchStream { message } => Err(ClientError::NoSuchStream(message)),
            Reply::BadConfig { message } => Err(ClientError::BadConfig(message)),
            Reply::Refused { message } => Err(ClientError::Refused(message)),
            reply => Ok(reply),
        }
    }

    /// Waits for the next event without a time limit; for use after [`Request::Events`] with `follow`.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the daemon is gone.
    pub fn next_event(&mut self) -> Result<Event, ClientError> {
        self.stream.get_mut().set_read_timeout(None).map_err(|error| self.broken(error))?;
        self.read_line()
    }

    fn read_line<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Err(self.broken("it closed the connection")),
            Ok(_) => serde_json::from_str(&line).map_err(|error| self.broken(error)),
            Err(error) => Err(self.ended(error)),
        }
    }

    /// Converts an error of the socket; the system has two names for a timeout.
    fn ended(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let reason = format!("it takes longer than {} s", PATIENCE.as_secs());
                ClientError::NoDaemon { path: self.path.clone(), reason: io::Error::other(reason) }
            }
            _ => self.broken(error),
        }
    }

    fn broken(&self, reason: impl ToString) -> ClientError {
        ClientError::Broken { path: self.path.clone(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client and the daemon's end of its connection.
    fn client() -> (Client, UnixStream) {
        let (stream, daemon) = UnixStream::pair().unwrap();
        (Client { stream: BufReader::new(stream), path: "/run/socket".into() }, daemon)
    }

    #[test]
    fn a_daemon_that_does_not_answer_in_time_is_none() {
        let (mut client, _daemon) = client();
        client.stream.get_mut().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let error = client.ask(&Request::Reload).unwrap_err();
        assert!(matches!(error, ClientError::NoDaemon { .. }), "{error:?}");
        assert!(error.to_string().contains("it takes longer than 10 s"), "{error}");
    }

    #[test]
    fn what_the_daemon_refuses_is_an_error_of_its_own() {
        let (mut client, mut daemon) = client();
        writeln!(daemon, r#"{{"reply":"refused","message":"no"}}"#).unwrap();
        writeln!(daemon, r#"{{"reply":"no-such-stream","message":"none"}}"#).unwrap();
        assert!(matches!(client.ask(&Request::Reload), Err(ClientError::Refused(message)) if message == "no"));
        assert!(matches!(client.ask(&Request::Reload), Err(ClientError::NoSuchStream(message)) if message == "none"));
        drop(daemon);
        assert!(matches!(client.ask(&Request::Reload), Err(ClientError::Broken { .. })));
    }

    #[test]
    fn requests_are_the_lines_that_are_documented() {
        for (line, request) in [
            (r#"{"request":"list","levels":false}"#, Request::List { levels: false }),
            (r#"{"request":"reload"}"#, Request::Reload),
            (
                r#"{"request":"volume","target":"studio/0/0/0","volume_db":-6.0}"#,
                Request::Volume { target: "studio/0/0/0".parse().unwrap(), volume_db: -6.0 },
            ),
            (
                r#"{"request":"capture","target":"studio","allow":true}"#,
                Request::Capture { target: "studio".parse().unwrap(), allow: true, for_s: None },
            ),
            (
                r#"{"request":"capture","target":"studio","allow":true,"for_s":600}"#,
                Request::Capture { target: "studio".parse().unwrap(), allow: true, for_s: Some(600) },
            ),
            (
                r#"{"request":"move","target":"studio","device":"alsa:hw:1","direction":"playback"}"#,
                Request::Move {
                    target: "studio".parse().unwrap(),
                    device: "alsa:hw:1".into(),
                    direction: crate::Direction::Playback,
                },
            ),
            (r#"{"request":"forget","target":"*"}"#, Request::Forget { target: "*".parse().unwrap() }),
            (
                r#"{"request":"disconnect","target":"studio/0"}"#,
                Request::Disconnect { target: "studio/0".parse().unwrap() },
            ),
            (r#"{"request":"kept"}"#, Request::Kept),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        }
        let short: Request = serde_json::from_str(r#"{"request":"events"}"#).unwrap();
        assert_eq!(short, Request::Events { follow: false });
        assert!(serde_json::from_str::<Request>(r#"{"request":"list","level":true}"#).is_err());
    }
}
