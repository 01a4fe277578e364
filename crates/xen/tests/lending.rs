//! Tests of lending: a process lends another one the pages and channels of one domain, and nothing else.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use xen::{Access, DomainId, Error, Refusal, SharedMemory, Usage, Xen, emu};

const HOST: DomainId = DomainId(0);
const GUEST: DomainId = DomainId(1);
const OTHER: DomainId = DomainId(2);

struct World {
    _dir: tempfile::TempDir,
    machine: emu::Handle,
    host: Xen,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = emu::spawn(dir.path()).unwrap();
        let host = machine.open(HOST).unwrap();
        Self { _dir: dir, machine, host }
    }

    /// Lends at most `pages_max` pages of the guest, from a thread that serves until the other end is gone.
    fn lend(&self, pages_max: usize) -> (Xen, JoinHandle<()>) {
        let store: OwnedFd = UnixStream::pair().unwrap().0.into();
        let (mut lender, socket) = self.host.lend(GUEST, store, pages_max).unwrap();
        let serving = std::thread::spawn(move || {
            while lender.serve().is_ok() {
                let mut waits = [rustix::event::PollFd::new(&lender, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut waits, None).unwrap();
            }
        });
        (Xen::borrowed(socket, HOST).unwrap(), serving)
    }
}

fn refusal<T>(result: xen::Result<T>) -> Refusal {
    match result {
        Err(Error::Map { refusal, .. } | Error::Bind { refusal, .. } | Error::Refused { refusal, .. }) => refusal,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is not refused"),
    }
}

#[test]
fn pages_and_channels_of_the_one_domain_are_the_borrowers() {
    let world = World::new();
    let guest = world.machine.open(GUEST).unwrap();
    let (lent, serving) = world.lend(300);
    let granted = guest.grant(HOST, 200, Access::ReadWrite).unwrap();
    let mapped = lent.map(GUEST, granted.refs(), Access::ReadWrite).unwrap();
    assert!(granted.write(199 * 4096, b"of the guest"));
    let mut seen = [0; 12];
    assert!(mapped.read(199 * 4096, &mut seen));
    assert_eq!(&seen, b"of the guest");
    let theirs = guest.alloc_unbound(HOST).unwrap();
    let ours = lent.bind_interdomain(GUEST, theirs.port()).unwrap();
    theirs.acknowledge().unwrap();
    ours.notify().unwrap();
    assert!(theirs.acknowledge().unwrap());
    assert_eq!(world.host.usage(), Usage { mapped_pages: 200, ports: 1, ..Usage::default() }, "the lender counts");
    drop((mapped, ours));
    assert_eq!(world.host.usage(), Usage::default());
    granted.end_access().unwrap();
    drop(lent);
    serving.join().unwrap();
}

#[test]
fn what_is_another_domains_is_refused_and_so_is_what_a_backend_never_does() {
    let world = World::new();
    let (guest, other) = (world.machine.open(GUEST).unwrap(), world.machine.open(OTHER).unwrap());
    let (lent, _serving) = world.lend(300);
    let granted = other.grant(HOST, 1, Access::ReadWrite).unwrap();
    let port = other.alloc_unbound(HOST).unwrap();
    assert_eq!(refusal(lent.map(OTHER, granted.refs(), Access::ReadOnly)), Refusal::GrantedToAnother);
    assert_eq!(refusal(lent.map(HOST, granted.refs(), Access::ReadOnly)), Refusal::GrantedToAnother);
    assert_eq!(refusal(lent.bind_interdomain(OTHER, port.port())), Refusal::ReservedForAnother);
    assert_eq!(refusal(lent.grant(GUEST, 1, Access::ReadOnly)), Refusal::BadArgument);
    assert_eq!(refusal(lent.alloc_unbound(GUEST)), Refusal::BadArgument);
    assert!(lent.store_fd().is_ok());
    assert_eq!(refusal(lent.store_fd()), Refusal::Quota, "one connection to the store");
    // The lender continues to serve.
    let own = guest.grant(HOST, 1, Access::ReadOnly).unwrap();
    assert!(lent.map(GUEST, own.refs(), Access::ReadOnly).is_ok());
}

#[test]
fn no_more_pages_are_lent_than_was_said() {
    let world = World::new();
    let guest = world.machine.open(GUEST).unwrap();
    let (lent, _serving) = world.lend(300);
    let granted = guest.grant(HOST, 300, Access::ReadOnly).unwrap();
    let mapped = lent.map(GUEST, granted.refs(), Access::ReadOnly).unwrap();
    let one = guest.grant(HOST, 1, Access::ReadOnly).unwrap();
    assert_eq!(refusal(lent.map(GUEST, one.refs(), Access::ReadOnly)), Refusal::Quota);
    drop(mapped);
    assert!(lent.map(GUEST, one.refs(), Access::ReadOnly).is_ok());
}

#[test]
fn a_borrower_that_ends_leaves_nothing_and_one_whose_lender_ends_sees_it() {
    let world = World::new();
    let guest = world.machine.open(GUEST).unwrap();
    let granted = guest.grant(HOST, 3, Access::ReadOnly).unwrap();
    let port = guest.alloc_unbound(HOST).unwrap();
    let (lent, serving) = world.lend(300);
    let mapped = lent.map(GUEST, granted.refs(), Access::ReadOnly).unwrap();
    let bound = lent.bind_interdomain(GUEST, port.port()).unwrap();
    assert_eq!(world.host.usage(), Usage { mapped_pages: 3, ports: 1, ..Usage::default() });
    drop((mapped, bound, lent));
    serving.join().unwrap();
    assert_eq!(world.host.usage(), Usage::default());
    granted.end_access().unwrap();

    let store: OwnedFd = UnixStream::pair().unwrap().0.into();
    let (mut lender, socket) = world.host.lend(GUEST, store, 1).unwrap();
    let asking = std::thread::spawn(move || Xen::borrowed(socket, HOST).unwrap());
    while lender.serve().is_ok() && !asking.is_finished() {}
    let lent = asking.join().unwrap();
    drop(lender);
    let liveness = lent.liveness().unwrap();
    let mut waits = [rustix::event::PollFd::from_borrowed_fd(liveness.as_fd(), rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut waits, Some(&rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap(), 1);
}

#[test]
fn who_speaks_another_language_gets_no_answer() {
    let world = World::new();
    let store: OwnedFd = UnixStream::pair().unwrap().0.into();
    let (mut lender, socket) = world.host.lend(GUEST, store, 1).unwrap();
    rustix::io::write(&socket, b"hello").unwrap();
    assert!(lender.serve().is_err());
}
