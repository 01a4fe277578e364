//! Overrides: kept on disk, ended in time, moved with guests to new names, and forgotten.

use std::collections::BTreeSet;
use std::path::PathBuf;

use control::{EventKind, Reply, Setting, Target};
use host_audio::DeviceSpec;
use tracing::{info, warn};
use xen::DomainId;

use super::Daemon;
use super::jobs::Purpose;
use crate::device::Identity;
use crate::journal::Subject;
use crate::kept::{Kept, Who, file_in, now_ms};
use crate::link::Order;
use crate::overrides::{Entry, OVERRIDES_MAX, Override};
use crate::server::{ClientId, Peer};

/// Longest wait for an override's end: the clock may be set meanwhile, and the machine may sleep.
const WAIT_MS: u64 = 60_000;

impl Daemon {
    /// Loads the overrides that are kept in `directory`, and keeps them there from now on.
    pub(super) fn remember(&mut self, directory: PathBuf) {
        let (kept, warning) = Kept::read(&directory);
        self.kept = kept;
        self.controls.state = Some(directory);
        if let Some(warning) = warning {
            warn!("{warning}");
            self.journal.push(EventKind::Reload, Subject::default(), warning);
        }
        // Since then the machine may have started again, with other domains under the same numbers.
        self.forget_the_gone();
        self.expire_overrides(self.poller.now_ns());
    }

    /// Writes the overrides to their directory. A failure is logged, and returned as text for the end of an answer.
    pub(super) fn keep(&self) -> String {
        let Some(directory) = &self.controls.state else { return String::new() };
        match self.kept.write(directory) {
            Ok(()) => String::new(),
            Err(error) => {
                let path = file_in(directory);
                let words = format!("it will not outlive the daemon: {}: {error}", path.display());
                warn!("an override is not kept: {words}");
                format!("; {words}")
            }
        }
    }

    /// Checks that each of the guests has room for one more override.
    pub(super) fn check_room(&mut self, guests: &BTreeSet<DomainId>, entry: &Entry) -> Result<(), String> {
        for guest in guests {
            let who = self.who(*guest);
            if !self.kept.of(&who).has_room_for(entry) {
                return Err(format!(
                    "no more than {OVERRIDES_MAX} settings of a guest are kept: `vsnd forget {guest}` makes room"
                ));
            }
        }
        Ok(())
    }

    /// Identity of a guest for overrides. A guest that dies has no name any more, and keeps the one that it had.
    pub(super) fn who(&mut self, guest: DomainId) -> Who {
        match self.workers.get(&guest) {
            Some(worker) => worker.who.clone(),
            None => Who::new(guest, &Identity::read(&mut self.store, guest)),
        }
    }

    /// Identity of a guest that is to be served: it may have been named since it was served last.
    pub(super) fn recognise(&mut self, guest: DomainId) -> Who {
        let who = Who::new(guest, &Identity::read(&mut self.store, guest));
        if self.kept.named(&who) {
            self.keep();
        }
        who
    }

    /// Updates a guest's identity: under a new name, the overrides of that name hold for the guest.
    pub(super) fn meet(&mut self, guest: DomainId, now_ns: u64) {
        let new = Who::new(guest, &Identity::read(&mut self.store, guest));
        let Some(worker) = self.workers.get_mut(&guest) else { return };
        let old = std::mem::replace(&mut worker.who, new.clone());
        if old == new {
            return;
        }
        let changed = self.kept.renamed(&old, &new);
        worker.ask(&Order::Overrides(self.kept.of(&new)), None, now_ns);
        if changed {
            self.keep();
        }
    }

    /// Forgets the overrides of domains that died without a name, since another domain may get their number soon. One
    /// that has no name yet has a directory.
    pub(super) fn forget_the_gone(&mut self) {
        let (kept, store) = (&mut self.kept, &mut self.store);
        let is_gone = |domain: u16| matches!(store.read_opt(&format!("/local/domain/{domain}")), Ok(None));
        if kept.forget_nameless(is_gone) {
            self.keep();
        }
    }

    /// Ends overrides whose time is over.
    pub(super) fn expire_overrides(&mut self, now_ns: u64) {
        let now_ms = now_ms();
        if self.kept.next_end_ms().is_none_or(|end_ms| end_ms > now_ms) {
            return;
        }
        let there: Vec<(DomainId, Who)> =
            self.workers.iter().map(|(guest, worker)| (*guest, worker.who.clone())).collect();
        for over in self.kept.expire(now_ms, &there) {
            let text = format!("the time of `{}` is over", over.entry.value.words());
            info!("audit: {}: {text}", over.target);
            let domain = over.guest.map(|guest| guest.0);
            let part = over.target.part;
            let text = if domain.is_some() { text } else { format!("{}: {text}", over.target) };
            self.journal.push(EventKind::Audit, Subject { domain, part }, text);
            if let Some(guest) = over.guest
                && let Some(worker) = self.workers.get_mut(&guest)
            {
                let overrides = self.kept.of(&worker.who);
                worker.ask(&Order::Overrides(overrides), None, now_ns);
            }
        }
        self.keep();
    }

    /// Next time to check for overrides that are over.
    pub(super) fn next_end_ns(&self) -> Option<u64> {
        let left_ms = self.kept.next_end_ms()?.saturating_sub(now_ms()).min(WAIT_MS);
        Some(self.poller.now_ns() + left_ms * 1_000_000)
    }

    /// Override by which streams use `device`.
    pub(super) fn destination(device: &str, direction: control::Direction) -> Result<Override, String> {
        let device: DeviceSpec = device.parse().map_err(|error| format!("{error}"))?;
        device.check_built().map_err(|error| format!("`{device}`: {error}"))?;
        Ok(match direction {
            control::Direction::Playback => Override::Sink(device),
            control::Direction::Capture => Override::Source(device),
        })
    }

    /// Forgets overrides of streams, even if their guest is not running.
    pub(super) fn forget(&mut self, client: ClientId, peer: Peer, target: &Target, now_ns: u64) -> Result<(), Reply> {
        let mut there = self.guests_of(target).unwrap_or_default();
        let who: Vec<Who> = there.iter().map(|guest| self.who(*guest)).collect();
        let forgotten = self.kept.forget(target, &who);
        if forgotten == 0 {
            let message = format!("nothing is kept of `{target}`; `vsnd forget` without a target shows what is");
            return Err(Reply::NoSuchStream { message });
        }
        let text = match forgotten {
            1 => "1 setting forgotten".to_owned(),
            several => format!("{several} settings forgotten"),
        };
        info!("audit: {target}: {text}, by {peer}");
        for guest in &there {
            let subject = Subject::of(*guest, target.part);
            self.journal.push(EventKind::Audit, subject, format!("{text}, by {peer}"));
        }
        if there.is_empty() {
            self.journal.push(EventKind::Audit, Subject::default(), format!("{target}: {text}, by {peer}"));
        }
        let message = format!("{target}: {text}{}", self.keep());
        // The next worker of a guest that has none starts without them.
        there.retain(|guest| self.workers.contains_key(guest));
        let job = self.jobs.open(Purpose::Forget { client, message }, there.clone(), now_ns);
        for guest in there {
            if let Some(worker) = self.workers.get_mut(&guest) {
                let overrides = self.kept.of(&worker.who);
                worker.ask(&Order::Overrides(overrides), Some(job), now_ns);
            }
        }
        Ok(())
    }

    /// All overrides that are kept, in words.
    pub(super) fn all_kept(&self) -> Reply {
        let setting =
            |(target, value, until_ms): (Target, &Override, _)| Setting { target, text: value.words(), until_ms };
        Reply::Kept { kept: self.kept.iter().map(setting).collect() }
    }
}

/// A duration in words, in its largest unit that needs no fraction.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
