//! The commands that observe and control the daemon: their requests, their output, their exit statuses.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use control::{Event, EventKind, Reply, Request, Status};

use crate::common::{Process, stderr, text, vsnd};
use crate::fake_daemon::{FakeDaemon, command, json, status, usual, vsnd_with};

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Expects this exit status, and `needle` on standard error.
fn expect(output: &Output, status: i32, needle: &str) {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert!(line.contains(needle), "`{needle}` in: {line}");
}

fn refused(reply: Reply) -> impl Fn(&Request) -> Vec<String> {
    move |_| vec![json(&reply)]
}

fn event(text: &str) -> Event {
    let (kind, domain, card) = (EventKind::Audit, Some(5), Some(0));
    Event { time_ms: 1_795_281_631_999, kind, domain, card, pcm: None, stream: None, device: None, text: text.into() }
}

#[test]
fn list_is_a_table_of_80_columns() {
    let (output, asked) = vsnd_with(&["list"], usual);
    assert_eq!(asked, [Request::List { levels: false }]);
    let expected = "\
vsndd 0.1.0, process 4711, up 2h 13m, configuration none
1 guest, 2 streams, 1 running

studio, domain 5, 6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d
  STREAM DIRECT.  STATE   FORMAT  RATE CH LATENCY XRUNS  VOLUME  SINK/SOURCE
  0/0/0  playback running s16_le 48000  2 21.3 ms     3 -6.0 dB  alsa:default
  0/0/1  capture  denied  -          -  -       -     0  0.0 dB  alsa:default
";
    let table = stdout(&output);
    assert_eq!(table, expected);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn list_says_where_nothing_is_served() {
    let (output, _) = vsnd_with(&["list"], |_| vec![json(&Reply::Status(Status::default()))]);
    assert!(stdout(&output).contains("no guest has a sound card"));
}

#[test]
fn list_says_of_a_card_why_it_has_no_streams_and_that_its_guest_broke_the_protocol() {
    let mut status = status();
    let card = &mut status.guests[0].cards[0];
    (card.streams, card.violations, card.state) = (Vec::new(), 2, "InitWait".into());
    card.name = "Main\x1b[2J".into();
    let (output, _) = vsnd_with(&["list"], move |_| vec![json(&Reply::Status(status.clone()))]);
    let table = stdout(&output);
    assert!(
        table.contains("card 0 “Main\u{fffd}[2J”: waiting for the guest's driver, no stream is connected"),
        "{table}"
    );
    assert!(table.contains("card 0: the guest broke the protocol 2 times"), "{table}");
}

#[test]
fn list_as_json_is_the_status() {
    let (output, _) = vsnd_with(&["list", "--json"], usual);
    assert_eq!(serde_json::from_str::<Status>(&stdout(&output)).expect("JSON"), status());
}

#[test]
fn each_command_asks_for_what_it_says() {
    let target = || "studio/0".parse().expect("target");
    let volume = |volume_db| Request::Volume { target: target(), volume_db };
    for (arguments, request) in [
        (&["volume", "studio/0", "=-6"][..], volume(-6.0)),
        (&["volume", "studio/0", "=-6dB"], volume(-6.0)),
        (&["volume", "--json", "studio/0", "3.5"], volume(3.5)),
        (&["volume", "studio/0", "50%"], volume(-18.062)),
        (&["volume", "studio/0", "=-6", "--json"], volume(-6.0)),
        (&["mute", "studio/0"], Request::Mute { target: target(), on: true }),
        (&["unmute", "studio/0"], Request::Mute { target: target(), on: false }),
        (&["allow-capture", "studio/0"], Request::Capture { target: target(), allow: true, for_s: None }),
        (
            &["allow-capture", "studio/0", "--for", "10m"],
            Request::Capture { target: target(), allow: true, for_s: Some(600) },
        ),
        (&["forget", "studio/0"], Request::Forget { target: target() }),
        (&["deny-capture", "studio/0"], Request::Capture { target: target(), allow: false, for_s: None }),
        (&["disconnect", "studio/0"], Request::Disconnect { target: target() }),
        (&["reload"], Request::Reload),
    ] {
        let (output, asked) = vsnd_with(arguments, usual);
        assert_eq!(asked, [request], "{arguments:?}");
        let expected = match arguments {
            ["reload"] | ["forget", ..] => "done\n",
            ["disconnect", ..] => "done (1 stream)\n",
            _ if arguments.contains(&"--json") => "{\"reply\":\"done\",\"message\":\"done\",\"streams\":1}\n",
            _ => "done (1 connected stream)\n",
        };
        assert_eq!(stdout(&output), expected, "{arguments:?}");
    }
}

#[test]
fn a_signed_volume_changes_the_present_one_of_each_stream() {
    for (change, loud, quiet) in [("+3dB", -3.0, 3.0), ("-3", -9.0, -3.0), ("-50%", -31.87, -18.062)] {
        let (output, asked) = vsnd_with(&["volume", "stu*", change], usual);
        assert!(output.status.success(), "{}", stderr(&output));
        let volume = |target: &str, volume_db| Request::Volume { target: target.parse().expect("target"), volume_db };
        let expected = [Request::List { levels: false }, volume("studio/0/0/0", loud), volume("studio/0/0/1", quiet)];
        assert_eq!(asked, expected, "{change}");
    }
    let (output, _) = vsnd_with(&["volume", "nobody", "+3dB"], usual);
    expect(&output, 5, "no stream of `nobody` is connected");
    expect(&output, 5, "`=-6dB`, also holds for streams to come");
}

#[test]
fn a_change_without_a_connected_stream_says_so() {
    let nobody = |_: &Request| vec![json(&Reply::Done { message: "studio: muted".into(), streams: 0 })];
    let (output, _) = vsnd_with(&["mute", "studio"], nobody);
    assert_eq!(stdout(&output), "studio: muted (no stream is connected; it holds for those to come)\n");
}

#[test]
fn volume_without_a_number_shows_it() {
    let (output, asked) = vsnd_with(&["volume", "studio"], usual);
    assert_eq!(asked, [Request::List { levels: false }]);
    assert_eq!(
        stdout(&output),
        "studio/0/0/0: -6.0 dB (79 %), the guest's own -3.0 dB\nstudio/0/0/1: 0.0 dB (100 %), denied\n"
    );
    let (output, _) = vsnd_with(&["volume", "5/0/0/0", "--json"], usual);
    let expected = serde_json::json!({"target": "studio/0/0/0", "volume_db": -6.0, "volume_max_db": null,
        "muted": false, "permitted": true, "effective_volume_db": null, "guest_volume_db": [-3.0, -3.0], "guest_muted": [], "server_volume_db": null, "server_muted": false});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout(&output)).expect("JSON"), expected);
    let (output, _) = vsnd_with(&["volume", "studio/0/0/2"], usual);
    expect(&output, 5, "no stream of `studio/0/0/2` is connected");
}

#[test]
fn a_volume_that_is_none_is_refused_before_the_daemon_is_asked() {
    for (text, needle) in [("=-100.5", "-100 to 20 dB"), ("21", "-100 to 20 dB"), ("loud", "such as =-6dB")] {
        let (output, asked) = vsnd_with(&["volume", "studio", text], usual);
        expect(&output, 2, needle);
        assert_eq!(asked, []);
    }
}

#[test]
fn a_target_that_the_daemon_does_not_know() {
    let unknown = Reply::NoSuchStream { message: "there is no guest `nobody`".into() };
    expect(&vsnd_with(&["mute", "nobody"], refused(unknown)).0, 5, "vsnd: there is no guest `nobody`");
}

#[test]
fn what_the_daemon_refuses_is_told_in_its_words() {
    let no = Reply::Refused { message: "vsndd.toml:4:1: unknown field `bufer`\x1b[2J".into() };
    expect(&vsnd_with(&["reload"], refused(no)).0, 1, "vsnd: vsndd.toml:4:1: unknown field `bufer`\u{fffd}[2J");
}

#[test]
fn a_daemon_of_another_version_or_that_hangs_up() {
    let other = |_: &Request| vec!["{\"reply\":\"greetings\"}".to_owned()];
    expect(&vsnd_with(&["list"], other).0, 10, "unknown variant `greetings`");
    let wrong = Reply::Events { events: Vec::new() };
    expect(&vsnd_with(&["list"], refused(wrong)).0, 1, "of the same version?");
    expect(&vsnd_with(&["list"], |_| Vec::new()).0, 10, "it closed the connection");
}

#[test]
fn a_socket_that_is_not_there() {
    for arguments in [&["list"][..], &["top", "--json"], &["mute", "1"], &["events"], &["reload"]] {
        let output = vsnd(&[arguments, &["--socket", "/nowhere/control.sock"]].concat());
        expect(&output, 6, "no daemon answers at /nowhere/control.sock: No such file");
    }
}

#[test]
fn the_socket_of_an_emulation_lies_in_its_directory() {
    let dir = tempfile::tempdir().expect("directory");
    let _daemon = FakeDaemon::at(&dir.path().join("control.sock"), usual);
    let output = vsnd(&["volume", "studio/0/0/0", "--xen", &format!("emu:{}", dir.path().display())]);
    assert!(stdout(&output).starts_with("studio/0/0/0: -6.0 dB"));
}

#[test]
fn a_socket_that_one_may_not_use() {
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let _daemon = FakeDaemon::at(&socket, usual);
    let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    mode(&socket, 0o000);
    let mut command = command(&socket, &["list"]);
    if rustix::process::geteuid().is_root() {
        // Root is permitted everything, and another user may be unable to read the directory of the build.
        let copy = dir.path().join("vsnd");
        std::fs::copy(command.get_program(), &copy).expect("copied");
        mode(dir.path(), 0o755);
        command = Command::new(copy);
        command.args(["list", "--socket", text(&socket)]).uid(65534).gid(65534);
    }
    expect(&command.output().expect("vsnd runs"), 11, "be root, or a member of the group");
}

#[test]
fn events_are_a_line_each() {
    let events = |_: &Request| vec![json(&Reply::Events { events: vec![event("uid 0: muted"), event("again")] })];
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let daemon = FakeDaemon::at(&socket, events);
    let output = command(&socket, &["events"]).env("TZ", "UTC").output().expect("vsnd runs");
    assert_eq!(
        stdout(&output),
        "2026-11-21 17:20:31 audit     5/0      uid 0: muted\n2026-11-21 17:20:31 audit     5/0      again\n"
    );
    assert_eq!(daemon.asked(), [Request::Events { follow: false }]);
    let output = command(&socket, &["events", "--json"]).output().expect("vsnd runs");
    let read: Vec<Event> = stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(read, [event("uid 0: muted"), event("again")]);
}

#[test]
fn events_are_filtered_by_kind_and_guest() {
    let other = |domain, stream, kind, text: &str| Event { domain, stream, kind, ..event(text) };
    let events = vec![
        other(Some(5), Some(1), EventKind::Xrun, "a"),
        other(Some(5), None, EventKind::Audit, "b"),
        other(Some(6), Some(1), EventKind::Xrun, "c"),
        other(None, None, EventKind::Reload, "d"),
    ];
    let answer = move |request: &Request| match request {
        Request::Events { .. } => vec![json(&Reply::Events { events: events.clone() })],
        _ => usual(request),
    };
    for (arguments, expected) in [
        (&["events"][..], "abcd"),
        (&["events", "--kind", "xrun"], "ac"),
        (&["events", "-k", "xrun,reload"], "acd"),
        (&["events", "studio"], "ab"),
        (&["events", "stu*", "--kind", "audit"], "b"),
        (&["events", "6"], "c"),
        (&["events", "nobody"], ""),
    ] {
        let (output, _) = vsnd_with(&[arguments, &["--json"]].concat(), answer.clone());
        let shown = stdout(&output);
        let shown = shown.lines().map(|line| serde_json::from_str::<Event>(line).expect("JSON").text);
        assert_eq!(shown.collect::<String>(), expected, "{arguments:?}");
    }
    expect(&vsnd_with(&["events", "--kind", "noise"], usual).0, 2, "there are card, open, close, refused");
}

#[test]
fn events_are_followed_until_the_daemon_ends() {
    let following = |request: &Request| {
        assert_eq!(*request, Request::Events { follow: true });
        vec![json(&Reply::Events { events: vec![event("before")] }), json(&event("after"))]
    };
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let daemon = FakeDaemon::at(&socket, following);
    let mut command = command(&socket, &["events", "--follow", "--json"]);
    let mut process = Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("vsnd starts"));
    let mut lines = BufReader::new(process.0.stdout.take().expect("piped")).lines();
    for text in ["before", "after"] {
        let line = lines.next().expect("a line").expect("text");
        assert_eq!(serde_json::from_str::<Event>(&line).expect("JSON"), event(text));
    }
    drop(daemon);
    assert_eq!(process.code(), Some(10));
    assert!(process.stderr().contains("it closed the connection"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("control.sock");
    let _daemon = FakeDaemon::at(&socket, |request| match request {
        Request::Events { .. } => vec![json(&Reply::Events { events: vec![event("x"); 10] })],
        _ => usual(request),
    });
    for arguments in [&["events"][..], &["list"], &["top", "--json", "--interval", "0.1"], &["volume", "studio"]] {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        let output = command(&socket, arguments).stdout(writer).output().expect("vsnd runs");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{arguments:?}");
    }
}
