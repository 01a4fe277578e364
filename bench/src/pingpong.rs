//! Reference for a WRITE: the same bytes through shared memory, with an eventfd for each direction.
//!
//! The other process only does the work of any backend: wait, copy the period out, signal back.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use anyhow::{Context, Result};
use clap::Args;
use rustix::event::{EventfdFlags, eventfd};
use sndif::{GrantRef, SharedMemory};
use xen::{Access, DomainId, Granted, Xen, XenSpec};

use crate::machine::Machine;
use crate::role::{Process, command};

/// Value in an eventfd, in place of 1, that ends the other process.
const END: u64 = 2;

#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// The emulation.
    #[arg(long)]
    xen: XenSpec,
    /// Domain that grants the page.
    #[arg(long)]
    from: DomainId,
    /// The page.
    #[arg(long)]
    page: u32,
    /// Bytes to copy.
    #[arg(long)]
    bytes: usize,
}

/// Runs the other process. Standard input and output are the eventfds, so that no descriptor number has to be trusted.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let xen = Xen::open(&arguments.xen, Some(DomainId(0)))?;
    let page = xen.map(arguments.from, &[GrantRef(arguments.page)], Access::ReadWrite)?;
    let mut copy = vec![0; arguments.bytes];
    let (input, output) = (std::io::stdin(), std::io::stdout());
    signal(&output)?;
    while wait(&input)? != END {
        page.read(0, &mut copy);
        signal(&output)?;
    }
    Ok(())
}

/// Our end of the ping-pong.
pub(crate) struct PingPong {
    process: Process,
    page: Granted,
    ping: OwnedFd,
    pong: OwnedFd,
}

impl PingPong {
    /// Starts the other process, which copies `bytes` bytes at every ping.
    pub(crate) fn start(machine: &Machine, from: DomainId, bytes: usize) -> Result<Self> {
        let xen = machine.enter(from)?;
        let page = xen.grant(DomainId(0), 1, Access::ReadWrite)?;
        let make = || eventfd(0, EventfdFlags::CLOEXEC).context("cannot make an eventfd");
        let (ping, pong) = (make()?, make()?);
        let mut command = command("pingpong")?;
        command.args(["--xen", &machine.spec().to_string(), "--from", &from.to_string()]);
        command.args(["--page", &page.refs().first().context("no page")?.0.to_string()]);
        command.args(["--bytes", &bytes.to_string()]);
        command.stdin(Stdio::from(ping.try_clone()?)).stdout(Stdio::from(pong.try_clone()?));
        let process = Process(command.spawn().context("cannot start the other end of the ping-pong")?);
        wait(&pong)?;
        Ok(Self { process, page, ping, pong })
    }

    /// Id of the other process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Copies `period` into the page, signals, waits for the answer.
    pub(crate) fn round(&self, period: &[u8]) -> Result<()> {
        self.page.write(0, period);
        signal(&self.ping)?;
        wait(&self.pong).map(drop)
    }

    /// Ends the other process.
    pub(crate) fn stop(mut self) -> Result<()> {
        rustix::io::write(&self.ping, &END.to_ne_bytes()).context("cannot end the ping-pong")?;
        self.process.wait()
    }
}

fn signal(fd: impl AsFd) -> Result<()> {
    rustix::io::write(fd, &1_u64.to_ne_bytes()).map(drop).context("cannot signal an eventfd")
}

/// Blocks until the eventfd was signalled.
fn wait(fd: impl AsFd) -> Result<u64> {
    let mut count = [0; 8];
    rustix::io::read(fd, &mut count).context("cannot wait for an eventfd")?;
    Ok(u64::from_ne_bytes(count))
}
