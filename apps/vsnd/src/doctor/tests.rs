//! The table of advice, and whole machines that are made of files and a store.

use std::path::Path;

use program::ExitStatus;
use sndif::XenbusState::{self, *};
use xenstore::Client;
use xenstore::server;

use super::advice::{Context, Diagnosis, Ends, Place, Served};
use super::machine::{DRIVERS, Machine};
use super::report::{Finding, State};
use super::shell::shell_word;
use super::{CARD, Examination, real};

const STATES: [XenbusState; 9] =
    [Unknown, Initialising, InitWait, Initialised, Connected, Closing, Closed, Reconfiguring, Reconfigured];

fn diagnosis(place: Place, frontend: XenbusState, backend: XenbusState, daemon: Served) -> Diagnosis {
    Diagnosis::of(Ends { frontend, backend, online: true, daemon }, place)
}

#[test]
fn the_states_of_both_ends_lead_to_what_is_wrong() {
    use Diagnosis as D;
    use Served as S;
    const HOST: Place = Place::Host;
    const EMULATION: Place = Place::Emulation;
    const WITH: Place = Place::Guest { driver: true };
    const WITHOUT: Place = Place::Guest { driver: false };
    for (place, frontend, backend, daemon, expected) in [
        (HOST, Connected, Connected, S::Yes, D::Works),
        (WITH, Connected, Connected, S::Unknown, D::Works),
        (HOST, Connected, Connected, S::No, D::DaemonGone),
        (HOST, Initialising, Initialising, S::No, D::NoDaemon),
        (WITH, Initialising, Initialising, S::Unknown, D::NoDaemon),
        (HOST, Initialising, Initialising, S::Yes, D::LeftAlone),
        (HOST, Initialising, InitWait, S::Yes, D::NoDriver),
        (WITHOUT, Initialising, InitWait, S::Unknown, D::NoDriver),
        (WITH, Initialising, InitWait, S::Unknown, D::DriverIdle),
        (EMULATION, Initialising, InitWait, S::Yes, D::Idle),
        (EMULATION, Closed, InitWait, S::Yes, D::Idle),
        (EMULATION, Initialising, InitWait, S::No, D::DaemonGone),
        (HOST, Closed, InitWait, S::Yes, D::LetGo),
        (WITH, Closing, InitWait, S::Unknown, D::LetGo),
        (WITHOUT, Closed, InitWait, S::Unknown, D::NoDriver),
        (HOST, Initialised, InitWait, S::Yes, D::Settling),
        (HOST, Connected, InitWait, S::Yes, D::Settling),
        (HOST, Closed, Connected, S::Yes, D::Settling),
        (HOST, Reconfiguring, InitWait, S::Yes, D::Held),
        (HOST, Initialising, Closed, S::Yes, D::ClosedByDaemon),
        (HOST, Initialising, Closed, S::No, D::DaemonGone),
        (WITH, Connected, Closing, S::Unknown, D::ClosedByDaemon),
        (HOST, Unknown, InitWait, S::Yes, D::NoFrontend),
        (HOST, Initialising, Unknown, S::Yes, D::NoBackend),
    ] {
        let found = diagnosis(place, frontend, backend, daemon);
        assert_eq!(found, expected, "{place:?}: frontend {frontend}, backend {backend}, daemon {daemon:?}");
    }
    let ends = Ends { frontend: Closing, backend: Closing, online: false, daemon: S::Yes };
    assert_eq!(Diagnosis::of(ends, HOST), D::Detaching);
}

#[test]
fn only_a_card_that_works_has_no_next_step() {
    let contexts = [
        Context::real(Some(0), None),
        Context::real(Some(5), Some(&DRIVERS[1])),
        Context::real(Some(5), None),
        Context::emulated(Path::new("/tmp/xen"), None),
    ];
    for context in contexts {
        for (frontend, backend) in STATES.iter().flat_map(|frontend| STATES.map(|backend| (*frontend, backend))) {
            for daemon in [Served::Yes, Served::No, Served::Unknown] {
                let found = diagnosis(context.place(5), frontend, backend, daemon);
                let next = context.next(found, 5, 0, 0, false);
                assert_eq!(found.state() == State::Ok, next.is_none(), "{found:?}: {next:?}");
                assert_eq!(found == Diagnosis::Works, found.state() == State::Ok);
            }
        }
    }
}

#[test]
fn the_next_step_leads_to_the_xen_that_was_looked_at() {
    let next =
        |context: &Context, diagnosis, guest, backend| context.next(diagnosis, guest, 3, backend, false).unwrap();
    let emulation = Context::emulated(Path::new("/tmp/my xen"), None);
    assert_eq!(next(&emulation, Diagnosis::NoDaemon, 1, 2), "start it: `vsndd --xen 'emu:/tmp/my xen' --domain 2`");
    assert!(next(&emulation, Diagnosis::Idle, 2, 0).ends_with("FILE.wav --xen 'emu:/tmp/my xen' --domain 2`"));
    assert!(next(&emulation, Diagnosis::NoBackend, 1, 0).contains("detach --dir '/tmp/my xen' --domain 1 --card 3`"));
    let by_variable = Context::emulated(Path::new("/tmp/xen"), Some("emu:/tmp/xen"));
    assert_eq!(next(&by_variable, Diagnosis::NoDaemon, 1, 0), "start it: `vsndd`");
    let host = Context::real(Some(0), None);
    assert_eq!(next(&host, Diagnosis::NoDriver, 5, 0), "`modprobe snd_xen_front` in the guest");
    let bind = "`echo vsnd-3 > /sys/bus/xen/drivers/vsnd/bind`";
    let expected = format!("in the guest `modprobe snd_xen_front`, or {bind}");
    assert!(next(&host, Diagnosis::LetGo, 5, 0).starts_with(&expected));
    assert!(next(&Context::real(Some(5), Some(&DRIVERS[1])), Diagnosis::LetGo, 5, 0).starts_with(bind));
    let ours = Context::real(Some(5), Some(&DRIVERS[0]));
    assert!(next(&ours, Diagnosis::LetGo, 5, 0).starts_with("`echo vsnd-3 > /sys/bus/xen/drivers/vsnd_front/bind`"));
    assert!(next(&host, Diagnosis::LetGo, 5, 7).starts_with(&expected));
    let mut on_arm = host.clone();
    on_arm.arm = true;
    assert!(next(&on_arm, Diagnosis::LetGo, 5, 7).contains("xsm=dummy"), "domains 5 and 7 are kept from each other");
    assert!(next(&on_arm, Diagnosis::LetGo, 5, 0).starts_with(&expected));
    assert_eq!(next(&host, Diagnosis::NoDaemon, 5, 7), "start `vsndd` in domain 7");
    let guest = Context::real(Some(5), None);
    assert_eq!(next(&guest, Diagnosis::NoDriver, 5, 0), "`modprobe snd_xen_front`");
    assert_eq!(next(&guest, Diagnosis::NoDaemon, 5, 0), "start `vsndd` in domain 0");
}

#[test]
fn the_card_that_is_recommended_can_be_attached() {
    assert_eq!(toolstack::parse(CARD).unwrap().len(), 1);
}

#[test]
fn words_are_quoted_as_a_shell_wants_them() {
    assert_eq!(shell_word("emu:/tmp/xen"), "emu:/tmp/xen");
    assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
    assert_eq!(shell_word(""), "''");
}

/// A machine made of files, with a store of its own.
struct World {
    root: tempfile::TempDir,
    store: Client,
    _server: server::Handle,
}

impl World {
    /// A machine of domain `own`, with a store and with what the kernel says of Xen.
    fn of_domain(own: u16) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("run/xenstored")).unwrap();
        let socket = root.path().join("run/xenstored/socket");
        let server = server::spawn(&socket).unwrap();
        let mut store = Client::connect(&socket).unwrap();
        // Only domain 0 may connect to this store; the doctor takes its own domain from this node.
        store.write("/local/domain/0/domid", own.to_string().as_bytes()).unwrap();
        let world = Self { root, store, _server: server };
        for (path, text) in [
            ("sys/hypervisor/type", "xen\n"),
            ("sys/hypervisor/version/major", "4\n"),
            ("sys/hypervisor/version/minor", "17\n"),
            ("sys/hypervisor/version/extra", ".5\n"),
            ("proc/xen/capabilities", if own == 0 { "control_d\n" } else { "\n" }),
            ("proc/1/comm", "init\n"),
            ("proc/asound/cards", " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      at\n"),
        ] {
            world.file(path, text);
        }
        world
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn devices(&self, names: &[&str]) {
        names.iter().for_each(|name| self.file(&format!("dev/xen/{name}"), ""));
    }

    fn card(&mut self, guest: u16, frontend: XenbusState, backend: XenbusState) {
        let theirs = format!("/local/domain/{guest}/device/vsnd/0");
        let ours = format!("/local/domain/0/backend/vsnd/{guest}/0");
        for (path, value) in [
            (format!("{theirs}/state"), frontend.node()),
            (format!("{theirs}/backend-id"), "0"),
            (format!("{theirs}/0/0/type"), "p"),
            (format!("{theirs}/0/1/type"), "c"),
            (format!("{ours}/state"), backend.node()),
            (format!("{ours}/frontend"), &theirs),
        ] {
            self.store.write(&path, value.as_bytes()).unwrap();
        }
    }

    fn examine(&self) -> Examination {
        real(&Machine::at(self.root.path()), None)
    }
}

#[track_caller]
fn one<'a>(found: &'a Examination, check: &str) -> &'a Finding {
    let of = |finding: &&Finding| finding.check == check;
    found.findings.iter().find(of).unwrap_or_else(|| panic!("no `{check}` in {:#?}", found.findings))
}

#[test]
fn without_xen_nothing_is_asked_of_it() {
    let root = tempfile::tempdir().unwrap();
    let found = real(&Machine::at(root.path()), None);
    assert_eq!(found.status(), ExitStatus::NoXen);
    assert!(one(&found, "Xen").next.as_ref().unwrap().contains("`vsnd emu --dir /tmp/xen`"));
    assert!(found.findings.iter().all(|finding| !finding.check.starts_with("/dev/xen")));
}

#[test]
fn a_host_that_has_everything_is_told_so() {
    let mut world = World::of_domain(0);
    world.devices(&["evtchn", "gntdev", "gntalloc", "xenbus"]);
    world.file("proc/77/comm", "vsndd\n");
    // A PCM that ALSA has on every machine.
    world.file("proc/77/cmdline", "/usr/bin/vsndd\0--sink\0alsa:null\0");
    world.file("proc/77/environ", "");
    world.card(5, Connected, Connected);
    world.store.write("/local/domain/5/name", b"studio\x1b[31m").unwrap();
    world.store.write("/local/domain/0/backend/vsnd/5/0/versions", b"2").unwrap();
    let found = world.examine();
    assert_eq!(found.status(), ExitStatus::Success, "{:#?}", found.findings);
    assert_eq!(one(&found, "Xen").found, "Xen 4.17.5; this is domain 0, the host");
    assert_eq!(one(&found, "daemon").found, "vsndd runs as process 77, serves 1 card with protocol version 2");
    assert!(one(&found, "sink").found.starts_with("alsa:null: "), "{:#?}", found.findings);
    let card = &one(&found, "domain 5 card 0").found;
    assert_eq!(card, "\"studio\u{fffd}[31m\": frontend Connected, backend Connected; streams: 1 playback, 1 capture");
}

#[test]
fn a_host_without_its_modules_is_told_which() {
    let world = World::of_domain(0);
    world.devices(&["gntdev"]);
    let found = world.examine();
    assert_eq!(found.status(), ExitStatus::Failure);
    assert_eq!(one(&found, "/dev/xen/evtchn").next.as_deref(), Some("`modprobe xen-evtchn`"));
    assert_eq!(one(&found, "/dev/xen/gntdev").state, State::Ok);
    assert_eq!(one(&found, "/dev/xen/gntalloc").state, State::Note);
    assert_eq!(one(&found, "/dev/xen/xenbus").state, State::Note);
    assert_eq!(one(&found, "XenStore").state, State::Ok);
    assert_eq!(one(&found, "daemon").next.as_deref(), Some("start it: `vsndd --sink alsa:default`"));
    assert!(one(&found, "cards").next.as_ref().unwrap().contains("xl.cfg"));
}

#[test]
fn the_daemon_is_started_with_the_configuration_that_was_examined() {
    let world = World::of_domain(0);
    world.devices(&["evtchn", "gntdev"]);
    for (text, sink) in [("", " --sink alsa:default"), ("sink = \"alsa:null\"\n", "")] {
        world.file("my files/vsndd.toml", text);
        let file = world.root.path().join("my files/vsndd.toml");
        let found = real(&Machine::at(world.root.path()), Some(&file));
        let expected = format!("start it: `vsndd --config '{}'{sink}`", file.display());
        assert_eq!(one(&found, "daemon").next.as_deref(), Some(expected.as_str()));
    }
}

#[test]
fn a_domain_0_without_a_store_is_told_to_start_it() {
    let World { root, _server: server, .. } = World::of_domain(0);
    drop(server);
    let found = real(&Machine::at(root.path()), None);
    assert_eq!(found.status(), ExitStatus::Failure);
    assert!(one(&found, "Xen").found.ends_with("this is domain 0, the host"));
    assert!(one(&found, "XenStore").next.as_ref().unwrap().contains("systemctl start xenstored"));
}

#[test]
fn a_store_that_hangs_is_given_up() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("run/xenstored")).unwrap();
    let _deaf = std::os::unix::net::UnixListener::bind(root.path().join("run/xenstored/socket")).unwrap();
    let machine = Machine::at(root.path());
    std::fs::create_dir_all(root.path().join("sys/hypervisor")).unwrap();
    std::fs::write(root.path().join("sys/hypervisor/type"), "xen").unwrap();
    let found = real(&machine, None);
    let store = one(&found, "XenStore");
    assert_eq!(store.state, State::Missing);
    assert!(store.found.contains("no reply within 2s"), "{}", store.found);
}

#[test]
fn a_guest_without_the_driver_is_told_to_load_it() {
    let mut world = World::of_domain(5);
    world.card(5, Initialising, InitWait);
    let found = world.examine();
    assert_eq!(found.status(), ExitStatus::Failure);
    assert_eq!(one(&found, "Xen").found, "Xen 4.17.5; this is domain 5, a guest");
    assert!(one(&found, "driver").next.as_ref().unwrap().starts_with("`modprobe snd_xen_front`"));
    assert_eq!(one(&found, "domain 5 card 0").next.as_deref(), Some("`modprobe snd_xen_front`"));
    assert_eq!(one(&found, "/dev/xen/gntalloc").state, State::Note, "the kernel's driver does without");
    assert!(found.findings.iter().all(|finding| finding.check != "daemon"), "that is the host's");
}

#[test]
fn a_guest_that_can_play_is_shown_its_card() {
    let mut world = World::of_domain(5);
    world.card(5, Connected, Connected);
    world.file("proc/modules", "snd_pcm 1 1\nsnd_xen_front 40960 0 - Live 0x0\n");
    let found = world.examine();
    assert_eq!(one(&found, "ALSA card").state, State::Missing);
    world.file("proc/asound/cards", " 0 [vsnd           ]: vsnd - \n                      \n");
    let found = world.examine();
    assert_eq!(found.status(), ExitStatus::Success, "{:#?}", found.findings);
    assert_eq!(one(&found, "ALSA card").found, "0 [vsnd           ]: vsnd -");
    assert_eq!(one(&found, "driver").found, "snd_xen_front is loaded");
    world.file("proc/modules", "vsnd_front 40960 0 - Live 0x0 (OE)\n");
    assert_eq!(one(&world.examine(), "driver").found, "vsnd_front is loaded");
}

#[test]
fn looking_leaves_the_store_as_it_was() {
    let mut world = World::of_domain(0);
    world.card(5, Initialising, InitWait);
    let tree = |store: &mut Client| {
        let mut all = Vec::new();
        let mut left = vec!["/local".to_owned()];
        while let Some(path) = left.pop() {
            left.extend(store.directory(&path).unwrap().iter().map(|name| format!("{path}/{name}")));
            all.push((store.read(&path).unwrap(), store.get_perms(&path).unwrap(), path));
        }
        all.sort_by(|one, other| one.2.cmp(&other.2));
        all
    };
    let before = tree(&mut world.store);
    world.examine();
    assert_eq!(tree(&mut world.store), before);
}

#[test]
fn a_guest_that_only_captures_is_not_told_to_play() {
    let context = Context::emulated(Path::new("/tmp/xen"), None);
    let next = context.next(Diagnosis::Idle, 2, 0, 0, true).unwrap();
    assert!(next.starts_with("record something: `vsnd record ") && next.contains("--domain 2"), "{next}");
}

#[test]
fn a_packaged_host_gets_no_advice_to_start_a_second_daemon() {
    let mut packaged = Context::real(Some(0), None);
    packaged.packaged = true;
    let advices = [packaged.start_daemon(0), packaged.set("sink", "alsa:default"), packaged.allow_capture()];
    for advice in advices {
        assert!(advice.contains("systemctl") && !advice.contains("`vsndd"), "{advice}");
    }
    assert!(packaged.set("sink", "pulse").contains("/etc/vsnd/vsndd.toml"));
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("usr/lib/systemd/system");
    std::fs::create_dir_all(&unit).unwrap();
    assert!(!Machine::at(dir.path()).has_unit());
    std::fs::write(unit.join("vsndd.service"), "").unwrap();
    assert!(Machine::at(dir.path()).has_unit());
}
