//! One connection: messages from the client to the server as far as they are allowed, and back.

use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use pulseaudio::protocol::{self as pa, DESCRIPTOR_SIZE, PulseError};
use tracing::{debug, warn};

use crate::rights::{ANSWER_BYTES, Denied, Rights};

/// Largest command; those with a stream's properties have some hundred bytes.
const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Bytes of frames that are passed on in one piece.
const PIECE_BYTES: usize = 64 * 1024;
/// Flags for the position of frames in a stream. The other flags are about shared memory.
const SEEK_FLAGS: u32 = 0xFF;

/// Passes messages on until either side ends the connection, or the client sends something that is no message.
pub(crate) fn serve(client: &UnixStream, server: &UnixStream, allow_capture: bool) {
    let connection =
        Connection { client, server, rights: Mutex::new(Rights::new(allow_capture)), answers: Mutex::new(()) };
    let over = |what: &str, result: io::Result<()>| {
        match result {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                warn!("a worker's connection is ended: {error}")
            }
            Err(error) => debug!("{what}: {error}"),
            Ok(()) => {}
        }
        for socket in [client, server] {
            // The connection may have ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    };
    thread::scope(|scope| {
        let back = thread::Builder::new().stack_size(crate::STACK_BYTES);
        match back.spawn_scoped(scope, || over("from the server", connection.answers())) {
            Ok(_) => over("from the worker", connection.commands()),
            Err(error) => warn!("no thread for a connection: {error}"),
        }
    });
}

struct Connection<'a> {
    client: &'a UnixStream,
    server: &'a UnixStream,
    rights: Mutex<Rights>,
    /// Held while a message is written to the client.
    answers: Mutex<()>,
}

impl Connection<'_> {
    fn commands(&self) -> io::Result<()> {
        let mut from = BufReader::with_capacity(PIECE_BYTES, self.client);
        let mut message = Vec::new();
        while let Some(head) = Head::read(&mut from, &mut message)? {
            if head.flags & !SEEK_FLAGS != 0 {
                return Err(nonsense("it speaks of shared memory"));
            }
            if !head.is_control() {
                pass(&mut from, self.server, &mut message, head.length)?;
                continue;
            }
            if head.length > COMMAND_BYTES_MAX {
                return Err(nonsense("a command is too long"));
            }
            take(&mut from, &mut message, head.length)?;
            let content = message.get_mut(DESCRIPTOR_SIZE..).unwrap_or_default();
            match locked(&self.rights).judge(content) {
                None => return Err(nonsense("what it sent is no command")),
                Some(Ok(())) => (&mut &*self.server).write_all(&message)?,
                Some(Err(denied)) => self.deny(&denied)?,
            }
        }
        Ok(())
    }

    fn deny(&self, denied: &Denied) -> io::Result<()> {
        warn!("a worker asked for command {} of PulseAudio's protocol, which is denied", denied.command);
        let mut message = Vec::new();
        pa::write_error(&mut message, denied.number, &PulseError::AccessDenied).map_err(io::Error::other)?;
        let _whole = locked(&self.answers);
        (&mut &*self.client).write_all(&message)
    }

    fn answers(&self) -> io::Result<()> {
        let mut from = BufReader::with_capacity(PIECE_BYTES, self.server);
        let mut message = Vec::new();
        while let Some(head) = Head::read(&mut from, &mut message)? {
            let mut left = head.length;
            if head.is_control() {
                let first = left.min(ANSWER_BYTES);
                take(&mut from, &mut message, first)?;
                left -= first;
                locked(&self.rights).answered(message.get(DESCRIPTOR_SIZE..).unwrap_or_default());
            }
            let _whole = locked(&self.answers);
            pass(&mut from, self.client, &mut message, left)?;
        }
        Ok(())
    }
}

/// Header of a message.
struct Head {
    length: usize,
    channel: u32,
    flags: u32,
}

impl Head {
    /// Reads a header into `message`, which is cleared before; `None` at the end of the connection.
    fn read(from: &mut impl Read, message: &mut Vec<u8>) -> io::Result<Option<Self>> {
        message.clear();
        let read = from.by_ref().take(DESCRIPTOR_SIZE as u64).read_to_end(message)?;
        if read < DESCRIPTOR_SIZE {
            return Ok(None);
        }
        let number =
            |place: usize| message.iter().skip(place).take(4).fold(0, |sum, &byte| (sum << 8) | u32::from(byte));
        Ok(Some(Self { length: number(0) as usize, channel: number(4), flags: number(16) }))
    }

    /// Returns true for a command or an answer, false for frames of a stream.
    fn is_control(&self) -> bool {
        self.channel == u32::MAX
    }
}

/// Reads `length` bytes and adds them to `message`.
fn take(from: &mut impl Read, message: &mut Vec<u8>, length: usize) -> io::Result<()> {
    if from.by_ref().take(length as u64).read_to_end(message)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Writes the content of `message`, and the next `left` bytes of `from`.
fn pass(from: &mut impl Read, mut to: &UnixStream, message: &mut Vec<u8>, mut left: usize) -> io::Result<()> {
    loop {
        let piece = left.min(PIECE_BYTES);
        take(from, message, piece)?;
        to.write_all(message)?;
        message.clear();
        left -= piece;
        if left == 0 {
            return Ok(());
        }
    }
}

fn nonsense(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
