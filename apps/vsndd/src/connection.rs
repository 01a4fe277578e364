//! One connection: what came and was not understood yet, what is to be sent and was not taken yet.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Bytes that are kept for somebody who does not read.
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
    /// When something came or was taken last.
    pub(crate) active_ns: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Something is left in the socket that there was no room for.
    more: bool,
    /// Nothing more will come.
    ended: bool,
    /// Nothing more is to be read; it is closed once everything is sent.
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

    /// Takes in what has come, as long as fewer than `most` bytes are waiting to be understood.
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

    /// Takes in what there was no room for before.
    pub(crate) fn receive_more(&mut self, most: usize) {
        if self.more {
            self.receive(most);
        }
    }

    /// Everything up to and with the first `end`, if that has come.
    pub(crate) fn take_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        if self.finished {
            return None;
        }
        let at = self.input.windows(end.len()).position(|window| window == end)?;
        let rest = self.input.split_off(at + end.len());
        Some(std::mem::replace(&mut self.input, rest))
    }

    /// Whether a whole line is waiting to be understood.
    pub(crate) fn has_line(&self) -> bool {
        !self.finished && self.input.contains(&b'\n')
    }

    /// Whether more is waiting than anything that could be understood.
    pub(crate) fn is_flooded(&self, most: usize) -> bool {
        !self.finished && self.input.len() >= most
    }

    /// Adds to what is to be sent, and sends what is taken.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.flush();
    }

    /// Sends what is taken.
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

    /// Reads no more, and closes once everything is sent.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.input.clear();
    }

    /// Whether everything was sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.output.is_empty()
    }

    /// Whether nothing more will come, and all that came was understood.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended && !self.has_line()
    }

    /// Whether it is to be closed.
    pub(crate) fn is_over(&self) -> bool {
        self.output.is_empty() && (self.finished || self.ended)
    }
}
