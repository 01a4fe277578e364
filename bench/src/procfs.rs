//! Data of the system about a process: processor time, wake-ups, memory.

use std::fs;

use anyhow::{Context, Result};

/// Resources that a process has used since it started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time of all its threads.
    pub(crate) cpu_ns: u64,
    /// Number of times that a thread went to sleep.
    pub(crate) sleeps: u64,
}

impl Usage {
    /// Usage of the process `pid` and its descendants, summed over their current threads.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut usage = Self::of_one(pid)?;
        for child in children(pid) {
            // A process that has just ended counts as 0.
            let child = Self::of(child).unwrap_or_default();
            usage.cpu_ns += child.cpu_ns;
            usage.sleeps += child.sleeps;
        }
        Ok(usage)
    }

    fn of_one(pid: u32) -> Result<Self> {
        let mut usage = Self::default();
        let tasks = format!("/proc/{pid}/task");
        for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
            let task = task?.path();
            let Ok(run) = fs::read_to_string(task.join("schedstat")) else { continue };
            usage.cpu_ns += run.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            let status = fs::read_to_string(task.join("status")).unwrap_or_default();
            usage.sleeps += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(usage)
    }

    /// Usage since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns), sleeps: self.sleeps.saturating_sub(earlier.sleeps) }
    }
}

/// Memory of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// All pages that the process has mapped and touched.
    pub(crate) rss_bytes: u64,
    /// The same, with pages shared by n processes counted as an nth.
    pub(crate) pss_bytes: u64,
    /// Pages that no other process has.
    pub(crate) private_bytes: u64,
}

impl Memory {
    /// Memory of the process `pid` and its descendants.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut memory = Self::of_one(pid)?;
        for child in children(pid) {
            let child = Self::of(child)?;
            memory.rss_bytes += child.rss_bytes;
            memory.pss_bytes += child.pss_bytes;
            memory.private_bytes += child.private_bytes;
        }
        Ok(memory)
    }

    fn of_one(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let bytes = |name| field(&text, name).map(|kib| kib * 1024).with_context(|| format!("no `{name}` in {path}"));
        Ok(Self {
            rss_bytes: bytes("Rss:")?,
            pss_bytes: bytes("Pss:")?,
            private_bytes: bytes("Private_Clean:")? + bytes("Private_Dirty:")?,
        })
    }
}

/// The living child processes of `pid`.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The processor's name, for the report.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

/// The running kernel's version.
pub(crate) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        let memory = Memory::of(pid).unwrap();
        assert!(memory.rss_bytes >= memory.pss_bytes && memory.private_bytes > 0, "{memory:?}");
        assert!(Usage::of(pid).unwrap().cpu_ns > 0);
    }
}
