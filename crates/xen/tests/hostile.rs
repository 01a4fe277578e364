//! Connections to the hypervisor that violate its protocol: the connection is closed, and no other
//! connection notices.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tempfile::TempDir;
use xen::emu::{self, Handle, Stats};
use xen::{Access, DomainId, Xen};

struct Machine {
    emulation: Handle,
    witness: Xen,
    before: Stats,
    _dir: TempDir,
}

fn machine() -> Machine {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let witness = emulation.open(DomainId(1)).unwrap();
    let before = emulation.stats().unwrap();
    Machine { emulation, witness, before, _dir: dir }
}

impl Machine {
    fn connect(&self) -> OwnedFd {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let path = self.emulation.dir().join(emu::HYPERVISOR_SOCKET);
        rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        socket
    }

    /// A raw connection that sent `Hello` as domain 2.
    fn enter(&self) -> OwnedFd {
        let socket = self.connect();
        send(&socket, &[1, 1, 2]);
        assert_eq!(status(&socket), Some(0));
        socket
    }

    fn is_well(&self) {
        let granted = self.witness.grant(DomainId(0), 1, Access::ReadWrite).unwrap();
        granted.end_access().unwrap();
        for _ in 0..500 {
            if self.emulation.stats().unwrap() == self.before {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        panic!("{:?} became {:?}", self.before, self.emulation.stats());
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn send(socket: &OwnedFd, words: &[u32]) {
    rustix::net::send(socket, &bytes(words), SendFlags::NOSIGNAL).unwrap();
}

/// First word of the next reply, `None` at the end of the connection. Descriptors are closed.
fn status(socket: &OwnedFd) -> Option<u32> {
    reply(socket).0
}

fn reply(socket: &OwnedFd) -> (Option<u32>, Vec<OwnedFd>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 4096];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let status = match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
        Ok(message) if message.bytes >= 4 => Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        Ok(_) | Err(Errno::CONNRESET) => None,
        Err(error) => panic!("{error}"),
    };
    let mut fds = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    (status, fds)
}

#[test]
fn a_malformed_message_costs_its_sender_the_connection() {
    let machine = machine();
    let malformed: [&[u32]; 12] = [
        &[0],
        &[11],
        &[u32::MAX],
        &[1, 1, 2],
        &[2, 0],
        &[3, 1],
        &[4, 0, 1, 2],
        &[4, 65536, 1, 1],
        &[5, 1, 0, 2],
        &[6, 0, 1],
        &[8, 65536],
        &[10],
    ];
    for words in malformed {
        let socket = machine.enter();
        send(&socket, words);
        assert_eq!(status(&socket), None, "{words:?}");
        machine.is_well();
    }
    let socket = machine.enter();
    rustix::net::send(&socket, b"odd", SendFlags::NOSIGNAL).unwrap();
    assert_eq!(status(&socket), None);
    let socket = machine.enter();
    rustix::net::send(&socket, &[0; 60_000], SendFlags::NOSIGNAL).unwrap();
    assert_eq!(status(&socket), None);
    machine.is_well();
}

#[test]
fn nothing_but_counters_before_hello() {
    let machine = machine();
    for words in [&[3][..], &[4, 0, 1, 1], &[8, 0], &[7, 1, 0], &[1, 99, 2]] {
        let socket = machine.connect();
        send(&socket, words);
        assert_eq!(status(&socket), None, "{words:?}");
    }
    let socket = machine.connect();
    send(&socket, &[2]);
    assert_eq!(status(&socket), Some(0));
    drop(socket);
    machine.is_well();
}

#[test]
fn what_belongs_to_others_is_out_of_reach() {
    let machine = machine();
    let witness = &machine.witness;
    let granted = witness.grant(DomainId(1), 1, Access::ReadWrite).unwrap();
    let mapped = witness.map(DomainId(1), granted.refs(), Access::ReadWrite).unwrap();
    let channel = witness.alloc_unbound(DomainId(1)).unwrap();
    // Neither another domain nor another connection of the same domain.
    for domain in [2, 1] {
        let socket = machine.connect();
        send(&socket, &[1, 1, domain]);
        assert_eq!(status(&socket), Some(0));
        for number in 0..50 {
            send(&socket, &[5, number, 0, 1]);
            assert_ne!(status(&socket), Some(0), "end access {number}");
            send(&socket, &[7, number, 0]);
            assert_ne!(status(&socket), Some(0), "unmap {number}");
            send(&socket, &[10, number]);
            assert_ne!(status(&socket), Some(0), "close {number}");
        }
    }
    let granted = granted.end_access().unwrap_err().granted;
    drop(witness.bind_interdomain(DomainId(1), channel.port()).unwrap());
    drop((mapped, channel));
    granted.end_access().unwrap();
    machine.is_well();
}

#[test]
fn who_maps_for_reading_gets_a_descriptor_for_reading() {
    let machine = machine();
    let granted = machine.witness.grant(DomainId(2), 1, Access::ReadWrite).unwrap();
    for (access, mode) in [(0, OFlags::RDONLY), (1, OFlags::RDWR)] {
        let socket = machine.enter();
        send(&socket, &[6, 1, access, granted.refs()[0].0]);
        let (status, fds) = reply(&socket);
        assert_eq!((status, fds.len()), (Some(0), 1));
        let flags = rustix::fs::fcntl_getfl(&fds[0]).unwrap();
        assert_eq!(flags & OFlags::RWMODE, mode);
    }
    granted.end_access().unwrap_or_else(drop);
    machine.is_well();
}

#[test]
fn descriptors_with_a_request_are_refused_and_closed() {
    let machine = machine();
    let socket = machine.enter();
    let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [ours.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    rustix::net::sendmsg(&socket, &[IoSlice::new(&bytes(&[2]))], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
    assert_eq!(status(&socket), None);
    drop(ours);
    assert_eq!(rustix::io::read(&theirs, &mut [0; 1]), Ok(0), "nobody holds the other end any more");
    machine.is_well();
}

#[test]
fn xsa_392_who_does_not_read_replies_is_dropped() {
    let machine = machine();
    let socket = machine.enter();
    let request = bytes(&[2]);
    let mut sent = 0;
    while sent < 1_000_000 && rustix::net::send(&socket, &request, SendFlags::NOSIGNAL).is_ok() {
        sent += 1;
    }
    assert!(sent < 1_000_000, "the hypervisor buffers without end");
    drop(socket);
    machine.is_well();
}

#[test]
fn a_domains_quotas_hold_and_others_do_not_feel_them() {
    let machine = machine();
    let socket = machine.enter();
    let mut refused = None;
    for count in 0..100 {
        send(&socket, &[4, 0, 4096, 1]);
        if status(&socket) != Some(0) {
            refused = Some(count);
            break;
        }
    }
    assert_eq!(refused, Some(64), "262,144 pages and no more");
    drop(socket);
    machine.is_well();
    let crowd: Vec<OwnedFd> = (0..256).map(|_| machine.enter()).collect();
    let socket = machine.connect();
    send(&socket, &[1, 1, 2]);
    assert_ne!(status(&socket), Some(0));
    drop((crowd, socket));
    machine.is_well();
}
