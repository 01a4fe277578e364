//! Attempts that the daemon can be told to make in its sandbox, so that a test sees them refused: `--sandbox-probe`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use nix::sched::CloneFlags;
use nix::unistd::Uid;
use rustix::net::{AddressFamily, SocketType};
use xen::{Access, DomainId, GrantRef, Port, Xen};

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Opens a file, or lists a directory.
    Read(PathBuf),
    /// Makes a file and removes it.
    Write(PathBuf),
    /// Makes a file, maps it to be executed and removes it.
    Execute(PathBuf),
    /// Does something that the daemon, or a worker, must not do.
    Call(Forbidden),
}

/// Something that is forbidden to the daemon, or to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// Another program in place of this one.
    Execve,
    /// Being traced by the parent process.
    Ptrace,
    /// Another root directory; in fact the same one.
    Chroot,
    /// A user namespace.
    Unshare,
    /// Raw packets of the network.
    PacketSocket,
    /// A socket to talk to the kernel about the network.
    NetlinkSocket,
    /// Becoming root.
    SetUid,
    /// A signal to the parent process; signal 0, which does nothing.
    Kill,
    /// Memory that others share, to be executed.
    ExecShared,
    /// Memory that was written, to be executed.
    ExecWritten,
    /// A file without a name that was written, to be executed.
    ExecMemfd,
    /// Xen's call that makes a page of another domain mappable.
    CallMap,
    /// Xen's call that grants pages to another domain.
    CallGrant,
    /// Xen's call that binds an event channel of another domain.
    CallBind,
    /// More memory than a guest needs.
    Allocate,
    /// More files than a guest needs.
    OpenMany,
}

const CALLS: [(Forbidden, &str); 16] = [
    (Forbidden::Execve, "execve"),
    (Forbidden::Ptrace, "ptrace"),
    (Forbidden::Chroot, "chroot"),
    (Forbidden::Unshare, "unshare"),
    (Forbidden::PacketSocket, "packet"),
    (Forbidden::NetlinkSocket, "netlink"),
    (Forbidden::SetUid, "setuid"),
    (Forbidden::Kill, "kill"),
    (Forbidden::ExecShared, "exec-shared"),
    (Forbidden::ExecWritten, "exec-written"),
    (Forbidden::ExecMemfd, "exec-memfd"),
    (Forbidden::CallMap, "xen-map"),
    (Forbidden::CallGrant, "xen-grant"),
    (Forbidden::CallBind, "xen-bind"),
    (Forbidden::Allocate, "allocate"),
    (Forbidden::OpenMany, "open-many"),
];

/// One thing for a worker to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerProbe {
    /// An attempt of the daemon.
    System(Probe),
    /// Maps a page of a domain.
    Map(DomainId, GrantRef),
    /// Binds a port of a domain.
    Bind(DomainId, Port),
    /// Reads a node of the store.
    StoreRead(String),
    /// Writes a node of the store.
    StoreWrite(String),
}

impl FromStr for WorkerProbe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        fn pair(text: &str) -> Option<(DomainId, u32)> {
            let (domain, number) = text.split_once(':')?;
            Some((domain.parse().ok()?, number.parse().ok()?))
        }
        let parsed = match text.split_once(':') {
            Some(("map", place)) => pair(place).map(|(domain, number)| Self::Map(domain, GrantRef(number))),
            Some(("bind", place)) => pair(place).map(|(domain, number)| Self::Bind(domain, Port(number))),
            Some(("store-read", path)) => Some(Self::StoreRead(path.into())),
            Some(("store-write", path)) => Some(Self::StoreWrite(path.into())),
            _ => return text.parse().map(Self::System),
        };
        parsed.ok_or_else(|| "it is map:DOMAIN:REF, bind:DOMAIN:PORT, store-read:PATH or store-write:PATH".into())
    }
}

impl fmt::Display for WorkerProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(probe) => probe.fmt(f),
            Self::Map(domain, reference) => write!(f, "map:{domain}:{}", reference.0),
            Self::Bind(domain, port) => write!(f, "bind:{domain}:{port}"),
            Self::StoreRead(path) => write!(f, "store-read:{path}"),
            Self::StoreWrite(path) => write!(f, "store-write:{path}"),
        }
    }
}

impl WorkerProbe {
    /// Makes the attempt with the worker's connections.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn attempt_at(&self, xen: &Xen, store: &mut xenstore::Client) -> Result<(), String> {
        match self {
            Self::System(probe) => probe.attempt().map_err(|error| error.to_string()),
            Self::Map(domain, reference) => {
                xen.map(*domain, &[*reference], Access::ReadOnly).map(drop).map_err(|error| error.to_string())
            }
            Self::Bind(domain, port) => {
                xen.bind_interdomain(*domain, *port).map(drop).map_err(|error| error.to_string())
            }
            Self::StoreRead(path) => store.read(path).map(drop).map_err(|error| error.to_string()),
            Self::StoreWrite(path) => store.write(path, b"probed").map_err(|error| error.to_string()),
        }
    }
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("read", path)) => Ok(Self::Read(path.into())),
            Some(("write", path)) => Ok(Self::Write(path.into())),
            Some(("execute", path)) => Ok(Self::Execute(path.into())),
            Some(("call", name)) => match CALLS.iter().find(|(_, known)| *known == name) {
                Some((call, _)) => Ok(Self::Call(*call)),
                None => Err(format!("no call `{name}` to try")),
            },
            _ => Err("it is read:PATH, write:PATH, execute:PATH or call:NAME".into()),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read:{}", path.display()),
            Self::Write(path) => write!(f, "write:{}", path.display()),
            Self::Execute(path) => write!(f, "execute:{}", path.display()),
            Self::Call(call) => {
                let name = CALLS.iter().find(|(known, _)| known == call).map_or("?", |(_, name)| name);
                write!(f, "call:{name}")
            }
        }
    }
}

impl Probe {
    /// Makes the attempt.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn attempt(&self) -> io::Result<()> {
        match self {
            Self::Read(path) if path.is_dir() => fs::read_dir(path).map(drop),
            Self::Read(path) => File::open(path).map(drop),
            Self::Write(path) => File::create_new(path).and_then(|_| fs::remove_file(path)),
            Self::Execute(path) => {
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                let executed = xen::attempt::execute_file(file);
                fs::remove_file(path)?;
                executed
            }
            Self::Call(call) => call.attempt(),
        }
    }
}

impl Forbidden {
    fn attempt(self) -> io::Result<()> {
        match self {
            // On success, the other program prints the answer.
            Self::Execve => Err(Command::new("/bin/echo").arg("call:execve: done").exec()),
            Self::Ptrace => Ok(nix::sys::ptrace::traceme()?),
            Self::Chroot => Ok(rustix::process::chroot("/")?),
            Self::Unshare => Ok(nix::sched::unshare(CloneFlags::CLONE_NEWUSER)?),
            Self::PacketSocket => Ok(rustix::net::socket(AddressFamily::PACKET, SocketType::RAW, None).map(drop)?),
            Self::NetlinkSocket => Ok(rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop)?),
            Self::SetUid => Ok(nix::unistd::setuid(Uid::from_raw(0))?),
            Self::Kill => {
                let parent = rustix::process::getppid().ok_or(io::ErrorKind::NotFound)?;
                Ok(rustix::process::test_kill_process(parent)?)
            }
            Self::ExecShared => xen::attempt::execute_shared(),
            Self::ExecWritten => xen::attempt::execute_written(),
            Self::ExecMemfd => xen::attempt::execute_memfd(),
            Self::CallMap => xen::attempt::call_map(),
            Self::CallGrant => xen::attempt::call_grant(),
            Self::CallBind => xen::attempt::call_bind(),
            Self::Allocate => Vec::<u8>::new().try_reserve_exact(256 << 20).map_err(io::Error::other),
            Self::OpenMany => (0..200).map(|_| File::open("/dev/null")).collect::<io::Result<Vec<_>>>().map(drop),
        }
    }
}
