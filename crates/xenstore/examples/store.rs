//! A store, a client of domain 0 and a guest with its own rights, in a temporary directory. Needs no Xen.
//!
//!     cargo run -p vsnd-xenstore --example store

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use vsnd_xenstore::{Client, Error, Perm, StoreErrno, server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("socket");
    let server = server::spawn(&socket)?;

    // The toolstack: a guest's directory, which belongs to the guest, and one that the guest may only read.
    let mut toolstack = Client::connect(&socket)?;
    toolstack.transaction(|t| t.mkdir("/local/domain/1/device"))?;
    toolstack.set_perms("/local/domain/1/device", &[Perm::none(1)])?;
    toolstack.write("/local/domain/1/name", b"music")?;
    toolstack.set_perms("/local/domain/1/name", &[Perm::none(0), Perm::read(1)])?;
    toolstack.watch("/local/domain/1/device", "device")?;
    let first = toolstack.wait_event(Duration::from_secs(10))?.ok_or("no event")?;
    println!("domain 0: watches {}", first.path);

    // The guest. Relative paths are below its own directory.
    let mut guest = Client::from_fd(server.connect_domain(1)?)?;
    println!("domain 1: is called {:?}", guest.read_string("name")?);
    guest.write("device/vsnd/0/state", b"1")?;
    match guest.write("name", b"noise") {
        Err(Error::Store { errno: StoreErrno::Acces, .. }) => println!("domain 1: may not change its name"),
        other => return Err(format!("a guest changed its name: {other:?}").into()),
    }

    let event = toolstack.wait_event(Duration::from_secs(10))?.ok_or("no event")?;
    println!("domain 0: {} is {:?}", event.path, toolstack.read_string(&event.path)?);
    Ok(())
}
