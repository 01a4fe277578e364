//! Tests that need real processes: killed domains, leaked descriptors and mappings.
//!
//! The other process is this test program again; a variable of its environment makes it run only
//! [`domain_process`]. It reports on standard error, line by line, and ends with its standard input.

use std::io::{BufRead, BufReader, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sndif::{GrantRef, PAGE_BYTES, SharedMemory};
use xen::emu::{self, Handle, Stats};
use xen::{Access, DomainId, Port, Refusal, Usage, Xen, XenSpec};

const HOST: DomainId = DomainId(0);
const GUEST: DomainId = DomainId(1);
const ROLE: &str = "XEN_TEST_ROLE";
const DIR: &str = "XEN_TEST_DIR";
const GIVEN: &str = "XEN_TEST_GIVEN";

/// A second process that acts as a domain.
struct Process {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Process {
    fn start(role: &str, dir: &Path, given: &[u32]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "domain_process", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env(DIR, dir)
            .env(GIVEN, given.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn numbers(&mut self) -> Vec<u32> {
        let line = self.line();
        line.split(' ').map(|word| word.parse().unwrap_or_else(|_| panic!("the other process: {line}"))).collect()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the process to end by itself; panics with its remaining output if it failed.
    fn end(&mut self) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "the other process: {rest}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.child.kill();
        let _: std::io::Result<_> = self.child.wait();
    }
}

fn wait_for_parent() {
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
}

#[test]
#[ignore = "run by the other tests as a process of its own"]
fn domain_process() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let spec = XenSpec::Emu(dir.clone().into());
    let given: Vec<u32> = std::env::var(GIVEN)
        .unwrap()
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().unwrap())
        .collect();
    match std::env::var(ROLE).unwrap().as_str() {
        "reader" => reader(&spec, &given),
        "owner" => owner(&spec, &given),
        "busy" => busy(&spec),
        "rounds" => rounds(&spec),
        "full" => full(&spec, &given),
        "hypervisor" => hypervisor(Path::new(&dir)),
        role => panic!("no role {role}"),
    }
}

/// Maps the given reference, reports the bytes it reads, answers in the next page.
fn reader(spec: &XenSpec, given: &[u32]) {
    let xen = Xen::open(spec, Some(GUEST)).unwrap();
    let refs: Vec<GrantRef> = given.iter().map(|reference| GrantRef(*reference)).collect();
    let mapped = xen.map(HOST, &refs, Access::ReadWrite).unwrap();
    let mut bytes = [0; 4];
    assert!(mapped.read(0, &mut bytes));
    assert!(mapped.write(PAGE_BYTES, b"answer"));
    eprintln!("{}", u32::from_le_bytes(bytes));
    wait_for_parent();
}

/// Holds one of everything: a mapping and a channel of the parent's, a grant and two ports, a store
/// connection with a watch and an open transaction.
fn owner(spec: &XenSpec, given: &[u32]) {
    let xen = Xen::open(spec, Some(GUEST)).unwrap();
    let _mapped = xen.map(HOST, &[GrantRef(given[0])], Access::ReadWrite).unwrap();
    let _bound = xen.bind_interdomain(HOST, Port(given[1])).unwrap();
    let granted = xen.grant(HOST, 1, Access::ReadWrite).unwrap();
    assert!(granted.write(0, b"testament"));
    let channel = xen.alloc_unbound(HOST).unwrap();
    let _unbound = xen.alloc_unbound(HOST).unwrap();
    let mut store = xen.store().unwrap();
    store.watch("/local/domain/1", "watch").unwrap();
    store
        .transaction(|transaction| {
            transaction.write("data/x", b"never seen")?;
            eprintln!("{} {}", granted.refs()[0].0, channel.port());
            wait_for_parent();
            Ok(())
        })
        .unwrap();
}

/// Grants, maps its own pages, allocates, binds, and releases in a loop until it is killed.
fn busy(spec: &XenSpec) {
    let xen = Xen::open(spec, Some(GUEST)).unwrap();
    eprintln!("0");
    loop {
        let granted = xen.grant(GUEST, 3, Access::ReadWrite).unwrap();
        let _mapped = xen.map(GUEST, granted.refs(), Access::ReadWrite).unwrap();
        let channel = xen.alloc_unbound(GUEST).unwrap();
        let _bound = xen.bind_interdomain(GUEST, channel.port()).unwrap();
        let mut store = xen.store().unwrap();
        store.write("data/x", b"y").unwrap();
    }
}

fn entries(of: &str) -> usize {
    match std::fs::read_dir(of) {
        Ok(entries) => entries.count(),
        Err(_) => std::fs::read_to_string(of).unwrap().lines().count(),
    }
}

/// Runs a thousand rounds; descriptors and mappings before and after are the same.
fn rounds(spec: &XenSpec) {
    let host = Xen::open(spec, Some(HOST)).unwrap();
    let guest = Xen::open(spec, Some(GUEST)).unwrap();
    let round = || {
        let granted = guest.grant(HOST, 5, Access::ReadWrite).unwrap();
        let mapped = host.map(GUEST, granted.refs(), Access::ReadWrite).unwrap();
        let front = guest.alloc_unbound(HOST).unwrap();
        let back = host.bind_interdomain(GUEST, front.port()).unwrap();
        assert!(host.map(GUEST, &[granted.refs()[0], GrantRef(1)], Access::ReadWrite).is_err());
        drop((mapped, front, back, guest.store().unwrap()));
        granted.end_access().unwrap();
    };
    (0..10).for_each(|_| round());
    let tables = || (entries("/proc/self/fd"), entries("/proc/self/maps"));
    let before = tables();
    (0..1000).for_each(|_| round());
    assert_eq!(tables(), before);
    assert_eq!((host.usage(), guest.usage()), (Usage::default(), Usage::default()));
    eprintln!("0");
}

/// Uses up all descriptors, so that every descriptor passed to this process is lost.
fn full(spec: &XenSpec, given: &[u32]) {
    let xen = Xen::open(spec, Some(GUEST)).unwrap();
    let channel = xen.alloc_unbound(GUEST).unwrap();
    let mut held = Vec::new();
    while let Ok(fd) = std::fs::File::open("/dev/null") {
        held.push(fd);
    }
    let is_full = |error: xen::Error| assert!(error.to_string().contains("Too many open files"), "{error}");
    for _ in 0..20 {
        is_full(xen.grant(HOST, 1, Access::ReadWrite).unwrap_err());
        is_full(xen.map(HOST, &[GrantRef(given[0])], Access::ReadWrite).unwrap_err());
        is_full(xen.alloc_unbound(HOST).unwrap_err());
        is_full(xen.bind_interdomain(GUEST, channel.port()).unwrap_err());
    }
    assert_eq!(xen.usage(), Usage { ports: 1, ..Usage::default() });
    drop(held);
    drop(xen.bind_interdomain(GUEST, channel.port()).unwrap());
    eprintln!("0");
    wait_for_parent();
}

fn hypervisor(dir: &Path) {
    let hypervisor = emu::Hypervisor::bind(dir).unwrap();
    eprintln!("0");
    hypervisor.run(std::io::stdin().as_fd()).unwrap();
}

fn settled(emulation: &Handle, wanted: impl Fn(&Stats) -> bool) -> Stats {
    for _ in 0..1000 {
        let stats = emulation.stats().unwrap();
        if wanted(&stats) {
            return stats;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("not within two seconds: {:?}", emulation.stats());
}

#[test]
fn a_child_process_maps_and_gets_data_written_by_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let host = emulation.open(HOST).unwrap();
    let granted = host.grant(GUEST, 2, Access::ReadWrite).unwrap();
    granted.write(0, &4711_u32.to_le_bytes());
    let refs: Vec<u32> = granted.refs().iter().map(|reference| reference.0).collect();
    let mut child = Process::start("reader", emulation.dir(), &refs);
    assert_eq!(child.numbers(), [4711]);
    let mut answer = [0; 6];
    assert!(granted.read(PAGE_BYTES, &mut answer));
    assert_eq!(&answer, b"answer");
    let granted = granted.end_access().unwrap_err().granted;
    child.end();
    settled(&emulation, |stats| stats.mapped_pages == 0);
    granted.end_access().unwrap();
}

#[test]
fn a_killed_process_releases_everything_and_its_peers_see_it() {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let host = emulation.open(HOST).unwrap();
    let mut store = host.store().unwrap();
    store.watch("@releaseDomain", "dead").unwrap();
    assert!(store.wait_event(Duration::from_secs(2)).unwrap().is_some(), "fires once at the start");
    let before = emulation.stats().unwrap();
    for _ in 0..5 {
        let granted = host.grant(GUEST, 1, Access::ReadWrite).unwrap();
        let channel = host.alloc_unbound(GUEST).unwrap();
        let mut child = Process::start("owner", emulation.dir(), &[granted.refs()[0].0, channel.port().0]);
        let [reference, port] = child.numbers()[..] else { panic!("two numbers") };
        let mapped = host.map(GUEST, &[GrantRef(reference)], Access::ReadWrite).unwrap();
        let bound = host.bind_interdomain(GUEST, Port(port)).unwrap();
        let granted = granted.end_access().unwrap_err().granted;

        child.kill();

        let dead = store.wait_event(Duration::from_secs(2)).unwrap().expect("the death is announced");
        assert_eq!(dead.token, "dead");
        assert!(!store.exists("/local/domain/1").unwrap());
        let mut bytes = [0; 9];
        assert!(mapped.read(0, &mut bytes));
        assert_eq!(&bytes, b"testament");
        assert!(host.map(GUEST, &[GrantRef(reference)], Access::ReadOnly).is_err());
        bound.notify().unwrap();
        channel.notify().unwrap();
        granted.end_access().unwrap();
        drop((mapped, bound, channel));
        assert_eq!(settled(&emulation, |stats| *stats == before), before);
    }
    assert_eq!(host.usage(), Usage::default());
}

#[test]
fn a_process_killed_at_any_moment_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut hypervisor = Process::start("hypervisor", &dir.path().join("xen"), &[]);
    assert_eq!(hypervisor.numbers(), [0]);
    let dir = dir.path().join("xen");
    let descriptors = format!("/proc/{}/fd", hypervisor.child.id());
    let before = (emu::stats(&dir).unwrap(), entries(&descriptors));
    for moment in 0..12_u64 {
        let mut child = Process::start("busy", &dir, &[]);
        assert_eq!(child.numbers(), [0]);
        std::thread::sleep(Duration::from_micros(moment * 737));
        child.kill();
        let mut after = before;
        for _ in 0..1000 {
            after = (emu::stats(&dir).unwrap(), entries(&descriptors));
            if after == before {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(after, before);
    }
    hypervisor.kill();
}

#[test]
fn a_thousand_rounds_leave_descriptors_and_mappings_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let mut child = Process::start("rounds", emulation.dir(), &[]);
    assert_eq!(child.numbers(), [0]);
    child.end();
}

#[test]
fn a_process_without_descriptors_left_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let host = emulation.open(HOST).unwrap();
    let granted = host.grant(GUEST, 1, Access::ReadWrite).unwrap();
    let mut child = Process::start("full", emulation.dir(), &[granted.refs()[0].0]);
    assert_eq!(child.numbers(), [0]);
    let stats = emulation.stats().unwrap();
    assert_eq!((stats.granted_pages, stats.mapped_pages, stats.ports), (1, 0, 1));
    child.end();
}

#[test]
fn a_killed_hypervisor_is_seen_and_can_be_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("xen");
    let spec = XenSpec::Emu(dir.clone());
    for _ in 0..2 {
        let mut hypervisor = Process::start("hypervisor", &dir, &[]);
        assert_eq!(hypervisor.numbers(), [0]);
        let error = emu::spawn(&dir).err().unwrap().to_string();
        assert!(error.ends_with(&format!("in use by process {}", hypervisor.child.id())), "{error}");
        let guest = Xen::open(&spec, Some(GUEST)).unwrap();
        hypervisor.kill();
        let mut fds = [PollFd::from_borrowed_fd(guest.liveness().unwrap(), PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&Timespec { tv_sec: 2, tv_nsec: 0 })), Ok(1));
        assert!(matches!(guest.store(), Err(xen::Error::HypervisorGone)));
        assert!(matches!(Xen::open(&spec, None), Err(xen::Error::NoEmulation { .. })));
    }
}

#[test]
fn a_domain_without_read_access_is_refused_in_another_process_too() {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let host = emulation.open(HOST).unwrap();
    let granted = host.grant(DomainId(2), 1, Access::ReadWrite).unwrap();
    let mut child = Process::start("reader", emulation.dir(), &[granted.refs()[0].0]);
    let mut said = String::new();
    child.lines.read_to_string(&mut said).unwrap();
    assert!(said.contains(&format!("{:?}", Refusal::GrantedToAnother)), "{said}");
}

#[test]
fn xens_own_tools_read_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let emulation = emu::spawn(&dir.path().join("xen")).unwrap();
    let _guest = emulation.open(GUEST).unwrap();
    let run = |tool: &str, arguments: &[&str]| {
        let socket = emulation.dir().join(emu::STORE_SOCKET);
        Command::new(tool).args(arguments).env("XENSTORED_PATH", socket).output()
    };
    let Ok(listed) = run("xenstore-ls", &["-fp", "/local/domain"]) else {
        eprintln!("skipped: no xenstore-ls (package xenstore-utils)");
        return;
    };
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.status.success(), "{text}");
    let has = |path: &str, rest: &str| text.lines().any(|line| line.starts_with(path) && line.contains(rest));
    assert!(has("/local/domain/0/name = \"Domain-0\"", "(n0)"), "{text}");
    assert!(has("/local/domain/1/domid = \"1\"", "(n0,r1)"), "{text}");
    assert!(has("/local/domain/1/data = \"\"", "(n1)"), "{text}");
    assert!(run("xenstore-write", &["/local/domain/1/data/x", "from outside"]).unwrap().status.success());
    let read = run("xenstore-read", &["/local/domain/1/data/x"]).unwrap();
    assert_eq!(read.stdout, b"from outside\n");
}
