//! One connection: input that is not processed yet, and output that is not sent yet.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Maximum number of bytes that are kept for a peer that does not read.
const OUTPUT_MAX: usize = 4 << 20;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_nonblocking(true),
            Self::Tcp(stream) => stream.set_nonblocking(true),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(into),
            Self::Tcp(stream) => stream.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    /// Time of the last activity on the socket.
    pub(crate) active_ns: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    /// True if the socket may have more input, for which there was no room.
    more: bool,
    /// True if no more input will come.
    ended: bool,
    /// True if no more input is to be read; the connection is closed once everything is sent.
    finished: bool,
}

impl Connection {
    pub(crate) fn new(socket: Socket, now_ns: u64) -> Self {
        Self {
            socket,
            active_ns: now_ns,
            input: Vec::new(),
            output: Vec::new(),
            more: false,
            ended: false,
            finished: false,
        }
    }

    /// Reads input, as long as fewer than `most` bytes are waiting to be processed.
    pub(crate) fn receive(&mut self, most: usize) {
        let mut bytes = [0; 1024];
        self.more = false;
        while !self.ended && self.input.len() < most {
            match self.socket.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(length) => self.input.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
        self.more = !self.ended;
    }

    /// Reads the input for which there was no room before.
    pub(crate) fn receive_more(&mut self, most: usize) {
        if self.more {
            self.receive(most);
        }
    }

    /// Takes the input up to and including the first `end`, if that has come.
    pub(crate) fn take_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        if self.finished {
            return None;
        }
        let at = self.input.windows(end.len()).position(|window| window == end)?;
        let rest = self.input.split_off(at + end.len());
        Some(std::mem::replace(&mut self.input, rest))
    }

    /// Returns true if a whole line is waiting to be processed.
    pub(crate) fn has_line(&self) -> bool {
        !self.finished && self.input.contains(&b'\n')
    }

    /// Returns true if `most` bytes or more are waiting: too many for any valid message.
    pub(crate) fn is_flooded(&self, most: usize) -> bool {
        !self.finished && self.input.len() >= most
    }

    /// Queues output, and sends as much as the socket takes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.flush();
    }

    /// Sends as much output as the socket takes.
    pub(crate) fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.output.clear();
                    self.ended = true;
                    self.finished = true;
                }
            }
        }
        if self.output.len() > OUTPUT_MAX {
            self.output.clear();
            self.finished = true;
        }
    }

    /// Stops reading; the connection is closed once everything is sent.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.input.clear();
    }

    /// Returns true if everything was sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.output.is_empty()
    }

    /// Returns true if no more input will come, and no line is left.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended && !self.has_line()
    }

    /// Returns true if the connection is to be closed.
    pub(crate) fn is_over(&self) -> bool {
        self.output.is_empty() && (self.finished || self.ended)
    }
}
