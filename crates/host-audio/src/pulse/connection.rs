//! A connection to a server: messages out of and into a socket that never makes its thread wait once it is set up.

use crate::server_address::ServerAddress;
use pulseaudio::protocol::{self as pa, Command, CommandReply, DESCRIPTOR_SIZE, Descriptor, TagStructReader};
use rustix::event::{PollFd, PollFlags};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Minimum time that a server is given to answer while a stream is set up.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a cookie.
const COOKIE_BYTES: usize = 256;
/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Longest message that a server may send; streams' frames come in pieces of 64 KiB at most.
const MOST_MESSAGE_BYTES: usize = 1024 * 1024;

/// Reason why the server cannot be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused a command.
    Refused(pa::PulseError),
    /// The connection failed, or the server's bytes are not the protocol.
    Broken(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<pa::ProtocolError> for Failure {
    fn from(error: pa::ProtocolError) -> Self {
        match error {
            pa::ProtocolError::ServerError(error) => Self::Refused(error),
            other => Self::Broken(other.to_string()),
        }
    }
}

trait Stream: Read + Write + AsFd + Send {}
impl Stream for UnixStream {}
impl Stream for TcpStream {}

/// A message from the server.
pub(super) enum Message<'a> {
    /// The answer to the command with this number; its content is read with [`reply`].
    Reply(u32, &'a [u8]),
    /// The command with this number was refused.
    Error(u32, pa::PulseError),
    /// The server ended a stream.
    Killed,
    /// An object of the kind that was subscribed to changed; its number.
    Changed(Option<u32>),
    /// A message that makes no difference.
    Other,
    /// Captured frames of a stream.
    Frames(&'a [u8]),
}

/// A connection on which the client is known to the server.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    patience: Duration,
    version: u16,
    is_pipewire: bool,
    next_number: u32,
    /// Received bytes: those from `parsed` to `received` were not parsed yet.
    inbox: Vec<u8>,
    parsed: usize,
    received: usize,
    /// Bytes to be sent: those from `sent` on were not sent yet.
    outbox: Vec<u8>,
    sent: usize,
    /// Buffer in which a command is encoded.
    scratch: Vec<u8>,
}

impl Connection {
    /// Connects and introduces the client; waits for the server, but for no answer longer than `patience`.
    pub fn open(address: &ServerAddress, client: &CString, patience: Duration) -> Result<Self, Failure> {
        let mut connection = Self {
            stream: connect(address, patience)?,
            patience,
            version: pa::MAX_VERSION,
            is_pipewire: false,
            next_number: 0,
            inbox: vec![0; READ_BYTES],
            parsed: 0,
            received: 0,
            outbox: Vec::with_capacity(READ_BYTES),
            sent: 0,
            scratch: Vec::new(),
        };
        let mut cookie = Vec::with_capacity(COOKIE_BYTES);
        if let Some(file) = pulseaudio::cookie_path_from_env().and_then(|path| File::open(path).ok()) {
            // A cookie that cannot be read is as good as none; a device file has no end.
            let _ = file.take(COOKIE_BYTES as u64).read_to_end(&mut cookie);
        }
        // A server ends a connection whose cookie has another length, also if it needs none.
        cookie.resize(COOKIE_BYTES, 0);
        let auth = pa::AuthParams { version: pa::MAX_VERSION, supports_shm: false, supports_memfd: false, cookie };
        let reply: pa::AuthReply = connection.call(&Command::Auth(auth))?;
        connection.version = reply.version.min(pa::MAX_VERSION);
        let mut props = pa::Props::new();
        props.set(pa::Prop::ApplicationName, client);
        props.set(pa::Prop::ApplicationProcessBinary, c"vsndd");
        props.set(pa::Prop::ApplicationIconName, c"audio-card");
        let _: pa::SetClientNameReply = connection.call(&Command::SetClientName(props))?;
        let server: pa::ServerInfo = connection.call(&Command::GetServerInfo)?;
        let name = server.server_name.unwrap_or_default();
        connection.is_pipewire = name.to_string_lossy().contains("PipeWire");
        Ok(connection)
    }

    /// Sends a command and waits for its answer.
    pub fn call<R: CommandReply>(&mut self, command: &Command) -> Result<R, Failure> {
        self.request(command, self.patience, reply)
    }

    /// Sends a command and waits until it is done, but not longer than `patience`.
    pub fn complete_within(&mut self, command: &Command, patience: Duration) -> Result<(), Failure> {
        self.request(command, patience, |_, _| Ok(()))
    }

    fn request<T>(
        &mut self,
        command: &Command,
        patience: Duration,
        parse: impl FnOnce(&[u8], u16) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + patience;
        let number = self.send(command)?;
        self.flush()?;
        loop {
            let version = self.version;
            match self.receive()? {
                Some(Message::Reply(answered, content)) if answered == number => return parse(content, version),
                Some(Message::Error(answered, error)) if answered == number => return Err(Failure::Refused(error)),
                Some(_) => {}
                None => {
                    let mut fds = [PollFd::from_borrowed_fd(self.stream.as_fd(), self.interest())];
                    if crate::live::wait_for(&mut fds, Some(deadline.saturating_duration_since(Instant::now()))) {
                        return Err(Failure::Broken("it does not answer".into()));
                    }
                    self.flush()?;
                }
            }
        }
    }

    /// The protocol's version on this connection.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Returns true if the server is PipeWire's in PulseAudio's place.
    pub fn is_pipewire(&self) -> bool {
        self.is_pipewire
    }

    /// Queues a command and returns its number.
    pub fn send(&mut self, command: &Command) -> Result<u32, Failure> {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1) & 0x7fff_ffff;
        self.scratch.clear();
        pa::encode_command_message(&mut self.scratch, number, command, self.version)?;
        self.outbox.extend_from_slice(&self.scratch);
        Ok(number)
    }

    /// Queues frames of a stream.
    pub fn send_frames(&mut self, channel: u32, frames: &[u8]) -> Result<(), Failure> {
        Ok(pa::write_memblock(&mut self.outbox, channel, frames, 0)?)
    }

    /// Bytes that are queued here because the socket takes no more.
    pub fn backlog_bytes(&self) -> usize {
        self.outbox.len() - self.sent
    }

    /// Sends what is queued, as far as that is possible now.
    pub fn flush(&mut self) -> Result<(), Failure> {
        while self.sent < self.outbox.len() {
            match self.stream.write(&self.outbox[self.sent..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.outbox.clear();
        self.sent = 0;
        Ok(())
    }

    /// The next message that has arrived, if any.
    pub fn receive(&mut self) -> Result<Option<Message<'_>>, Failure> {
        let (descriptor, content) = loop {
            if let Some(found) = self.complete()? {
                break found;
            }
            if !self.fill()? {
                return Ok(None);
            }
        };
        self.parsed = content.end;
        let content = &self.inbox[content];
        if descriptor.channel != u32::MAX {
            return Ok(Some(Message::Frames(content)));
        }
        let mut rest = content;
        match Command::read_tag_prefixed(&mut rest, self.version) {
            Ok((number, Command::Reply)) => Ok(Some(Message::Reply(number, rest))),
            Ok((number, Command::Error(error))) => Ok(Some(Message::Error(number, error))),
            Ok((_, Command::PlaybackStreamKilled(_) | Command::RecordStreamKilled(_))) => Ok(Some(Message::Killed)),
            Ok((_, Command::SubscribeEvent(event))) => Ok(Some(Message::Changed(event.index))),
            // A server may also send messages that this client does not know.
            Ok(_) | Err(_) => Ok(Some(Message::Other)),
        }
    }

    /// The first message that was not parsed, if all of it is there.
    fn complete(&self) -> Result<Option<(Descriptor, std::ops::Range<usize>)>, Failure> {
        let mut rest = &self.inbox[self.parsed..self.received];
        if rest.len() < DESCRIPTOR_SIZE {
            return Ok(None);
        }
        let descriptor = pa::read_descriptor(&mut rest)?;
        let length = descriptor.length as usize;
        if length > MOST_MESSAGE_BYTES {
            return Err(Failure::Broken(format!("it sent a message of {length} bytes")));
        }
        let begin = self.parsed + DESCRIPTOR_SIZE;
        Ok((rest.len() >= length).then_some((descriptor, begin..begin + length)))
    }

    /// Reads bytes from the socket; false: none now.
    fn fill(&mut self) -> Result<bool, Failure> {
        self.inbox.copy_within(self.parsed..self.received, 0);
        self.received -= self.parsed;
        self.parsed = 0;
        if self.received == self.inbox.len() {
            // A message longer than all so far; `complete` has bounded it.
            self.inbox.resize(self.received + READ_BYTES, 0);
        }
        let result = self.stream.read(&mut self.inbox[self.received..]);
        self.received += *result.as_ref().unwrap_or(&0);
        match result {
            Ok(0) => Err(Failure::Broken("it closed the connection".into())),
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until `wake` is readable, the server has sent something or takes queued bytes, or `timeout` has passed
    /// (returns true).
    pub fn wait(&self, wake: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
        let stream = PollFd::from_borrowed_fd(self.stream.as_fd(), self.interest());
        crate::live::wait_for(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN), stream], timeout)
    }

    fn interest(&self) -> PollFlags {
        if self.backlog_bytes() > 0 { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
    }
}

/// The content of an answer.
pub(super) fn reply<R: CommandReply>(mut content: &[u8], version: u16) -> Result<R, Failure> {
    let content: &mut dyn BufRead = &mut content;
    Ok(R::read(&mut TagStructReader::new(content, version), version)?)
}

fn connect(address: &ServerAddress, patience: Duration) -> Result<Box<dyn Stream>, Failure> {
    match address {
        ServerAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            Ok(Box::new(stream))
        }
        ServerAddress::Tcp(host, port) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let mut failure = Failure::Broken("the host has no address".into());
            for address in (host, *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, patience) {
                    Ok(stream) => {
                        // Frames are small, and late ones are useless.
                        stream.set_nodelay(true)?;
                        stream.set_nonblocking(true)?;
                        return Ok(Box::new(stream));
                    }
                    Err(error) => failure = error.into(),
                }
            }
            Err(failure)
        }
    }
}
