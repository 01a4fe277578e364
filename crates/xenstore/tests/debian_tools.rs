//! Tests of Debian's own tools (package xenstore-utils) against this server: their output and exit status.

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use common::Fixture;
use vsnd_xenstore::server::ConnId;

/// Makes a command that runs one tool against this fixture's server.
fn tool(fixture: &Fixture, name: &str, arguments: &[&str]) -> Command {
    let path = format!("/usr/bin/xenstore-{name}");
    assert!(std::path::Path::new(&path).exists(), "{path} is missing: install xenstore-utils");
    let mut command = Command::new(path);
    command.args(arguments).env("XENSTORED_PATH", fixture.socket()).stdin(Stdio::null());
    command
}

#[track_caller]
fn run(fixture: &Fixture, name: &str, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = tool(fixture, name, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().expect("the tool ended by itself"), text(stdout), text(stderr))
}

#[track_caller]
fn succeeds(fixture: &Fixture, name: &str, arguments: &[&str], output: &str) {
    assert_eq!(run(fixture, name, arguments), (0, output.to_owned(), String::new()), "xenstore-{name} {arguments:?}");
}

#[track_caller]
fn fails(fixture: &Fixture, name: &str, arguments: &[&str], message: &str) {
    let (status, stdout, stderr) = run(fixture, name, arguments);
    assert_eq!((status, stdout.as_str()), (1, ""), "xenstore-{name} {arguments:?}: {stderr}");
    assert!(stderr.contains(message), "xenstore-{name} {arguments:?}: {stderr}");
}

#[test]
fn write_and_read_give_values_back() {
    let fixture = Fixture::new();
    succeeds(&fixture, "write", &["/a/b", "hello", "/a/c", "two words"], "");
    succeeds(&fixture, "read", &["/a/b", "/a/c"], "hello\ntwo words\n");
    succeeds(&fixture, "read", &["-p", "/a/b"], "/a/b: hello\n");
    assert_eq!(fixture.dom0().read("/a/c").unwrap(), b"two words");
}

#[test]
fn reading_a_missing_node_fails() {
    let fixture = Fixture::new();
    fails(&fixture, "read", &["/none"], "couldn't read path /none");
    fails(&fixture, "read", &["no path"], "couldn't read path no path");
}

#[test]
fn writing_a_bad_path_fails_and_changes_nothing() {
    let fixture = Fixture::new();
    fails(&fixture, "write", &["/good", "1", "/b d", "2"], "could not write path /b d");
    assert!(!fixture.dom0().exists("/good").unwrap(), "the tool writes in one transaction");
}

#[test]
fn list_names_children() {
    let fixture = Fixture::new();
    let mut store = fixture.dom0();
    for path in ["/d/x", "/d/y", "/d/y/z"] {
        store.mkdir(path).unwrap();
    }
    succeeds(&fixture, "list", &["/d"], "x\ny\n");
    succeeds(&fixture, "list", &["-p", "/d"], "/d/x\n/d/y\n");
    succeeds(&fixture, "list", &["/d/x"], "");
    fails(&fixture, "list", &["/none"], "could not list path /none");
}

#[test]
fn list_gets_directories_too_large_for_one_message() {
    let fixture = Fixture::new();
    let mut store = fixture.dom0();
    let names: Vec<String> = (1000..2500).map(|n| format!("entry-{n}")).collect();
    store.transaction(|t| names.iter().try_for_each(|name| t.mkdir(&format!("/large/{name}")))).unwrap();
    succeeds(&fixture, "list", &["/large"], &(names.join("\n") + "\n"));
}

#[test]
fn ls_shows_the_tree_with_values_and_permissions() {
    let fixture = Fixture::new();
    let mut store = fixture.dom0();
    store.write("/vm/name", b"music\x01").unwrap();
    store.write("/vm/device/vsnd/0/state", b"4").unwrap();
    store.set_perms("/vm/name", &[vsnd_xenstore::Perm::none(3), vsnd_xenstore::Perm::read(0)]).unwrap();
    succeeds(
        &fixture,
        "ls",
        &[],
        "vm = \"\"\n device = \"\"\n  vsnd = \"\"\n   0 = \"\"\n    state = \"4\"\n name = \"music\\001\"\n",
    );
    succeeds(
        &fixture,
        "ls",
        &["-fp", "/vm"],
        "/vm/device = \"\"   (n0)\n/vm/device/vsnd = \"\"   (n0)\n/vm/device/vsnd/0 = \"\"   (n0)\n\
         /vm/device/vsnd/0/state = \"4\"   (n0)\n/vm/name = \"music\\001\"   (n3,r0)\n",
    );
    fails(&fixture, "ls", &["/none"], "/none");
}

#[test]
fn exists_tells_by_its_exit_status() {
    let fixture = Fixture::new();
    fixture.dom0().mkdir("/there").unwrap();
    succeeds(&fixture, "exists", &["/there"], "");
    fails(&fixture, "exists", &["/none"], "");
}

#[test]
fn rm_removes_a_tree_and_tidies_up_above() {
    let fixture = Fixture::new();
    let mut store = fixture.dom0();
    store.write("/a/b/c", b"").unwrap();
    store.write("/x/y/z", b"").unwrap();
    succeeds(&fixture, "rm", &["/a/b"], "");
    assert_eq!(store.directory("/a").unwrap(), Vec::<String>::new());
    succeeds(&fixture, "rm", &["-t", "/x/y/z"], "");
    assert!(!store.exists("/x").unwrap());
    fails(&fixture, "rm", &["/none/none"], "could not remove path /none/none");
    fails(&fixture, "rm", &["/"], "could not remove path /");
}

#[test]
fn chmod_sets_permissions_of_one_node_and_of_all_below() {
    use vsnd_xenstore::Perm;
    let fixture = Fixture::new();
    let mut store = fixture.dom0();
    store.mkdir("/a/b").unwrap();
    succeeds(&fixture, "chmod", &["/a", "r1", "b2"], "");
    assert_eq!(store.get_perms("/a").unwrap(), [Perm::read(1), Perm::both(2)]);
    assert_eq!(store.get_perms("/a/b").unwrap(), [Perm::none(0)]);
    succeeds(&fixture, "chmod", &["-r", "/a", "w3"], "");
    assert_eq!(store.get_perms("/a/b").unwrap(), [Perm::write(3)]);
    fails(&fixture, "chmod", &["/none", "n0"], "No such file or directory");
}

#[test]
fn watch_prints_what_changes() {
    let fixture = Fixture::new();
    // The first of the three is the event with which every watch begins.
    let mut child = tool(&fixture, "watch", &["-n", "3", "/w"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "/w");
    let mut store = fixture.dom0();
    store.write("/w/x", b"1").unwrap();
    assert_eq!(lines.next().unwrap(), "/w/x");
    store.rm("/w").unwrap();
    assert_eq!(lines.next().unwrap(), "/w");
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_tool_fails_when_nobody_serves() {
    let fixture = Fixture::new();
    let socket = fixture.socket();
    let Fixture { handle, dir } = fixture;
    handle.stop();
    let _kept = dir;
    for (name, arguments) in [("read", &["/a"][..]), ("ls", &[]), ("write", &["/a", "1"]), ("exists", &["/a"])] {
        let status = Command::new(format!("/usr/bin/xenstore-{name}"))
            .args(arguments)
            .env("XENSTORED_PATH", &socket)
            .stderr(Stdio::null())
            .status()
            .expect("install xenstore-utils");
        assert!(!status.success(), "xenstore-{name}");
    }
}

#[test]
fn tools_leave_no_connection_behind() {
    let fixture = Fixture::new();
    for _ in 0..5 {
        succeeds(&fixture, "write", &["/a", "1"], "");
    }
    let gone = |closed: Vec<ConnId>| closed.len();
    let mut seen = 0;
    for _ in 0..200 {
        seen += fixture.handle.with(move |server| gone(server.take_closed())).unwrap();
        if seen == 5 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(seen, 5);
    assert_eq!(fixture.handle.with(|server| server.fds().count()), Some(0));
}
