//! Tests of rights: permissions by domain, relative paths, operations for domain 0 only.

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use common::Fixture;
use vsnd_xenstore::wire::Op;
use vsnd_xenstore::{Error, Perm, Request, StoreErrno};

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> StoreErrno {
    result.unwrap_err().errno().unwrap()
}

#[test]
fn relative_paths_lie_in_the_speakers_own_directory() {
    let fixture = Fixture::new();
    let (mut dom0, mut guest) = (fixture.dom0(), fixture.guest(7));
    guest.write("data/x", b"1").unwrap();
    assert_eq!(dom0.read("/local/domain/7/data/x").unwrap(), b"1");
    dom0.write("name", b"Domain-0").unwrap();
    assert_eq!(dom0.read("/local/domain/0/name").unwrap(), b"Domain-0");
    assert_eq!(guest.domain_path(7).unwrap(), "/local/domain/7");
}

#[test]
fn a_guest_neither_reads_nor_writes_what_is_not_its_own() {
    let fixture = Fixture::new();
    let (mut dom0, mut one, mut two) = (fixture.dom0(), fixture.guest(1), fixture.guest(2));
    dom0.write("/secret", b"x").unwrap();
    one.write("mine", b"x").unwrap();
    for path in ["/secret", "/local/domain/1/mine", "/not/there"] {
        assert_eq!(errno(two.read(path)), StoreErrno::Acces, "{path}");
        assert_eq!(errno(two.write(path, b"y")), StoreErrno::Acces, "{path}");
        assert_eq!(errno(two.rm(path)), StoreErrno::Acces, "{path}");
        assert_eq!(errno(two.directory(path)), StoreErrno::Acces, "{path}");
        assert_eq!(errno(two.get_perms(path)), StoreErrno::Acces, "{path}");
        assert_eq!(errno(two.set_perms(path, &[Perm::none(2)])), StoreErrno::Acces, "{path}");
    }
    assert_eq!(errno(two.directory("/")), StoreErrno::Acces);
    assert_eq!(errno(two.read("nothing")), StoreErrno::NoEnt, "in its own directory it may know");
    assert_eq!(dom0.read("/secret").unwrap(), b"x");
}

#[test]
fn granted_access_is_given_to_that_domain_and_no_more_than_granted() {
    let fixture = Fixture::new();
    let (mut dom0, mut one, mut two) = (fixture.dom0(), fixture.guest(1), fixture.guest(2));
    dom0.write("/shared", b"x").unwrap();
    dom0.set_perms("/shared", &[Perm::none(0), Perm::read(1), Perm::write(2)]).unwrap();
    assert_eq!(one.read("/shared").unwrap(), b"x");
    assert_eq!(errno(one.write("/shared", b"y")), StoreErrno::Acces);
    assert_eq!(errno(two.read("/shared")), StoreErrno::Acces);
    two.write("/shared", b"z").unwrap();
    assert_eq!(one.read("/shared").unwrap(), b"z");
    assert_eq!(one.get_perms("/shared").unwrap(), [Perm::none(0), Perm::read(1), Perm::write(2)]);
}

#[test]
fn new_nodes_have_their_parents_permissions_and_their_makers_ownership() {
    let fixture = Fixture::new();
    let (mut dom0, mut guest) = (fixture.dom0(), fixture.guest(3));
    dom0.mkdir("/d").unwrap();
    dom0.set_perms("/d", &[Perm::none(0), Perm::both(3)]).unwrap();
    guest.write("/d/a/b", b"").unwrap();
    for path in ["/d/a", "/d/a/b"] {
        assert_eq!(dom0.get_perms(path).unwrap(), [Perm::none(3), Perm::both(3)], "{path}");
    }
    dom0.write("/local/domain/3/by-dom0", b"").unwrap();
    assert_eq!(dom0.get_perms("/local/domain/3/by-dom0").unwrap(), [Perm::none(3)]);
}

#[test]
fn only_the_owner_sets_permissions_and_cannot_give_the_node_away() {
    let fixture = Fixture::new();
    let (mut dom0, mut one, mut two) = (fixture.dom0(), fixture.guest(1), fixture.guest(2));
    one.write("n", b"").unwrap();
    one.set_perms("n", &[Perm::both(1)]).unwrap();
    assert_eq!(errno(two.set_perms("/local/domain/1/n", &[Perm::none(1)])), StoreErrno::Acces);
    assert_eq!(errno(one.set_perms("n", &[Perm::none(2)])), StoreErrno::Perm);
    dom0.set_perms("/local/domain/1/n", &[Perm::none(2)]).unwrap();
    assert_eq!(errno(one.read("n")), StoreErrno::Acces);
}

#[test]
fn the_root_cannot_be_removed_and_removing_nothing_needs_a_directory() {
    let fixture = Fixture::new();
    let mut dom0 = fixture.dom0();
    assert_eq!(errno(dom0.rm("/")), StoreErrno::Inval);
    dom0.write("/a/b/c", b"").unwrap();
    dom0.rm("/a/none").unwrap();
    assert_eq!(errno(dom0.rm("/none/none")), StoreErrno::NoEnt);
    dom0.rm("/a").unwrap();
    assert!(!dom0.exists("/a/b/c").unwrap());
    assert!(dom0.directory("/").unwrap().contains(&"local".to_owned()) || dom0.directory("/").unwrap().is_empty());
}

#[test]
fn domains_are_introduced_and_released_by_domain_0_only() {
    let fixture = Fixture::new();
    let (mut dom0, mut guest) = (fixture.dom0(), fixture.guest(1));
    let introduce = || Request::raw(Op::Introduce, b"9\x000\x001\0".to_vec()).unwrap();
    let release = || Request::raw(Op::Release, b"9\0".to_vec()).unwrap();
    assert_eq!(errno(guest.call(&introduce())), StoreErrno::Acces);
    assert_eq!(errno(guest.call(&release())), StoreErrno::Acces);
    assert_eq!(errno(dom0.call(&release())), StoreErrno::NoEnt);
    dom0.call(&introduce()).unwrap();
    assert!(guest.is_domain_introduced(9).unwrap());
    dom0.call(&release()).unwrap();
    assert!(!dom0.is_domain_introduced(9).unwrap());
    assert!(dom0.is_domain_introduced(0).unwrap());
    assert_eq!(errno(dom0.call(&Request::raw(Op::Release, b"0\0".to_vec()).unwrap())), StoreErrno::Inval);
}

#[test]
fn what_the_store_does_not_do_is_enosys() {
    let fixture = Fixture::new();
    let mut dom0 = fixture.dom0();
    for op in [Op::Control, Op::Resume, Op::SetTarget] {
        assert_eq!(errno(dom0.call(&Request::raw(op, b"1\0".to_vec()).unwrap())), StoreErrno::NoSys, "{op}");
    }
}

#[test]
fn a_released_domain_leaves_nothing_to_its_successor() {
    let fixture = Fixture::new();
    let (mut dom0, mut guest) = (fixture.dom0(), fixture.guest(5));
    guest.write("left/over", b"").unwrap();
    dom0.write("/for-five", b"x").unwrap();
    dom0.set_perms("/for-five", &[Perm::none(0), Perm::read(5)]).unwrap();
    fixture.handle.with(|server| server.domain_released(5)).unwrap();
    assert!(matches!(guest.read("left"), Err(Error::Closed)), "the connection goes with the domain");
    assert!(!dom0.exists("/local/domain/5").unwrap());
    assert_eq!(dom0.get_perms("/for-five").unwrap(), [Perm::none(0)]);
    let mut successor = fixture.guest(5);
    assert_eq!(errno(successor.read("/for-five")), StoreErrno::Acces);
}
