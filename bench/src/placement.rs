//! Placement of the two ends of a measurement on processors.
//!
//! A wake-up on another processor costs several times as much as one on the same. The scheduler's own choice differs
//! from pair to pair and from run to run. So both kinds of pair get the same placement.

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Processors of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Placement {
    /// Both on one processor: the cost without wake-ups of other processors.
    OneProcessor,
    /// Each on its own processor, like guest and host on Xen.
    TwoProcessors,
    /// The scheduler's choice.
    Free,
}

impl Placement {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneProcessor => "one processor",
            Self::TwoProcessors => "two processors",
            Self::Free => "free",
        }
    }

    /// The placements that this machine supports.
    pub(crate) fn possible() -> Result<Vec<Self>> {
        let two = Processors::ours()?.list.len() > 1;
        let all = [Self::OneProcessor, Self::TwoProcessors, Self::Free];
        Ok(all.into_iter().filter(|&placement| two || placement == Self::OneProcessor).collect())
    }
}

/// The processors that this process may use. When dropped, gives all of them back to this thread.
pub(crate) struct Processors {
    all: CpuSet,
    list: Vec<usize>,
}

impl Processors {
    pub(crate) fn ours() -> Result<Self> {
        let all = sched_getaffinity(None).context("cannot read the processors of this process")?;
        Ok(Self { all, list: (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).collect() })
    }

    /// Moves this thread and the (single-threaded) processes of `others` to the processors of `placement`.
    pub(crate) fn place(&self, placement: Placement, others: &[u32]) -> Result<()> {
        let (ours, theirs) = match placement {
            Placement::OneProcessor => (self.only(0), self.only(0)),
            Placement::TwoProcessors => (self.only(0), self.only(1)),
            Placement::Free => (self.all, self.all),
        };
        sched_setaffinity(None, &ours).context("cannot choose this thread's processor")?;
        for &other in others {
            let pid = i32::try_from(other).ok().and_then(Pid::from_raw);
            sched_setaffinity(pid, &theirs).with_context(|| format!("cannot choose the processor of {other}"))?;
        }
        Ok(())
    }

    fn only(&self, index: usize) -> CpuSet {
        let mut set = CpuSet::new();
        self.list.get(index).iter().for_each(|&&cpu| set.set(cpu));
        set
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        // The set was allowed before, so the call does not fail.
        let _ = sched_setaffinity(None, &self.all);
    }
}
