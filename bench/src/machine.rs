//! An emulated machine for one measurement: Xen in this process, `vsndd` in another, cards for guests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use control::{Client, Reply, Request, Run};
use sndif::store::Direction;
use sndif::{Format, XenbusState};
use tempfile::TempDir;
use toolstack::{Card, Params, Pcm, Restart, Stream};
use xen::emu::Handle;
use xen::{DomainId, XenSpec};

use crate::procfs::{self, Memory, Usage};

/// Frames per second of every stream of the benchmark.
pub(crate) const RATE_HZ: u32 = 48_000;
/// Bytes of a frame: 16 bits, two channels.
pub(crate) const FRAME_BYTES: u32 = 4;
/// Maximum number of streams of a card: the daemon's default limit.
pub(crate) const CARD_STREAMS: u32 = 64;

/// Time limit for a process to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A card: its guest, and the number of its streams, all of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CardOf {
    pub(crate) domain: DomainId,
    pub(crate) streams: u32,
    pub(crate) direction: Direction,
}

impl CardOf {
    /// The cards for `streams` playback streams, each in a domain of its own.
    pub(crate) fn for_streams(streams: u32) -> Vec<Self> {
        let cards = streams.div_ceil(CARD_STREAMS);
        (0..cards)
            .map(|card| Self {
                domain: DomainId(u16::try_from(card + 1).unwrap_or(u16::MAX)),
                streams: CARD_STREAMS.min(streams - card * CARD_STREAMS),
                direction: Direction::Playback,
            })
            .collect()
    }

    /// A card with one stream.
    pub(crate) fn single(direction: Direction) -> Self {
        Self { domain: DomainId(1), streams: 1, direction }
    }
}

impl std::fmt::Display for CardOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.domain, self.streams, self.direction.node())
    }
}

impl std::str::FromStr for CardOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let card = match parts[..] {
            [domain, streams, direction] => (|| {
                let direction = Direction::from_node(direction.as_bytes())?;
                Some(Self { domain: domain.parse().ok()?, streams: streams.parse().ok()?, direction })
            })(),
            _ => None,
        };
        card.ok_or_else(|| format!("`{text}` is not DOMAIN:STREAMS:p or DOMAIN:STREAMS:c"))
    }
}

/// Number of streams that the daemon serves, and of their xruns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) streams: u64,
    pub(crate) xruns: u64,
}

/// The emulated machine with its daemon.
pub(crate) struct Machine {
    // Fields are dropped in this order: the daemon before Xen, Xen before its directory.
    daemon: Daemon,
    emulation: Handle,
    dir: TempDir,
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // The process is ours and is not needed any more.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Machine {
    /// Starts Xen and the daemon `vsndd` with the null sink and silence to capture, and attaches `cards`.
    pub(crate) fn start(vsndd: &Path, cards: &[CardOf]) -> Result<Self> {
        Self::start_with(vsndd, cards, "null")
    }

    /// Like [`start`](Self::start), with `sink` as the sink.
    pub(crate) fn start_with(vsndd: &Path, cards: &[CardOf], sink: &str) -> Result<Self> {
        xen::raise_fd_limit();
        let dir = tempfile::Builder::new().prefix("vsnd-bench-").tempdir().context("cannot make a directory")?;
        let emulation = xen::emu::spawn_with(&dir.path().join("xen"), Restart).context("cannot start emulated Xen")?;
        let host = emulation.open(DomainId(0))?;
        let mut store = host.store()?;
        for card in cards {
            toolstack::attach(&mut store, card.domain, &[description(card)], sndif::Protocol::V2)?;
        }
        let log = File::create(log_path(dir.path())).context("cannot create the daemon's log")?;
        let mut command = Command::new(vsndd);
        command.args(["--xen", &emulation.spec().to_string(), "--sink", sink, "--allow-capture", "--log", "info"]);
        // The user's own configuration must not take effect.
        command.args(["--config", "/dev/null"]).env_remove("VSND_LOG").env_remove("VSND_XEN");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = command.spawn().with_context(|| format!("cannot start {}", vsndd.display()))?;
        Ok(Self { daemon: Daemon(daemon), emulation, dir })
    }

    /// Value for the programs' option `--xen`.
    pub(crate) fn spec(&self) -> XenSpec {
        self.emulation.spec()
    }

    /// Enters as a domain.
    pub(crate) fn enter(&self, domain: DomainId) -> Result<xen::Xen> {
        Ok(self.emulation.open(domain)?)
    }

    /// Process ids of the daemon and its workers.
    pub(crate) fn daemon_pids(&self) -> Vec<u32> {
        let mut pids = procfs::children(self.daemon.0.id());
        pids.push(self.daemon.0.id());
        pids
    }

    /// Processor time and wake-ups of the daemon so far.
    pub(crate) fn daemon_usage(&self) -> Result<Usage> {
        Usage::of(self.daemon.0.id()).with_context(|| format!("the daemon is gone; its log:\n{}", self.log()))
    }

    /// Memory of the daemon.
    pub(crate) fn daemon_memory(&self) -> Result<Memory> {
        Memory::of(self.daemon.0.id()).with_context(|| format!("the daemon is gone; its log:\n{}", self.log()))
    }

    /// Memory of each worker.
    pub(crate) fn workers_memory(&self) -> Result<Vec<Memory>> {
        procfs::children(self.daemon.0.id()).into_iter().map(Memory::of).collect()
    }

    /// Attaches another card, and returns the time until the daemon offers it.
    pub(crate) fn offer(&self, card: &CardOf) -> Result<Duration> {
        let host = self.enter(DomainId(0))?;
        let mut store = host.store()?;
        let state = format!("/local/domain/0/backend/vsnd/{}/0/state", card.domain);
        store.watch(&state, "state")?;
        let begin = Instant::now();
        toolstack::attach(&mut store, card.domain, &[description(card)], sndif::Protocol::V2)?;
        while XenbusState::from_node(&store.read_opt(&state)?.unwrap_or_default()) != XenbusState::InitWait {
            let event = store.wait_event(PATIENCE.saturating_sub(begin.elapsed()))?;
            ensure!(event.is_some(), "the daemon does not offer the card; its log:\n{}", self.log());
        }
        Ok(begin.elapsed())
    }

    /// Open streams, from the daemon's status.
    pub(crate) fn served(&self) -> Result<Served> {
        let reply = Client::connect(&control::socket_of(&self.spec()))?.ask(&Request::List { levels: false })?;
        let Reply::Status(status) = reply else { bail!("the daemon answers {reply:?}") };
        let cards = status.guests.iter().flat_map(|guest| &guest.cards);
        let open = cards.flat_map(|card| &card.streams).filter(|stream| stream.run != Run::Closed);
        Ok(open.fold(Served::default(), |sum, stream| Served {
            streams: sum.streams + 1,
            xruns: sum.xruns + stream.xruns,
        }))
    }

    /// Ends the daemon.
    pub(crate) fn stop(mut self) -> Result<()> {
        let child = &mut self.daemon.0;
        // The process may have ended by itself; only its status matters.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => bail!("vsndd does not end"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let log = self.log();
        ensure!(status.success(), "vsndd failed ({status}); its log:\n{log}");
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(log_path(self.dir.path())).unwrap_or_default()
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("vsndd.log")
}

/// A card that accepts the benchmark's stream parameters, with buffers of up to 2 MiB.
fn description(card: &CardOf) -> Card {
    let streams = (0..card.streams)
        .map(|index| Stream {
            unique_id: Some(format!("s{index}")),
            direction: card.direction,
            params: Params::default(),
        })
        .collect();
    let params = Params {
        sample_rates: vec![RATE_HZ],
        sample_formats: vec![Format::S16Le],
        channels_min: Some(2),
        channels_max: Some(2),
        buffer_size: Some(2 << 20),
    };
    let pcms = vec![Pcm { name: None, params: Params::default(), streams }];
    Card { short_name: Some("bench".into()), params, pcms, ..Card::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_hold_all_streams() {
        assert_eq!(CardOf::for_streams(0), []);
        let cards: Vec<_> = CardOf::for_streams(130).iter().map(|card| (card.domain.0, card.streams)).collect();
        assert_eq!(cards, [(1, 64), (2, 64), (3, 2)]);
        let card = CardOf { domain: DomainId(3), streams: 2, direction: Direction::Capture };
        assert_eq!((card.to_string(), "3:2:c".parse()), ("3:2:c".to_owned(), Ok(card)));
        for wrong in ["3", "3:2", "3:2:x", "3:x:p", "3:2:p:p"] {
            assert!(wrong.parse::<CardOf>().is_err(), "{wrong}");
        }
    }
}
