//! Priority of a worker among the processes of the host.

use std::io;

use config::Worker;
use rustix::process::{Resource, Rlimit};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tracing::warn;

/// Time that a real-time worker may run without a rest, in microseconds: no guest gets a processor for itself.
const RUN_US_MAX: u64 = 200_000;

/// Gives this process the configured priority, as far as that is allowed. Threads that it starts have the same.
pub fn raise(worker: &Worker) {
    // Without the right to do so, the worker runs at the ordinary priority.
    let _ = rustix::process::setpriority_process(None, worker.nice());
    let Some(priority) = worker.realtime_priority else { return };
    if let Err(error) = raise_to_realtime(priority) {
        warn!(
            "no real-time priority {priority}: {error} (LimitRTPRIO and RestrictRealtime of the service); it goes on without"
        );
    }
}

fn raise_to_realtime(priority: u8) -> io::Result<()> {
    // The limit of its running time is set first.
    let bound = Rlimit { current: Some(RUN_US_MAX), maximum: Some(RUN_US_MAX) };
    rustix::process::setrlimit(Resource::Rttime, bound)?;
    let level = ThreadPriority::from_posix(thread_priority::ScheduleParams { sched_priority: priority.into() });
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(thread_native_id(), level, policy)
        .map_err(|error| io::Error::other(error.to_string()))
}
