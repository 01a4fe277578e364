//! How the daemon is seen and steered while it runs: the control socket's requests, reloading, figures.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use control::{Card, EventKind, Guest, Reply, Request, Status, Target};
use tracing::{info, warn};
use xen::DomainId;

use super::cards::asked;
use super::{CONTROL_TOKEN, Daemon, Error, METRICS_TOKEN, RELOAD_TOKEN, StreamKey, check_devices};
use crate::decisions::{Decision, Decisions};
use crate::device::DeviceId;
use crate::figures::figures;
use crate::journal::Subject;
use crate::policy::millidecibels;
use crate::server::{Control, Metrics, Peer, Sockets};
use crate::service;
use crate::source::ConfigSource;

/// How long levels are measured after they were asked for.
const MEASURED_NS: u64 = 3_000_000_000;

/// What the daemon is seen and steered by.
#[derive(Default)]
pub(super) struct Steering {
    control: Option<Control>,
    metrics: Option<Metrics>,
    reload: Option<UnixStream>,
    source: ConfigSource,
    /// Where decisions are kept, so that a restart of the daemon does not undo them.
    kept: Option<PathBuf>,
    /// Until when levels are measured.
    measured_until_ns: Option<u64>,
}

impl Steering {
    pub(super) fn is_busy(&self) -> bool {
        self.control.as_ref().is_some_and(Control::is_busy)
    }

    pub(super) fn next_wake_ns(&self) -> Option<u64> {
        let control = self.control.as_ref().and_then(Control::next_wake_ns);
        control.into_iter().chain(self.metrics.as_ref().and_then(Metrics::next_wake_ns)).min()
    }
}

impl Daemon {
    /// Lets itself be seen and steered: at `sockets`, and by reading `source` again when `reload` becomes readable.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn steered(&mut self, source: ConfigSource, sockets: Sockets, reload: UnixStream) -> Result<(), Error> {
        if let Some((listener, path)) = sockets.control {
            self.steering.control = Some(Control::new(listener, CONTROL_TOKEN, &self.poller)?);
            let kept = path.with_extension("decisions");
            self.policy.decisions = Decisions::read(&kept);
            self.steering.kept = Some(kept);
        }
        if let Some((listener, address)) = sockets.metrics {
            self.steering.metrics = Some(Metrics::new(listener, METRICS_TOKEN, &self.poller)?);
            info!("figures are at {address}");
        }
        reload.set_nonblocking(true)?;
        self.poller.add_level(&reload, RELOAD_TOKEN)?;
        self.steering.reload = Some(reload);
        self.steering.source = source;
        // Cards that were there already were connected before what is kept was known.
        self.reroute(self.poller.now_ns());
        Ok(())
    }

    /// After one of our descriptors became ready.
    pub(super) fn steering_woke(&mut self, token: u64, now_ns: u64) {
        if token == RELOAD_TOKEN {
            if let Some(signal) = &mut self.steering.reload {
                while matches!(signal.read(&mut [0; 64]), Ok(1..)) {}
            }
            // Said in log and journal.
            let _ = self.reload(now_ns, "a signal");
        } else if let Some(control) = &mut self.steering.control
            && control.woke(token, &self.poller)
        {
            // What came is taken up when the streams had their turn.
        } else if let Some(mut metrics) = self.steering.metrics.take() {
            metrics.woke(token, &self.poller, || figures(&self.status(false), &self.journal));
            self.steering.metrics = Some(metrics);
        }
    }

    /// Answers requests, tells events, ends measuring.
    pub(super) fn serve_steering(&mut self, now_ns: u64) {
        if let Some(metrics) = &mut self.steering.metrics {
            metrics.expire(now_ns);
        }
        let Some(control) = &mut self.steering.control else { return };
        for (client, peer, request) in control.requests() {
            let reply = self.answer(&request, peer, now_ns);
            let follow = matches!(request, Request::Events { follow: true }).then(|| self.journal.count());
            if let Some(control) = &mut self.steering.control {
                control.reply(client, &reply, follow);
            }
        }
        if let Some(control) = &mut self.steering.control {
            control.tell(&self.journal);
            control.expire(now_ns);
        }
        if self.steering.measured_until_ns.is_some_and(|until| until < now_ns) {
            self.steering.measured_until_ns = None;
            self.streams.values().for_each(crate::served::Served::stop_measuring);
        }
    }

    fn answer(&mut self, request: &Request, peer: Peer, now_ns: u64) -> Reply {
        let done = match request {
            Request::List { levels } => {
                if *levels {
                    self.steering.measured_until_ns = Some(now_ns + MEASURED_NS);
                }
                return Reply::Status(self.status(*levels));
            }
            Request::Events { .. } => return Reply::Events { events: self.journal.since(0).cloned().collect() },
            Request::Volume { target, volume_db } => match millidecibels(*volume_db) {
                Some(volume) => {
                    self.decide(target, Decision::VolumeMdb(volume), &format!("volume {volume_db} dB"), peer, now_ns)
                }
                None => Err(Reply::Refused {
                    message: format!("a volume is between -100 and 20 decibels, not {volume_db}"),
                }),
            },
            Request::Mute { target, on } => {
                self.decide(target, Decision::Muted(*on), if *on { "muted" } else { "unmuted" }, peer, now_ns)
            }
            Request::Capture { target, allow } => {
                let text = if *allow { "capture allowed" } else { "capture denied" };
                self.decide(target, Decision::Capture(*allow), text, peer, now_ns)
            }
            Request::Reload => self.reload(now_ns, &peer.to_string()).map_err(|message| Reply::Refused { message }),
        };
        match done {
            Ok((message, streams)) => Reply::Done { message, streams },
            Err(refused) => refused,
        }
    }

    /// Takes a decision, and lets it take effect.
    fn decide(
        &mut self,
        target: &Target,
        decision: Decision,
        text: &str,
        peer: Peer,
        now_ns: u64,
    ) -> Result<(String, usize), Reply> {
        let guest = self.guest_of(target).map_err(|message| Reply::NoSuchStream { message })?;
        let streams = self.streams_of(guest, target);
        if target.card.is_some() && streams.is_none() {
            let message = format!("`{target}`: the guest has no such card or stream; `vsnd list` shows what there is");
            return Err(Reply::NoSuchStream { message });
        }
        self.policy.decisions.decide(guest.0, target, decision);
        self.keep_decisions();
        self.reroute(now_ns);
        info!("audit: {target}: {text}, by {peer}");
        let subject = Subject { domain: Some(guest.0), card: target.card, pcm: target.pcm, stream: target.stream };
        self.journal.push(EventKind::Audit, subject, format!("{text}, by {peer}"));
        Ok((format!("{target}: {text}"), streams.unwrap_or(0)))
    }

    /// The guest that a target names.
    fn guest_of(&self, target: &Target) -> Result<DomainId, String> {
        let mut found: Vec<DomainId> = Vec::new();
        let mut others: Vec<String> = Vec::new();
        for device in self.devices.values() {
            let (guest, name) = (device.id.guest, device.identity.name.as_deref());
            if target.names_guest(guest.0, name, device.identity.uuid.as_deref()) {
                found.push(guest);
            } else {
                others.push(name.map_or_else(|| guest.to_string(), str::to_owned));
            }
        }
        found.dedup();
        others.dedup();
        match (found.as_slice(), others.as_slice()) {
            ([guest], _) => Ok(*guest),
            ([_, _, ..], _) => Err(format!("`{}` is more than one guest: name it by its id or UUID", target.domain)),
            ([], []) => Err(format!("no guest `{}`: none has a sound card now", target.domain)),
            ([], others) => {
                Err(format!("no guest `{}` has a sound card; there are: {}", target.domain, others.join(", ")))
            }
        }
    }

    /// How many connected streams a target names; `None` if there are neither streams nor a card that could have them.
    fn streams_of(&self, guest: DomainId, target: &Target) -> Option<usize> {
        let cards = self.devices.values().filter(|device| device.id.guest == guest);
        let cards = cards.filter(|device| target.card.is_none_or(|card| device.id.card == card));
        let counts = cards.map(|device| {
            let streams =
                device.streams.iter().filter(|(nodes, _)| target.covers(device.id.card, nodes.pcm, nodes.stream));
            // What streams a card has that is not connected is not known.
            let count = streams.count();
            (count > 0 || device.streams.is_empty()).then_some(count)
        });
        counts.flatten().reduce(|sum, count| sum + count)
    }

    /// Reads the configuration again. A file with an error changes nothing.
    fn reload(&mut self, now_ns: u64, asked_by: &str) -> Result<(String, usize), String> {
        service::reloading();
        let result = self.read_again(now_ns, asked_by);
        service::reloaded();
        result
    }

    fn read_again(&mut self, now_ns: u64, asked_by: &str) -> Result<(String, usize), String> {
        let config = match self.steering.source.read() {
            Ok(config) => config,
            Err(error) => {
                let text = format!("{error}; what held before still holds");
                warn!("not reloaded: {text}");
                self.journal.push(EventKind::Reload, Subject::default(), format!("refused: {text}"));
                return Err(text);
            }
        };
        let old = &self.policy.config;
        if (&old.control, &old.metrics) != (&config.control, &config.metrics) {
            warn!("what [control] and [metrics] say takes effect when the daemon is started again");
        }
        let devices: Vec<_> = config.devices().map(|(device, direction)| (device.clone(), direction)).collect();
        // Devices may take their time to answer.
        let _ = thread::Builder::new()
            .name("vsnd-check".into())
            .spawn(move || check_devices(devices.iter().map(|(d, to)| (d, *to))));
        self.policy.config = config;
        self.reroute(now_ns);
        let message = format!("configuration read again, asked by {asked_by}");
        info!("{message}");
        self.journal.push(EventKind::Reload, Subject::default(), &*message);
        Ok((message, self.streams.len()))
    }

    /// Lets what holds now take effect in every stream.
    fn reroute(&mut self, now_ns: u64) {
        let cards: Vec<(DeviceId, Vec<StreamKey>)> = self
            .devices
            .values()
            .map(|device| (device.id, device.streams.iter().map(|(_, key)| *key).collect()))
            .collect();
        for (id, keys) in cards {
            for (index, key) in keys.into_iter().enumerate() {
                let Some(device) = self.devices.get(&id) else { continue };
                let Some((nodes, _)) = device.streams.get(index) else { continue };
                let (nodes, identity) = (nodes.clone(), device.identity.clone());
                let routes = [sndif::store::Direction::Playback, sndif::store::Direction::Capture]
                    .map(|direction| self.policy.route(&identity.asker(id, Some(&nodes)), direction));
                let asked = asked(id, &nodes, &identity);
                self.with_stream(key, now_ns, |served, turn| {
                    asked.change(served, |direction| routes[direction as usize].clone(), turn);
                });
                self.serve_stream(key, now_ns);
            }
        }
    }

    fn keep_decisions(&self) {
        if let Some(path) = &self.steering.kept
            && let Err(error) = self.policy.decisions.write(path)
        {
            warn!("{}: {error}: what was decided will not outlive a restart of the daemon", path.display());
        }
    }

    /// After domains died: what was decided about them is of no use any more.
    pub(super) fn forget_decisions(&mut self) {
        self.journal.logs.forget_the_gone();
        self.quotas.forget_the_gone();
        self.busy.shrink();
        let mut changed = false;
        for domain in self.policy.decisions.domains() {
            if matches!(self.store.read_opt(&format!("/local/domain/{domain}/name")), Ok(None)) {
                changed |= self.policy.decisions.forget(domain);
            }
        }
        if changed {
            self.keep_decisions();
        }
    }

    /// Everything that is served.
    fn status(&self, levels: bool) -> Status {
        let mut guests: Vec<Guest> = Vec::new();
        for device in self.devices.values() {
            let domain = device.id.guest.0;
            if guests.last().is_none_or(|guest| guest.domain != domain) {
                let identity = &device.identity;
                guests.push(Guest {
                    domain,
                    name: identity.name.clone(),
                    uuid: identity.uuid.clone(),
                    cards: Vec::new(),
                });
            }
            let streams = device.streams.iter();
            let card = Card {
                card: device.id.card,
                protocol: device.protocol.to_string(),
                state: device.handshake.state().to_string(),
                violations: device.violations,
                connections: device.connections,
                streams: streams
                    .filter_map(|(nodes, key)| Some(self.streams.get(*key)?.describe(nodes, levels)))
                    .collect(),
            };
            if let Some(guest) = guests.last_mut() {
                guest.cards.push(card);
            }
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: self.poller.now_ns() / 1_000_000,
            cpu_ms: cpu_ms(),
            config: self.steering.source.path(),
            guests,
        }
    }
}

/// Processor time that this process has used.
fn cpu_ms() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(used.tv_sec).unwrap_or(0) * 1000 + u64::try_from(used.tv_nsec).unwrap_or(0) / 1_000_000
}
