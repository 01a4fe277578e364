//! What was decided since the daemon was started, in place of what the configuration says.
//!
//! A decision is about a guest or a part of it, and holds until another takes its place or the guest is gone. The
//! latest wins.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use control::Target;
use serde::{Deserialize, Serialize};

use crate::policy::Asker;

/// What was decided about a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) volume_mdb: Option<i32>,
    pub(crate) muted: Option<bool>,
    pub(crate) capture: Option<bool>,
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Decision {
    VolumeMdb(i32),
    Muted(bool),
    Capture(bool),
}

/// The streams of one guest that a decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Scope {
    domain: u16,
    card: Option<u32>,
    pcm: Option<u8>,
    stream: Option<u8>,
}

impl Scope {
    /// Whether everything in `other` is in here.
    fn covers(&self, other: &Self) -> bool {
        fn holds<T: PartialEq>(ours: Option<T>, theirs: Option<T>) -> bool {
            ours.is_none() || ours == theirs
        }
        self.domain == other.domain
            && holds(self.card, other.card)
            && holds(self.pcm, other.pcm)
            && holds(self.stream, other.stream)
    }
}

/// Everything that was decided, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decisions(Vec<(Scope, Decision)>);

impl Decisions {
    /// Takes a decision about `target`, whose guest is `domain`.
    pub(crate) fn decide(&mut self, domain: u16, target: &Target, decision: Decision) {
        let scope = Scope { domain, card: target.card, pcm: target.pcm, stream: target.stream };
        let same_kind = |other: &Decision| std::mem::discriminant(other) == std::mem::discriminant(&decision);
        self.0.retain(|(older, other)| !(scope.covers(older) && same_kind(other)));
        self.0.push((scope, decision));
    }

    /// What was decided about a stream.
    pub(crate) fn of(&self, asker: &Asker<'_>) -> Decided {
        let stream =
            Scope { domain: asker.domain, card: Some(asker.card), pcm: Some(asker.pcm), stream: Some(asker.stream) };
        let mut decided = Decided::default();
        for (_, decision) in self.0.iter().filter(|(scope, _)| scope.covers(&stream)) {
            match *decision {
                Decision::VolumeMdb(volume) => decided.volume_mdb = Some(volume),
                Decision::Muted(on) => decided.muted = Some(on),
                Decision::Capture(allow) => decided.capture = Some(allow),
            }
        }
        decided
    }

    /// The guests that something was decided about.
    pub(crate) fn domains(&self) -> BTreeSet<u16> {
        self.0.iter().map(|(scope, _)| scope.domain).collect()
    }

    /// What a daemon before this one has kept; nothing where that cannot be read.
    pub(crate) fn read(path: &Path) -> Self {
        let Ok(text) = fs::read(path) else { return Self::default() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!("{}: {error}: what was decided before is not known any more", path.display());
            Self::default()
        })
    }

    /// Keeps it for a daemon after this one.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        // Whoever reads it finds the old one or the new one, whole.
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(&new, path)
    }

    /// A guest is gone. Says whether anything was decided about it.
    pub(crate) fn forget(&mut self, domain: u16) -> bool {
        let before = self.0.len();
        self.0.retain(|(scope, _)| scope.domain != domain);
        self.0.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(domain: u16, card: u32, stream: u8) -> Asker<'static> {
        Asker { domain, name: None, uuid: None, card, pcm: 0, stream, unique_id: "" }
    }

    #[test]
    fn the_latest_decision_holds_and_a_wider_one_replaces_narrower_ones() {
        let mut decisions = Decisions::default();
        let mut decide = |target: &str, decision| decisions.decide(5, &target.parse().unwrap(), decision);
        decide("x/0/0/1", Decision::Capture(true));
        decide("x", Decision::VolumeMdb(-3000));
        decide("x", Decision::Capture(false));
        decide("x/1", Decision::Capture(true));
        decide("x/1", Decision::Capture(true));
        assert_eq!(decisions.0.len(), 3);
        assert_eq!(decisions.of(&asker(5, 0, 1)).capture, Some(false));
        assert_eq!(
            decisions.of(&asker(5, 1, 1)),
            Decided { volume_mdb: Some(-3000), muted: None, capture: Some(true) }
        );
        assert_eq!(decisions.of(&asker(6, 1, 1)), Decided::default());
        assert!(decisions.forget(5) && !decisions.forget(5));
        assert_eq!(decisions, Decisions::default());
    }
}
