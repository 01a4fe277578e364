//! A server in a thread of its own, behind a Unix socket whose clients are domain 0.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{ConnId, Server};

/// Maximum number of concurrent clients of the socket; more are disconnected.
const CLIENTS_MAX: usize = 256;

type Job = Box<dyn FnOnce(&mut Server) + Send>;

/// A running server; stops when dropped.
#[derive(Debug)]
pub struct Handle {
    path: PathBuf,
    jobs: Option<Sender<Job>>,
    // One byte wakes the thread; the end of the stream stops it.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a server that listens on a Unix socket at `path`, to which only this user may connect. A socket without a
/// listener is replaced.
///
/// # Errors
/// If the socket cannot be made, for example because another server listens there.
pub fn spawn(path: &Path) -> io::Result<Handle> {
    spawn_server(path, Server::new())
}

fn spawn_server(path: &Path, server: Server) -> io::Result<Handle> {
    let listener = listen(path)?;
    let (wake, woken) = UnixStream::pair()?;
    woken.set_nonblocking(true)?;
    let (jobs, queue) = channel();
    let thread =
        std::thread::Builder::new().name("xenstore".into()).spawn(move || run(server, &listener, &woken, &queue))?;
    Ok(Handle { path: path.to_owned(), jobs: Some(jobs), wake: Some(wake), thread: Some(thread) })
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let is_socket = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    if rustix::fs::lstat(path).is_ok_and(is_socket)
        && rustix::net::connect(socket()?, &address) == Err(Errno::CONNREFUSED)
    {
        rustix::fs::unlink(path)?;
    }
    let listener = socket()?;
    rustix::net::bind(&listener, &address)?;
    // Before listen, so that nobody can connect with the permissions that the umask gave.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&listener, 64)?;
    Ok(listener)
}

impl Handle {
    /// Path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `body` in the server's thread and returns its result; `None` if the thread has ended.
    pub fn with<T: Send + 'static>(&self, body: impl FnOnce(&mut Server) -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = channel();
        let job: Job = Box::new(move |server| drop(answer.send(body(server))));
        self.jobs.as_ref()?.send(job).ok()?;
        rustix::io::write(self.wake.as_ref()?, b"!").ok()?;
        answered.recv().ok()
    }

    /// Adds a client as domain `domid` and returns the client's end.
    ///
    /// # Errors
    /// If no socket pair can be made, or the thread has ended.
    pub fn connect_domain(&self, domid: u16) -> io::Result<OwnedFd> {
        let (ours, theirs) = UnixStream::pair()?;
        self.with(move |server| server.add_connection(ours.into(), domid)).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(theirs.into())
    }

    /// Stops the server: ends all connections and removes the socket.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.jobs = None;
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread comes from a job, and has been reported already.
            drop(thread.join());
            drop(std::fs::remove_file(&self.path));
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(mut server: Server, listener: &OwnedFd, woken: &UnixStream, jobs: &Receiver<Job>) {
    loop {
        let mut conns: Vec<ConnId> = Vec::new();
        let mut fds = vec![PollFd::new(listener, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
        for interest in server.fds() {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, interest.read);
            events.set(PollFlags::OUT, interest.write);
            conns.push(interest.conn);
            fds.push(PollFd::from_borrowed_fd(interest.fd, events));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let Some((&[listening, waking], ready)) = ready.split_first_chunk::<2>() else { return };
        for (conn, ready) in conns.iter().zip(ready) {
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                server.on_readable(*conn);
            }
            if ready.contains(PollFlags::OUT) {
                server.on_writable(*conn);
            }
            if ready.intersects(PollFlags::HUP | PollFlags::ERR) && !ready.contains(PollFlags::IN) {
                server.remove_connection(*conn);
            }
        }
        if listening.contains(PollFlags::IN) {
            accept(&mut server, listener);
        }
        if !waking.is_empty() {
            match rustix::io::read(woken.as_fd(), &mut [0_u8; 64]) {
                Ok(0) => return,
                _ => jobs.try_iter().for_each(|job| job(&mut server)),
            }
        }
    }
}

fn accept(server: &mut Server, listener: &OwnedFd) {
    // A refused or failed client is ignored; poll reports the next one.
    if let Ok(client) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)
        && server.fds().count() < CLIENTS_MAX
    {
        server.add_connection(client, 0);
    }
}
