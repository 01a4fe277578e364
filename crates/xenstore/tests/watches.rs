//! Tests of watches: when they fire, for which client, and with which path.

mod common;

use common::{Fixture, QUIET, SOON};
use vsnd_xenstore::{Client, Perm, StoreErrno, WatchEvent};

fn next(client: &mut Client) -> (String, String) {
    let WatchEvent { path, token } = client.wait_event(SOON).unwrap().expect("an event");
    (path, token)
}

fn pair(path: &str, token: &str) -> (String, String) {
    (path.into(), token.into())
}

#[track_caller]
fn nothing_more(client: &mut Client) {
    assert_eq!(client.wait_event(QUIET).unwrap(), None);
}

#[test]
fn a_watch_fires_at_once_and_for_changes_at_and_below_its_path() {
    let fixture = Fixture::new();
    let (mut watcher, mut writer) = (fixture.dom0(), fixture.dom0());
    watcher.watch("/w", "t").unwrap();
    assert_eq!(next(&mut watcher), pair("/w", "t"));
    writer.write("/w", b"1").unwrap();
    assert_eq!(next(&mut watcher), pair("/w", "t"));
    writer.write("/w/a/b", b"1").unwrap();
    assert_eq!(next(&mut watcher), pair("/w/a/b", "t"));
    writer.set_perms("/w/a", &[Perm::none(0)]).unwrap();
    assert_eq!(next(&mut watcher), pair("/w/a", "t"));
    writer.mkdir("/w/a").unwrap();
    writer.write("/wx", b"1").unwrap();
    writer.read("/w").unwrap();
    nothing_more(&mut watcher);
    assert_eq!(watcher.watch("/w", "t").unwrap_err().errno(), Some(StoreErrno::Exist));
}

#[test]
fn removing_a_tree_fires_once_above_and_for_each_watched_node_in_it() {
    let fixture = Fixture::new();
    let (mut watcher, mut writer) = (fixture.dom0(), fixture.dom0());
    writer.write("/w/a/b/c", b"").unwrap();
    for path in ["/w", "/w/a/b/c", "/w/a/b/none"] {
        watcher.watch(path, path).unwrap();
        next(&mut watcher);
    }
    writer.rm("/w/a").unwrap();
    let mut events = [next(&mut watcher), next(&mut watcher)];
    events.sort();
    assert_eq!(events, [pair("/w/a", "/w"), pair("/w/a/b/c", "/w/a/b/c")]);
    nothing_more(&mut watcher);
}

#[test]
fn relative_watches_report_relative_paths() {
    let fixture = Fixture::new();
    let (mut dom0, mut guest) = (fixture.dom0(), fixture.guest(4));
    guest.watch("device", "rel").unwrap();
    guest.watch("/local/domain/4/device", "abs").unwrap();
    assert_eq!(next(&mut guest), pair("device", "rel"));
    assert_eq!(next(&mut guest), pair("/local/domain/4/device", "abs"));
    dom0.write("/local/domain/4/device/vsnd/0/state", b"1").unwrap();
    assert_eq!(next(&mut guest), pair("device/vsnd/0/state", "rel"));
    assert_eq!(next(&mut guest), pair("/local/domain/4/device/vsnd/0/state", "abs"));
}

#[test]
fn events_are_for_those_who_may_read_the_node() {
    let fixture = Fixture::new();
    let (mut dom0, mut guest) = (fixture.dom0(), fixture.guest(1));
    guest.watch("/w", "t").unwrap();
    assert_eq!(next(&mut guest), pair("/w", "t"), "this first one says nothing about the node");
    dom0.write("/w/secret", b"").unwrap();
    nothing_more(&mut guest);
    dom0.set_perms("/w/secret", &[Perm::none(0), Perm::read(1)]).unwrap();
    assert_eq!(next(&mut guest), pair("/w/secret", "t"), "now it may");
    dom0.set_perms("/w/secret", &[Perm::none(0)]).unwrap();
    assert_eq!(next(&mut guest), pair("/w/secret", "t"), "it is told that it no longer may");
    dom0.rm("/w/secret").unwrap();
    nothing_more(&mut guest);
}

#[test]
fn a_transactions_events_come_with_its_commit_and_not_without() {
    let fixture = Fixture::new();
    let (mut watcher, mut writer) = (fixture.dom0(), fixture.dom0());
    watcher.watch("/w", "t").unwrap();
    next(&mut watcher);
    writer
        .transaction(|t| {
            t.write("/w/a", b"1")?;
            t.write("/w/a", b"2")?;
            t.write("/w/b", b"1")?;
            nothing_more(&mut watcher);
            Ok(())
        })
        .unwrap();
    assert_eq!([next(&mut watcher), next(&mut watcher)], [pair("/w/a", "t"), pair("/w/b", "t")]);
    nothing_more(&mut watcher);
    writer
        .transaction(|t| {
            t.write("/w/c", b"1")?;
            t.read("/none")
        })
        .unwrap_err();
    nothing_more(&mut watcher);
    assert!(!writer.exists("/w/c").unwrap());
}

#[test]
fn special_watches_tell_of_domains_and_guests_only_if_allowed() {
    let fixture = Fixture::new();
    let (mut dom0, mut guest) = (fixture.dom0(), fixture.guest(1));
    for client in [&mut dom0, &mut guest] {
        for path in ["@introduceDomain", "@releaseDomain"] {
            client.watch(path, "t").unwrap();
            assert_eq!(next(client), pair(path, "t"));
        }
    }
    fixture.handle.with(|server| server.domain_introduced(9)).unwrap();
    assert_eq!(next(&mut dom0), pair("@introduceDomain", "t"));
    dom0.set_perms("@releaseDomain", &[Perm::none(0), Perm::read(1)]).unwrap();
    fixture.handle.with(|server| server.domain_released(9)).unwrap();
    assert_eq!(next(&mut dom0), pair("@releaseDomain", "t"));
    assert_eq!(next(&mut guest), pair("@releaseDomain", "t"));
    fixture.handle.with(|server| server.domain_released(9)).unwrap();
    nothing_more(&mut dom0);
    nothing_more(&mut guest);
}

#[test]
fn after_unwatch_there_are_no_events_not_even_those_that_waited() {
    let fixture = Fixture::new();
    let (mut watcher, mut writer) = (fixture.dom0(), fixture.dom0());
    watcher.watch("/w", "t").unwrap();
    writer.write("/w/a", b"").unwrap();
    watcher.unwatch("/w", "t").unwrap();
    writer.write("/w/a", b"").unwrap();
    nothing_more(&mut watcher);
    assert_eq!(watcher.unwatch("/w", "t").unwrap_err().errno(), Some(StoreErrno::NoEnt));
}

#[test]
fn changes_by_the_owner_of_the_server_fire_watches() {
    let fixture = Fixture::new();
    let mut watcher = fixture.dom0();
    watcher.watch("/w", "t").unwrap();
    next(&mut watcher);
    fixture.handle.with(|server| server.store_mut().write("/w/a", b"1")).unwrap().unwrap();
    assert_eq!(next(&mut watcher), pair("/w/a", "t"));
    assert_eq!(fixture.handle.with(|server| server.store().read("/w/a")).unwrap().unwrap(), b"1");
}

#[test]
fn xsa_349_the_client_gives_a_reply_while_thousands_of_events_wait() {
    let fixture = Fixture::new();
    let (mut watcher, mut writer) = (fixture.dom0(), fixture.dom0());
    watcher.watch("/many", "many").unwrap();
    watcher.watch("/few", "few").unwrap();
    writer.write("/few/x", b"").unwrap();
    for n in 0..5000 {
        writer.write(&format!("/many/{n}"), b"").unwrap();
    }
    // Nothing was read so far: the reply comes after all the events.
    assert_eq!(watcher.read("/many/4999").unwrap(), b"");
    let mut events = watcher.take_events();
    while let Some(event) = watcher.wait_event(QUIET).unwrap() {
        events.push(event);
    }
    assert!(events.len() < 1000, "{} events", events.len());
    assert!(events.contains(&WatchEvent { path: "/few/x".into(), token: "few".into() }));
    assert!(events.contains(&WatchEvent { path: "/many".into(), token: "many".into() }));
}
