//! Which processors the two ends of a measurement run on.
//!
//! A wake-up on another processor costs several times one on the same; where the scheduler puts two processes by
//! itself differs from pair to pair and from run to run. So both kinds of pair are put where the other is.

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Where the ends run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Placement {
    /// Both on one processor: what the way costs without the machine's wake-ups.
    OneProcessor,
    /// Each on its own, as guest and host are on Xen.
    TwoProcessors,
    /// Wherever the scheduler puts them.
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

    /// Those that this machine can do.
    pub(crate) fn possible() -> Result<Vec<Self>> {
        let two = Processors::ours()?.list.len() > 1;
        let all = [Self::OneProcessor, Self::TwoProcessors, Self::Free];
        Ok(all.into_iter().filter(|&placement| two || placement == Self::OneProcessor).collect())
    }
}

/// The processors that this process may use. Gives them all back to this thread when dropped.
pub(crate) struct Processors {
    all: CpuSet,
    list: Vec<usize>,
}

impl Processors {
    pub(crate) fn ours() -> Result<Self> {
        let all = sched_getaffinity(None).context("cannot read the processors of this process")?;
        Ok(Self { all, list: (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).collect() })
    }

    /// Puts this thread and the (single-threaded) processes of `others` where `placement` says.
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
        // It was allowed before.
        let _ = sched_setaffinity(None, &self.all);
    }
}
