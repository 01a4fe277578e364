//! Tests of the emulated Xen's rules, each by name.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::{GrantRef, PAGE_BYTES, SharedMemory};
use tempfile::TempDir;
use xen::emu::{self, Handle, Stats};
use xen::{Access, DomainId, Error, Port, Refusal, Usage, Xen, XenSpec};

const HOST: DomainId = DomainId(0);
const GUEST: DomainId = DomainId(1);
const OTHER: DomainId = DomainId(2);

struct Machine {
    emulation: Handle,
    _dir: TempDir,
}

fn machine() -> Machine {
    let dir = tempfile::tempdir().unwrap();
    Machine { emulation: emu::spawn(&dir.path().join("xen")).unwrap(), _dir: dir }
}

impl Machine {
    fn open(&self, domain: DomainId) -> Xen {
        self.emulation.open(domain).unwrap()
    }
}

fn readable(fd: impl AsFd, patience: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::try_from(patience).unwrap())).unwrap() > 0
}

fn bytes(memory: &impl SharedMemory, offset: usize, count: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; count];
    assert!(memory.read(offset, &mut bytes));
    bytes
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Map { refusal, .. } | Error::Bind { refusal, .. } | Error::Refused { refusal, .. } => refusal,
        error => panic!("{error}"),
    }
}

#[test]
fn what_one_domain_writes_the_other_reads() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let granted = guest.grant(HOST, 3, Access::ReadWrite).unwrap();
    assert_eq!(bytes(&granted, 0, 3 * PAGE_BYTES), vec![0; 3 * PAGE_BYTES]);
    assert!(granted.refs().iter().all(|reference| reference.0 >= 8));
    granted.write(PAGE_BYTES - 1, b"across");
    let mapped = host.map(GUEST, granted.refs(), Access::ReadWrite).unwrap();
    assert_eq!(mapped.len(), 3 * PAGE_BYTES);
    assert_eq!(bytes(&mapped, PAGE_BYTES - 1, 6), b"across");
    mapped.store_release(8, 0x0102_0304);
    assert_eq!(granted.load_acquire(8), 0x0102_0304);
    assert_eq!(bytes(&granted, 8, 4), [4, 3, 2, 1]);
}

#[test]
fn pages_lie_in_the_order_of_the_references_whatever_they_belong_to() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let grants: Vec<_> = (0..3).map(|_| guest.grant(HOST, 100, Access::ReadWrite).unwrap()).collect();
    let mut refs = Vec::new();
    let mut wanted = Vec::new();
    // Pages alternate between the allocations: three hundred runs in three batches.
    for page in 0..100 {
        for (number, granted) in grants.iter().enumerate() {
            let label = [number as u8 + 1, page as u8];
            granted.write(page * PAGE_BYTES, &label);
            refs.push(granted.refs()[page]);
            wanted.push(label.to_vec());
        }
    }
    let mapped = host.map(GUEST, &refs, Access::ReadOnly).unwrap();
    let found: Vec<_> = (0..300).map(|page| bytes(&mapped, page * PAGE_BYTES, 2)).collect();
    assert_eq!(found, wanted);
    drop(mapped);
    assert_eq!(machine.emulation.stats().unwrap().mapped_pages, 0);
}

#[test]
fn grants_by_domain() {
    let machine = machine();
    let (host, guest, other) = (machine.open(HOST), machine.open(GUEST), machine.open(OTHER));
    let secret = guest.grant(HOST, 1, Access::ReadWrite).unwrap();
    let error = other.map(GUEST, secret.refs(), Access::ReadOnly).unwrap_err();
    assert_eq!(refusal(error), Refusal::GrantedToAnother);
    // A reference is valid only in the granting domain.
    let error = host.map(OTHER, secret.refs(), Access::ReadOnly).unwrap_err();
    assert_eq!(refusal(error), Refusal::NoSuchGrant);

    let shown = guest.grant(HOST, 1, Access::ReadOnly).unwrap();
    let error = host.map(GUEST, shown.refs(), Access::ReadWrite).unwrap_err();
    assert_eq!(refusal(error), Refusal::ReadOnly);
    let mapped = host.map(GUEST, shown.refs(), Access::ReadOnly).unwrap();
    shown.write(0, b"shown");
    assert_eq!(bytes(&mapped, 0, 5), b"shown");
    assert!(!mapped.write(0, b"x"));
}

#[test]
fn xsa_361_362_365_a_batch_is_mapped_whole_or_not_at_all() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let granted = guest.grant(HOST, 300, Access::ReadWrite).unwrap();
    let mut refs = granted.refs().to_vec();
    refs[290] = GrantRef(7);
    match host.map(GUEST, &refs, Access::ReadWrite).unwrap_err() {
        Error::Map { from: GUEST, reference: GrantRef(7), refusal: Refusal::NoSuchGrant } => {}
        error => panic!("{error}"),
    }
    assert_eq!(host.usage(), Usage::default());
    assert_eq!(machine.emulation.stats().unwrap().mapped_pages, 0);
    granted.end_access().unwrap();
    assert_eq!(refusal(host.map(GUEST, &[], Access::ReadWrite).unwrap_err()), Refusal::BadArgument);
    assert_eq!(refusal(guest.grant(HOST, 0, Access::ReadWrite).unwrap_err()), Refusal::BadArgument);
}

#[test]
fn end_access_fails_while_mapped() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let granted = guest.grant(HOST, 2, Access::ReadWrite).unwrap();
    let mapped = host.map(GUEST, &granted.refs()[..1], Access::ReadWrite).unwrap();
    let granted = granted.end_access().unwrap_err().granted;
    granted.write(0, b"still shared");
    assert_eq!(bytes(&mapped, 0, 12), b"still shared");
    drop(mapped);
    granted.end_access().unwrap();
    assert_eq!(machine.emulation.stats().unwrap().granted_pages, 0);
}

#[test]
fn xsa_396_pages_dropped_while_mapped_are_quarantined_until_the_last_mapping_goes() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let granted = guest.grant(HOST, 2, Access::ReadWrite).unwrap();
    let refs = granted.refs().to_vec();
    let mapped = host.map(GUEST, &refs, Access::ReadWrite).unwrap();
    drop(granted);
    assert_eq!(guest.usage(), Usage { quarantined_pages: 2, ..Usage::default() });
    assert_eq!(machine.emulation.stats().unwrap().granted_pages, 2);
    assert_eq!(refusal(host.map(GUEST, &refs, Access::ReadWrite).unwrap_err()), Refusal::Revoked);
    let next = guest.grant(HOST, 2, Access::ReadWrite).unwrap();
    next.write(0, b"next");
    assert_eq!(bytes(&mapped, 0, 4), [0; 4]);
    drop((mapped, next));
    assert_eq!(machine.emulation.stats().unwrap().granted_pages, 0);
}

#[test]
fn pages_of_a_dead_domain_stay_with_those_who_map_them() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let granted = guest.grant(HOST, 1, Access::ReadWrite).unwrap();
    granted.write(0, b"testament");
    let mapped = host.map(GUEST, granted.refs(), Access::ReadWrite).unwrap();
    drop((granted, guest));
    assert_eq!(bytes(&mapped, 0, 9), b"testament");
    assert!(mapped.write(0, b"x"));
}

#[test]
fn references_of_a_dead_connection_do_not_alias() {
    let machine = machine();
    let host = machine.open(HOST);
    let guest = machine.open(GUEST);
    let granted = guest.grant(HOST, 4, Access::ReadWrite).unwrap();
    let stale = granted.refs().to_vec();
    drop((granted, guest));
    let guest = machine.open(GUEST);
    let granted = guest.grant(HOST, 4, Access::ReadWrite).unwrap();
    assert!(granted.refs().iter().all(|reference| !stale.contains(reference)));
    for reference in stale {
        assert_eq!(refusal(host.map(GUEST, &[reference], Access::ReadOnly).unwrap_err()), Refusal::NoSuchGrant);
    }
}

#[test]
fn several_connections_are_one_domain_until_the_last_goes() {
    let machine = machine();
    let host = machine.open(HOST);
    let mut store = host.store().unwrap();
    let one = machine.open(GUEST);
    let two = machine.open(GUEST);
    assert_eq!(store.read_string("/local/domain/1/domid").unwrap(), "1");
    let granted = one.grant(HOST, 1, Access::ReadWrite).unwrap();
    let refs = granted.refs().to_vec();
    drop((granted, one));
    assert_eq!(refusal(host.map(GUEST, &refs, Access::ReadOnly).unwrap_err()), Refusal::NoSuchGrant);
    assert!(store.is_domain_introduced(1).unwrap());
    drop(two);
    assert_eq!(settled(&machine, |stats| stats.domains == 1).domains, 1);
    assert!(!store.is_domain_introduced(1).unwrap());
    assert!(!store.exists("/local/domain/1").unwrap());
}

/// Waits until the counters satisfy `wanted`, since the end of a connection is noticed a little later.
fn settled(machine: &Machine, wanted: impl Fn(&Stats) -> bool) -> Stats {
    for _ in 0..1000 {
        let stats = machine.emulation.stats().unwrap();
        if wanted(&stats) {
            return stats;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("not within two seconds: {:?}", machine.emulation.stats());
}

#[test]
fn a_domains_life_and_death_are_announced_in_the_store() {
    let machine = machine();
    let host = machine.open(HOST);
    let mut store = host.store().unwrap();
    store.watch("@introduceDomain", "come").unwrap();
    store.watch("@releaseDomain", "go").unwrap();
    let mut told = |token: &str| {
        for _ in 0..10 {
            match store.wait_event(Duration::from_secs(2)).unwrap() {
                Some(event) if event.token == token => return true,
                _ => {}
            }
        }
        false
    };
    assert!(told("come") && told("go"), "watches fire once at the start");
    let guest = machine.open(GUEST);
    assert!(told("come"));
    let mut own = guest.store().unwrap();
    assert_eq!(own.read_string("domid").unwrap(), "1");
    assert_eq!(own.read_string("name").unwrap(), "domain-1");
    assert!(own.write("name", b"x").is_err(), "a guest does not rename itself");
    own.write("data/x", b"y").unwrap();
    drop(guest);
    assert!(told("go"));
    assert!(own.read_string("domid").is_err());
}

#[test]
fn event_channels_carry_events_both_ways() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let front = guest.alloc_unbound(HOST).unwrap();
    front.notify().unwrap();
    let back = host.bind_interdomain(GUEST, front.port()).unwrap();
    assert!(readable(&back, Duration::ZERO), "pending at once");
    assert!(back.acknowledge().unwrap());
    assert!(!back.acknowledge().unwrap());
    assert!(!readable(&front, Duration::ZERO));
    back.notify().unwrap();
    assert!(readable(&front, Duration::ZERO));
    assert!(front.acknowledge().unwrap());
    front.rearm().unwrap();
    for _ in 0..3 {
        front.notify().unwrap();
    }
    assert!(back.acknowledge().unwrap());
    assert!(!readable(&back, Duration::ZERO), "several notifications are one event");
}

#[test]
fn a_port_is_bound_once_and_by_the_domain_it_is_for() {
    let machine = machine();
    let (host, guest, other) = (machine.open(HOST), machine.open(GUEST), machine.open(OTHER));
    let front = guest.alloc_unbound(HOST).unwrap();
    let bind = |xen: &Xen, domain, port| refusal(xen.bind_interdomain(domain, port).unwrap_err());
    assert_eq!(bind(&other, GUEST, front.port()), Refusal::ReservedForAnother);
    assert_eq!(bind(&host, OTHER, front.port()), Refusal::NoSuchPort);
    assert_eq!(bind(&host, GUEST, Port(0)), Refusal::NoSuchPort);
    let _back = host.bind_interdomain(GUEST, front.port()).unwrap();
    assert_eq!(bind(&host, GUEST, front.port()), Refusal::Bound);
}

#[test]
fn a_channel_closed_at_either_end_harms_nobody() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let front = guest.alloc_unbound(HOST).unwrap();
    let back = host.bind_interdomain(GUEST, front.port()).unwrap();
    drop(back);
    front.notify().unwrap();
    // On Xen, too, the port is unbound again, for the same domain, and a new daemon finds the event.
    let back = host.bind_interdomain(GUEST, front.port()).unwrap();
    assert!(back.acknowledge().unwrap());
    let port = front.port();
    drop(front);
    back.notify().unwrap();
    back.notify().unwrap();
    assert!(!back.acknowledge().unwrap());
    assert_eq!(refusal(host.bind_interdomain(GUEST, port).unwrap_err()), Refusal::NoSuchPort);
    drop(back);
    assert_eq!(machine.emulation.stats().unwrap().ports, 0);
    assert_eq!(host.usage(), Usage::default());
}

#[test]
fn xsa_331_332_391_an_event_storm_fills_nothing() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let front = guest.alloc_unbound(HOST).unwrap();
    let back = host.bind_interdomain(GUEST, front.port()).unwrap();
    for _ in 0..200_000 {
        front.notify().unwrap();
    }
    assert!(back.acknowledge().unwrap());
    assert!(!back.acknowledge().unwrap());
    // The machine continues to serve requests.
    assert!(guest.grant(HOST, 1, Access::ReadWrite).is_ok());
}

#[test]
fn every_notification_is_an_edge() {
    use rustix::event::epoll::{self, EventData, EventFlags};
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let front = guest.alloc_unbound(HOST).unwrap();
    let back = host.bind_interdomain(GUEST, front.port()).unwrap();
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&set, &back, EventData::new_u64(1), EventFlags::IN | EventFlags::ET).unwrap();
    let wait = || {
        let mut events = Vec::with_capacity(4);
        epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::default())).unwrap()
    };
    assert_eq!(wait(), 1, "pending since it was bound");
    assert_eq!(wait(), 0);
    for _ in 0..3 {
        front.notify().unwrap();
        assert_eq!(wait(), 1, "without any read");
        back.rearm().unwrap();
        assert_eq!(wait(), 0);
    }
}

#[test]
fn the_hypervisors_death_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let spec = emulation.spec();
    let guest = emulation.open(GUEST).unwrap();
    let granted = guest.grant(HOST, 1, Access::ReadWrite).unwrap();
    let channel = guest.alloc_unbound(HOST).unwrap();
    let liveness = guest.liveness().unwrap();
    assert!(!readable(liveness, Duration::ZERO));
    emulation.stop().unwrap();
    assert!(readable(liveness, Duration::from_secs(2)));
    assert!(matches!(guest.alloc_unbound(HOST), Err(Error::HypervisorGone)));
    channel.notify().unwrap();
    granted.end_access().unwrap();
    assert!(matches!(Xen::open(&spec, None), Err(Error::NoEmulation { .. })));
}

#[test]
fn a_missing_emulation_says_what_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nowhere");
    let error = Xen::open(&XenSpec::Emu(missing.clone()), None).unwrap_err().to_string();
    let dir = missing.display();
    assert_eq!(error, format!("no emulated Xen in {dir}: start `vsnd emu --dir {dir}`"));
}

#[test]
fn a_directory_in_use_names_its_user() {
    let machine = machine();
    let dir = machine.emulation.dir();
    let error = emu::spawn(dir).err().unwrap().to_string();
    assert_eq!(error, format!("emulation directory {} is in use by process {}", dir.display(), std::process::id()));
    machine.open(HOST);
}

#[test]
fn what_a_dead_hypervisor_left_is_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("xen");
    std::fs::create_dir(&place).unwrap();
    for name in [emu::HYPERVISOR_SOCKET, emu::STORE_SOCKET] {
        drop(UnixListener::bind(place.join(name)).unwrap());
    }
    assert!(matches!(Xen::open(&XenSpec::Emu(place.clone()), None), Err(Error::NoEmulation { .. })));
    let emulation = emu::spawn(&place).unwrap();
    emulation.open(HOST).unwrap();
    drop(emulation);
    let place = dir.path().join("new");
    let _emulation = emu::spawn(&place).unwrap();
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn rounds_of_everything_leave_nothing_behind() {
    // A process of its own would be cleaner, but other tests' threads only add noise that goes away:
    // compare the emulation's counters exactly, the process's own tables with some tolerance.
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let before = machine.emulation.stats().unwrap();
    for _ in 0..1000 {
        let granted = guest.grant(HOST, 5, Access::ReadWrite).unwrap();
        let mapped = host.map(GUEST, granted.refs(), Access::ReadWrite).unwrap();
        let front = guest.alloc_unbound(HOST).unwrap();
        let back = host.bind_interdomain(GUEST, front.port()).unwrap();
        assert!(host.map(GUEST, &[GrantRef(1)], Access::ReadWrite).is_err());
        assert!(host.bind_interdomain(GUEST, Port(0)).is_err());
        drop((mapped, front, back));
        granted.end_access().unwrap();
    }
    assert_eq!(machine.emulation.stats().unwrap(), before);
    assert_eq!((host.usage(), guest.usage()), (Usage::default(), Usage::default()));
}

#[test]
fn a_thousand_streams_fit_into_one_domain() {
    let machine = machine();
    let (host, guest) = (machine.open(HOST), machine.open(GUEST));
    let mut held = Vec::new();
    for _ in 0..1000 {
        let grants: Vec<_> = [1, 1, 1, 8].map(|pages| guest.grant(HOST, pages, Access::ReadWrite).unwrap()).into();
        let maps: Vec<_> =
            grants.iter().map(|granted| host.map(GUEST, granted.refs(), Access::ReadWrite).unwrap()).collect();
        let fronts = [guest.alloc_unbound(HOST).unwrap(), guest.alloc_unbound(HOST).unwrap()];
        let backs = fronts.each_ref().map(|front| host.bind_interdomain(GUEST, front.port()).unwrap());
        held.push((grants, maps, fronts, backs));
    }
    assert_eq!(guest.usage(), Usage { granted_pages: 11_000, ports: 2000, ..Usage::default() });
}

#[test]
fn a_toolstack_is_told_and_can_attach_devices() {
    struct Attach;
    impl emu::Toolstack for Attach {
        fn domain_started(&mut self, domain: DomainId, store: &mut xenstore::server::Store) {
            store.write(&format!("/local/domain/{domain}/device/vsnd/0/state"), b"1").unwrap();
            store.write(&format!("/local/domain/0/backend/vsnd/{domain}/0/state"), b"1").unwrap();
        }
        fn domain_died(&mut self, domain: DomainId, store: &mut xenstore::server::Store) {
            store.rm(&format!("/local/domain/0/backend/vsnd/{domain}")).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn_with(&dir.path().join("xen"), Attach).unwrap();
    let host = emulation.open(HOST).unwrap();
    let mut store = host.store().unwrap();
    for _ in 0..2 {
        let guest = emulation.open(GUEST).unwrap();
        assert_eq!(guest.store().unwrap().read_string("device/vsnd/0/state").unwrap(), "1");
        assert!(store.exists("/local/domain/0/backend/vsnd/1/0").unwrap());
        drop(guest);
        while store.is_domain_introduced(1).unwrap() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!store.exists("/local/domain/0/backend/vsnd/1").unwrap());
    }
}

#[test]
fn a_handles_store_connections_end_with_it() {
    let machine = machine();
    let host = machine.open(HOST);
    let mut store = host.store().unwrap();
    assert_eq!(store.read_string("domid").unwrap(), "0");
    assert_eq!(machine.emulation.stats().unwrap().store_connections, 1);
    drop(host);
    assert!(store.read_string("domid").is_err());
    settled(&machine, |stats| stats.store_connections == 0);
}

#[test]
fn a_domains_directory_may_be_gone_before_it_dies() {
    let machine = machine();
    let guest = machine.open(GUEST);
    let host = machine.open(HOST);
    let mut store = host.store().unwrap();
    store.rm("/local").unwrap();
    drop(guest);
    settled(&machine, |stats| stats.domains == 1);
    let guest = machine.open(GUEST);
    assert_eq!(guest.store().unwrap().read_string("domid").unwrap(), "1");
}

#[test]
fn a_machine_without_xen_is_told_which_module_to_load() {
    if std::path::Path::new("/dev/xen/gntdev").exists() {
        return;
    }
    let error = Xen::open(&XenSpec::Dev, None).unwrap_err().to_string();
    assert!(error.contains("/dev/xen/gntdev") && error.contains("modprobe xen-gntdev"), "{error}");
}
