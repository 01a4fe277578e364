//! Cost of guests that have a card and do not play: the time until the card is offered, and the memory of the workers.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use sndif::store::Direction;
use xen::DomainId;

use crate::latency::Distribution;
use crate::machine::{CardOf, Machine, RATE_HZ};
use crate::memory::{Bytes, bytes};
use crate::options::Options;
use crate::role::Player;

/// Number of measured guests.
const GUESTS: u16 = 50;
const GUESTS_QUICK: u16 = 5;
/// Time after which a worker has nothing to do any more.
const SETTLE: Duration = Duration::from_millis(300);

/// The part's result.
#[derive(Debug, Serialize)]
pub(crate) struct Workers {
    /// Time from the toolstack's first write of a card's nodes to the daemon's offer.
    pub(crate) start: Distribution,
    /// Memory of a worker whose guest has no driver, on average.
    pub(crate) offered: Bytes,
    /// The same where the guest's driver is connected with one stream, which is closed.
    pub(crate) connected: Bytes,
}

pub(crate) fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Workers> {
    let guests = if options.quick { GUESTS_QUICK } else { GUESTS };
    say(&format!("workers: {guests} guests"));
    let card = |domain| CardOf { domain: DomainId(domain), streams: 1, direction: Direction::Playback };
    let machine = Machine::start(&options.daemon, &[])?;
    // The first guest's worker waits for the daemon, and finds nothing of the program in memory.
    machine.offer(&card(1))?;
    let measured: Vec<CardOf> = (2..guests + 2).map(card).collect();
    let start = measured.iter().map(|card| machine.offer(card)).collect::<Result<Vec<Duration>>>()?;
    std::thread::sleep(SETTLE);
    let offered = mean(&machine, guests)?;
    let cards: Vec<CardOf> = std::iter::once(card(1)).chain(measured).collect();
    let player = Player::start(&machine, &cards, RATE_HZ / 100, 4)?;
    std::thread::sleep(SETTLE);
    let connected = mean(&machine, guests)?;
    player.stop()?;
    machine.stop()?;
    Ok(Workers { start: Distribution::of(start), offered, connected })
}

/// Memory of a worker, on average.
fn mean(machine: &Machine, guests: u16) -> Result<Bytes> {
    let workers: Vec<Bytes> = machine.workers_memory()?.into_iter().map(bytes).collect();
    ensure!(workers.len() == usize::from(guests) + 1, "there are {} workers", workers.len());
    let mean = |of: fn(&Bytes) -> f64| workers.iter().map(of).sum::<f64>() / workers.len() as f64;
    Ok(Bytes { rss: mean(|bytes| bytes.rss), pss: mean(|bytes| bytes.pss), private: mean(|bytes| bytes.private) })
}
