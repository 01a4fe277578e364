//! Control and observation of the running daemon: the control socket's requests, reloading, metrics.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use config::ConfigSource;
use control::{EventKind, FOR_SECONDS_MAX, Guest, Reply, Request, Status, Target};
use tracing::{info, warn};
use xen::DomainId;

use super::jobs::{Job, Purpose};
use super::keeping::duration;
use super::{CONTROL_TOKEN, Daemon, METRICS_TOKEN, RELOAD_TOKEN, check_devices};
use crate::device::Identity;
use crate::error::Error;
use crate::exposition::{Process, cpu_ms, exposition};
use crate::journal::Subject;
use crate::kept::now_ms;
use crate::link::{Answer, Order, plain};
use crate::overrides::{Entry, Override};
use crate::server::{ClientId, Control, Metrics, Peer, Sockets};
use crate::service;

/// The sockets and the signal through which the daemon is observed and controlled.
#[derive(Default)]
pub(super) struct Controls {
    control: Option<Control>,
    metrics: Option<Metrics>,
    reload: Option<UnixStream>,
    source: ConfigSource,
    /// Directory in which overrides are kept.
    pub(super) state: Option<PathBuf>,
}

impl Controls {
    pub(super) fn is_busy(&self) -> bool {
        self.control.as_ref().is_some_and(Control::is_busy)
    }

    pub(super) fn next_wake_ns(&self) -> Option<u64> {
        let control = self.control.as_ref().and_then(Control::next_wake_ns);
        control.into_iter().chain(self.metrics.as_ref().and_then(Metrics::next_wake_ns)).min()
    }
}

impl Daemon {
    /// Makes the daemon controllable: at `sockets`, and by reading `source` again when `reload` becomes readable.
    /// Overrides are kept in the directory `state`.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn add_controls(
        &mut self,
        source: ConfigSource,
        sockets: Sockets,
        state: Option<PathBuf>,
        reload: UnixStream,
    ) -> Result<(), Error> {
        if let Some((listener, _)) = sockets.control {
            self.controls.control = Some(Control::new(listener, CONTROL_TOKEN, &self.poller)?);
        }
        if let Some(directory) = state {
            self.remember(directory);
        }
        if let Some((listener, address)) = sockets.metrics {
            self.controls.metrics = Some(Metrics::new(listener, METRICS_TOKEN, &self.poller)?);
            info!("metrics are at {address}");
        }
        reload.set_nonblocking(true)?;
        self.poller.add_level(&reload, RELOAD_TOKEN)?;
        self.controls.reload = Some(reload);
        self.controls.source = source;
        Ok(())
    }

    /// Serves one of these descriptors after it became ready.
    pub(super) fn controls_woke(&mut self, token: u64, now_ns: u64) {
        if token == RELOAD_TOKEN {
            if let Some(signal) = &mut self.controls.reload {
                while matches!(signal.read(&mut [0; 64]), Ok(1..)) {}
            }
            // The outcome is in the log and the journal.
            let _ = self.reload(None, "a signal", now_ns);
        } else if let Some(control) = &mut self.controls.control
            && control.woke(token, &self.poller)
        {
            // `serve_controls` handles the requests.
        } else if let Some(metrics) = &mut self.controls.metrics {
            metrics.woke(token, &self.poller);
        }
    }

    /// Answers requests and sends events.
    pub(super) fn serve_controls(&mut self, now_ns: u64) {
        if self.controls.metrics.as_ref().is_some_and(Metrics::is_asked) && !self.jobs.has_metrics() {
            self.ask_all(Purpose::Metrics, &Order::Look { levels: false }, now_ns);
        }
        let requests = self.controls.control.as_mut().map(Control::requests).unwrap_or_default();
        for (client, peer, request) in requests {
            if let Some(reply) = self.answer(client, peer, &request, now_ns) {
                let follow = matches!(request, Request::Events { follow: true }).then(|| self.journal.count());
                self.reply(client, &reply, follow);
            }
        }
        while let Some(job) = self.jobs.take_done(now_ns) {
            self.finish(job, now_ns);
        }
        if let Some(control) = &mut self.controls.control {
            control.tell(&self.journal);
            control.expire(now_ns);
        }
        if let Some(metrics) = &mut self.controls.metrics {
            metrics.expire(now_ns);
        }
    }

    fn reply(&mut self, client: ClientId, reply: &Reply, follow: Option<u64>) {
        if let Some(control) = &mut self.controls.control {
            control.reply(client, reply, follow);
        }
    }

    /// Answer to a request; `None` if workers have to be asked first.
    fn answer(&mut self, client: ClientId, peer: Peer, request: &Request, now_ns: u64) -> Option<Reply> {
        let decided = match request {
            Request::List { levels } => {
                self.ask_all(Purpose::List(client), &Order::Look { levels: *levels }, now_ns);
                return None;
            }
            Request::Events { .. } => return Some(Reply::Events { events: self.journal.since(0).cloned().collect() }),
            Request::Kept => return Some(self.all_kept()),
            Request::Volume { target, volume_db } => match pcm::gain::millidecibels(*volume_db) {
                Some(volume) => self.decide(client, peer, target, Override::VolumeMdb(volume), None, now_ns),
                None => Err(Reply::Refused {
                    message: format!("a volume is between -100 and 20 decibels, not {volume_db}"),
                }),
            },
            Request::Mute { target, on } => self.decide(client, peer, target, Override::Muted(*on), None, now_ns),
            Request::Capture { target, allow, for_s } => {
                self.decide(client, peer, target, Override::Capture(*allow), *for_s, now_ns)
            }
            Request::Move { target, device, direction } => match Self::destination(device, *direction) {
                Ok(value) => self.decide(client, peer, target, value, None, now_ns),
                Err(message) => Err(Reply::Refused { message }),
            },
            Request::Disconnect { target } => self.disconnect(client, peer, target, now_ns),
            Request::Forget { target } => self.forget(client, peer, target, now_ns),
            Request::Reload => {
                self.reload(Some(client), &peer.to_string(), now_ns).map_err(|message| Reply::BadConfig { message })
            }
        };
        decided.err()
    }

    /// Sends `order` to all workers that serve, as one question for `purpose`.
    fn ask_all(&mut self, purpose: Purpose, order: &Order, now_ns: u64) {
        let serving = |worker: &super::Worker| worker.serving && !worker.is_ending();
        let asked: BTreeSet<DomainId> =
            self.workers.iter().filter(|(_, worker)| serving(worker)).map(|(guest, _)| *guest).collect();
        let job = self.jobs.open(purpose, asked, now_ns);
        for worker in self.workers.values_mut().filter(|worker| serving(worker)) {
            worker.ask(order, Some(job), now_ns);
        }
    }

    /// Notes a worker's answer.
    pub(super) fn answered(&mut self, guest: DomainId, job: u64, answer: Answer) {
        match answer {
            Answer::Done { streams } => self.jobs.answered(job, guest, |job| {
                job.streams += streams;
                job.done.insert(guest);
            }),
            Answer::NoSuchStream => self.jobs.answered(job, guest, |job| {
                job.concerned.remove(&guest);
            }),
            Answer::OtherDirection => self.jobs.answered(job, guest, |job| {
                job.concerned.remove(&guest);
                job.other_direction = true;
            }),
            Answer::Seen(seen) => {
                if let Some(worker) = self.workers.get_mut(&guest)
                    // A worker may only report on its own guest.
                    && seen.guest.as_ref().is_none_or(|its| its.domain == guest.0)
                {
                    let process = worker.process();
                    worker.seen = seen.plain();
                    if let (Some(its), Some(process)) = (&mut worker.seen.guest, process) {
                        its.pid = process;
                    }
                }
                self.jobs.answered(job, guest, |_| {});
            }
            Answer::Alive => self.jobs.answered(job, guest, |_| {}),
        }
    }

    /// Tells the outcome to the client that asked.
    fn finish(&mut self, job: Job, now_ns: u64) {
        match job.purpose {
            Purpose::List(client) => {
                let status = self.status();
                self.reply(client, &Reply::Status(status), None);
            }
            Purpose::Metrics => {
                #[expect(clippy::cast_precision_loss, reason = "a metric")]
                let process = Process { started_s: self.started_ms as f64 / 1e3 };
                let text = exposition(&self.status(), &self.totals(), self.journal.count(), process);
                if let Some(metrics) = &mut self.controls.metrics {
                    metrics.give(&text);
                }
            }
            Purpose::Reload { client, message } => {
                service::reloaded();
                if let Some(client) = client {
                    self.reply(client, &Reply::Done { message, streams: job.streams }, None);
                }
            }
            Purpose::Forget { client, message } => {
                self.reply(client, &Reply::Done { message, streams: job.streams }, None);
            }
            Purpose::Decide { client, target, entry, .. } if job.concerned.is_empty() && job.other_direction => {
                let message = match entry.value {
                    Override::Capture(_) => {
                        format!("`{target}` is for playback: only capture is allowed or denied")
                    }
                    Override::Sink(_) => format!("`{target}` is for capture: `--source` moves what it captures from"),
                    _ => format!("`{target}` is for playback: without `--source`, what it plays to is moved"),
                };
                self.reply(client, &Reply::Refused { message }, None);
            }
            Purpose::Decide { client, target, .. } | Purpose::Disconnect { client, target, .. }
                if job.concerned.is_empty() =>
            {
                let message =
                    format!("`{target}`: the guest has no such card or stream; `vsnd list` shows what there is");
                self.reply(client, &Reply::NoSuchStream { message }, None);
            }
            Purpose::Disconnect { client, peer, target } => {
                info!("audit: {target}: disconnected, by {peer}");
                for guest in job.concerned {
                    let subject = Subject::of(guest, target.part);
                    self.journal.push(EventKind::Audit, subject, format!("disconnected, by {peer}"));
                }
                let message = format!("{target}: disconnected");
                self.reply(client, &Reply::Done { message, streams: job.streams }, None);
            }
            Purpose::Decide { client, peer, target, entry, text } => {
                info!("audit: {target}: {text}, by {peer}");
                for guest in job.concerned {
                    // The override holds even if no worker answered: the next one follows it, which may have started
                    // meanwhile.
                    let who = self.who(guest);
                    self.kept.decide(&who, entry.clone());
                    if let Some(worker) = self.workers.get_mut(&guest).filter(|_| !job.done.contains(&guest)) {
                        worker.ask(&Order::Overrides(self.kept.of(&who)), None, now_ns);
                    }
                    let subject = Subject::of(guest, target.part);
                    self.journal.push(EventKind::Audit, subject, format!("{text}, by {peer}"));
                }
                let message = format!("{target}: {text}{}", self.keep());
                self.reply(client, &Reply::Done { message, streams: job.streams }, None);
            }
        }
    }

    /// Has the workers of the guests that a target names follow an override, permanently or for `for_s` seconds.
    fn decide(
        &mut self,
        client: ClientId,
        peer: Peer,
        target: &Target,
        value: Override,
        for_s: Option<u64>,
        now_ns: u64,
    ) -> Result<(), Reply> {
        let mut text = value.words();
        if let Some(seconds) = for_s {
            if !(1..=FOR_SECONDS_MAX).contains(&seconds) {
                return Err(Reply::Refused { message: format!("`for_s` is 1 to {FOR_SECONDS_MAX}, not {seconds}") });
            }
            text += &format!(" for {}", duration(seconds));
        }
        let until_ms = for_s.map(|seconds| now_ms().saturating_add(seconds * 1000));
        let guests = self.guests_of(target).map_err(|message| Reply::NoSuchStream { message })?;
        let entry = Entry { part: target.part, value, until_ms };
        self.check_room(&guests, &entry).map_err(|message| Reply::Refused { message })?;
        let purpose = Purpose::Decide { client, peer, target: target.clone(), entry: entry.clone(), text };
        let (asked, others): (BTreeSet<_>, BTreeSet<_>) = guests.into_iter().partition(|guest| self.serves(*guest));
        let job = self.jobs.open(purpose, asked.clone(), now_ns);
        self.jobs.concern(job, others);
        for guest in &asked {
            if let Some(worker) = self.workers.get_mut(guest) {
                worker.ask(&Order::Decide(entry.clone()), Some(job), now_ns);
            }
        }
        Ok(())
    }

    /// Has workers end the connection of cards.
    fn disconnect(&mut self, client: ClientId, peer: Peer, target: &Target, now_ns: u64) -> Result<(), Reply> {
        if target.part.pcm.is_some() {
            let message = format!("`{target}` is a part of a card, and a card is disconnected as a whole");
            return Err(Reply::Refused { message });
        }
        let mut guests = self.guests_of(target).map_err(|message| Reply::NoSuchStream { message })?;
        guests.retain(|guest| self.serves(*guest));
        if guests.is_empty() {
            return Err(Reply::Refused { message: format!("`{target}`: no card is connected at the moment") });
        }
        let purpose = Purpose::Disconnect { client, peer, target: target.clone() };
        let job = self.jobs.open(purpose, guests.clone(), now_ns);
        for guest in &guests {
            if let Some(worker) = self.workers.get_mut(guest) {
                worker.ask(&Order::Disconnect { card: target.part.card }, Some(job), now_ns);
            }
        }
        Ok(())
    }

    /// Returns true if a worker has the guest's cards.
    fn serves(&self, guest: DomainId) -> bool {
        self.workers.get(&guest).is_some_and(|worker| worker.cards > 0)
    }

    /// The guests that a target names: one, or with a pattern at least one. A guest that waits for its worker, or for
    /// another one, is among them: nothing is heard of it at the moment, but soon.
    pub(super) fn guests_of(&mut self, target: &Target) -> Result<BTreeSet<DomainId>, String> {
        let mut found: BTreeSet<DomainId> = BTreeSet::new();
        let mut others: Vec<String> = Vec::new();
        let mut guests = self.guests_with_cards();
        guests.extend(self.workers.keys().copied().filter(|guest| self.serves(*guest)));
        for guest in guests {
            let Identity { name, uuid } = Identity::read(&mut self.store, guest);
            if target.names_guest(guest.0, name.as_deref(), uuid.as_deref()) {
                found.insert(guest);
            } else {
                others.push(name.unwrap_or_else(|| guest.to_string()));
            }
        }
        match (found.len(), others.as_slice()) {
            (2.., _) if !target.is_pattern() => {
                Err(format!("`{}` is more than one guest: name it by its id or UUID", target.domain))
            }
            (1.., _) => Ok(found),
            (0, []) => Err(format!("no guest `{}`: none has a sound card now", target.domain)),
            (0, others) => {
                Err(format!("no guest `{}` has a sound card; there are: {}", target.domain, others.join(", ")))
            }
        }
    }

    /// Reads the configuration again. A file with an error changes nothing.
    fn reload(&mut self, client: Option<ClientId>, asked_by: &str, now_ns: u64) -> Result<(), String> {
        service::reloading();
        let read = self.controls.source.settings().and_then(|settings| Ok((settings.usable()?, settings)));
        let (config, settings) = match read {
            Ok(read) => read,
            Err(error) => {
                service::reloaded();
                warn!("not reloaded, what held before still holds: {error}");
                let text = format!("refused, asked by {asked_by}: {}", error.brief());
                self.journal.push(EventKind::Reload, Subject::default(), text);
                return Err(format!("not reloaded, what held before still holds: {error}"));
            }
        };
        let old = &self.config;
        if (&old.control, &old.metrics) != (&config.control, &config.metrics) {
            warn!("what [control] and [metrics] say takes effect when the daemon is started again");
        }
        let devices: Vec<_> = config.devices().map(|(device, direction)| (device.clone(), direction)).collect();
        // In a thread of its own: devices may be slow to answer.
        let _ = thread::Builder::new()
            .name("vsnd-check".into())
            .spawn(move || check_devices(devices.iter().map(|(d, to)| (d, *to))));
        self.config = config;
        self.settings = settings;
        let message = format!("configuration read again: {}", self.settings.describe(&self.config));
        info!("{message}, asked by {asked_by}");
        self.journal.push(EventKind::Reload, Subject::default(), format!("{message}, asked by {asked_by}"));
        let order = Order::Settings(self.settings.clone());
        self.ask_all(Purpose::Reload { client, message }, &order, now_ns);
        Ok(())
    }

    /// Status of everything that is served, as last reported by the workers, and of guests that wait for one.
    fn status(&mut self) -> Status {
        let mut guests: Vec<Guest> = self.workers.values().filter_map(|worker| worker.seen.guest.clone()).collect();
        let mut others = self.guests();
        others.retain(|guest| guests.iter().all(|its| its.domain != guest.0));
        for guest in others {
            if self.cards_of(guest).is_ok_and(|cards| !cards.is_empty()) {
                guests.push(self.waiting(guest));
            }
        }
        guests.sort_by_key(|guest| guest.domain);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: self.poller.now_ns() / 1_000_000,
            cpu_ms: cpu_ms() + self.past.cpu_ms + self.workers.values().map(|worker| worker.seen.cpu_ms).sum::<u64>(),
            config: self.controls.source.path(),
            guests,
        }
    }

    /// A guest whose cards nothing serves yet, or at the moment.
    fn waiting(&mut self, guest: DomainId) -> Guest {
        let Identity { mut name, mut uuid } = Identity::read(&mut self.store, guest);
        name.iter_mut().chain(&mut uuid).for_each(plain);
        let process = self.workers.get(&guest).and_then(super::Worker::process);
        let waits = self.held_off.contains_key(&guest) || self.leaving.iter().any(|(leaving, ..)| *leaving == guest);
        let worker = match self.workers.contains_key(&guest) {
            false if waits => control::Worker::Restarting,
            _ => control::Worker::Starting,
        };
        Guest { domain: guest.0, name, uuid, pid: process.unwrap_or(0), worker, cards: Vec::new() }
    }
}
