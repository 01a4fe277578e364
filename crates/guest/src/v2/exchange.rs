//! Requests, answers and events of a stream of protocol version 2, and the waiting for them.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use frontend::{Completion, Mixer, Progress, RequestId, Stream, SubmitError};
use sndif::Errno;
use sndif::v2::Operation;
use xen::Granted;

use super::buffer::Buffer;
use super::captured::Captured;
use super::transport::Transport;
use crate::connection::Shared;
use crate::hold::Hold;
use crate::wait::readable;
use crate::{ChannelKind, Error, Result};

/// Time that an answer may take: Linux gives a backend as long.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Pages of events taken in one call at most; a backend that writes faster than we read does not hold us up.
const EVENT_PAGES: u32 = 4;

pub(crate) struct Exchange {
    pub(crate) hold: Hold<Transport>,
    /// The buffer of the open stream.
    pub(crate) buffer: Option<Buffer>,
    /// Bytes that were captured and not read yet; holds nothing where sound is played.
    pub(crate) captured: Captured,
    /// `None` only while it is given back.
    pub(crate) mixer: Option<Box<Mixer>>,
    /// Time 0 of the tags of requests.
    epoch: Instant,
    pub(crate) measure: bool,
    pub(crate) edge_triggered: bool,
    /// The WRITE or READ that failed when nobody waited for it.
    failed: Option<(Operation, Errno)>,
    /// Number of times that capture was started again since a READ last brought frames.
    pub(crate) futile_restarts: u32,
}

impl Exchange {
    pub(crate) fn new(shared: Arc<Shared>, index: usize, transport: Transport, mixer: Box<Mixer>) -> Self {
        Self {
            hold: Hold::new(shared, index, transport),
            buffer: None,
            captured: Captured::default(),
            mixer: Some(mixer),
            epoch: Instant::now(),
            measure: false,
            edge_triggered: false,
            failed: None,
            futile_restarts: 0,
        }
    }

    /// The core's stream, also that of a connection that was lost.
    pub(crate) fn stream(&self) -> Option<&Stream<Granted>> {
        self.hold.latest().map(|transport| &transport.stream)
    }

    pub(crate) fn stream_mut(&mut self) -> Result<&mut Stream<Granted>> {
        self.hold.transport().map(|transport| &mut transport.stream)
    }

    /// Descriptors of the two channels, in the order ring, events.
    pub(crate) fn fds(&self) -> Result<[BorrowedFd<'_>; 2]> {
        let transport = self.hold.latest().ok_or(Error::Lost)?;
        Ok([transport.ring.as_fd(), transport.events.as_fd()])
    }

    /// Takes the next connection's transport.
    pub(crate) fn attach(&mut self, deadline: Instant, timeout: Duration) -> Result<()> {
        let features = self.hold.attach(deadline, timeout)?;
        if let Some(mixer) = &mut self.mixer {
            mixer.set_features(features);
            mixer.replay();
        }
        Ok(())
    }

    /// Lets go of a lost connection's transport and buffer.
    pub(crate) fn detach(&mut self) {
        // A READ that was answered brought its bytes, whatever became of the backend afterwards.
        while let Some(Ok(Some(completion))) =
            self.hold.latest_mut().map(|transport| transport.stream.next_completion())
        {
            self.settle_read(&completion);
        }
        self.hold.detach();
        self.captured.await_nothing();
        self.end_buffer();
    }

    /// Takes the buffer's pages back.
    pub(crate) fn end_buffer(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            buffer.end();
        }
    }

    /// Captured frames are lost, and with them the READs that were refused: nothing is in flight.
    pub(crate) fn lose_captured(&mut self) {
        self.failed = None;
        self.captured.await_nothing();
        self.hold.stats.xruns += 1;
    }

    fn now_ns(&self) -> u64 {
        // 0 means "not measured".
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// The tag of a WRITE that goes out now.
    pub(crate) fn write_tag(&self) -> u64 {
        if self.measure { self.now_ns() } else { 0 }
    }

    /// Shows what was submitted to the backend, and notifies it if it asked for that.
    pub(crate) fn publish(&mut self) -> Result<()> {
        self.hold.notify_if(|transport| transport.stream.publish())
    }

    /// Notifies the backend of what it was only shown, since somebody waits for the answers.
    pub(crate) fn hurry(&mut self) -> Result<()> {
        self.hold.notify_if(|transport| transport.stream.hurry())
    }

    /// Takes answers until that of `wanted` comes, or all that are there.
    pub(crate) fn take_completions(&mut self, wanted: Option<RequestId>) -> Result<Option<Completion>> {
        while let Some(completion) = self.stream_mut()?.next_completion()? {
            if completion.tag != 0 && matches!(completion.operation, Operation::Write(_)) {
                let latency = self.now_ns().saturating_sub(completion.tag);
                self.hold.stats.write_latency.record(latency);
            }
            let failed = match completion.operation {
                Operation::Write(_) | Operation::Read(_) => true,
                // Bytes that were not captured before STOP do not come.
                Operation::ReadAhead { .. } => self.stream_mut()?.is_running(),
                _ => false,
            };
            if let Some(errno) = completion.result.err().filter(|_| failed) {
                self.failed.get_or_insert((completion.operation, errno));
            }
            self.settle_read(&completion);
            if let Some(mixer) = &mut self.mixer {
                mixer.completed(&completion);
            }
            if wanted == Some(completion.id) {
                return Ok(Some(completion));
            }
        }
        Ok(None)
    }

    /// Takes over what an answered READ brought.
    fn settle_read(&mut self, completion: &Completion) {
        let (Operation::Read(span) | Operation::ReadAhead { span, .. }) = &completion.operation else { return };
        match (&self.buffer, completion.result) {
            (Some(buffer), Ok(())) => {
                self.captured.answered(span, &buffer.pages);
                self.futile_restarts = 0;
            }
            _ => self.captured.refused(span),
        }
    }

    /// Asks for what was captured since it was asked last, and lays out READs for what comes. The answers are not waited for: they are
    /// collected when the next event comes, so that they cost no notification.
    pub(crate) fn ask_captured(&mut self) -> Result<()> {
        loop {
            let full = self.submit_reads()?;
            self.publish()?;
            let awaited = self.awaited_bytes() > 0;
            let stream = self.stream_mut()?;
            let overdue = stream.overdue_bytes() > 0;
            // No event comes while the stream does not run, and none makes a slot free.
            let notify = full || awaited && !stream.is_running();
            let answers = if overdue { 1 } else { stream.awaited() };
            if overdue {
                self.hurry()?;
            }
            if !(notify && self.stream_mut()?.arm(answers)) {
                return Ok(());
            }
            self.take_completions(None)?;
        }
    }

    /// Bytes that were captured and asked for, whose answer is on its way. READs that are laid out are answered at a period's end.
    pub(crate) fn awaited_bytes(&self) -> u32 {
        match self.stream().filter(|stream| stream.laid_out() > 0) {
            Some(stream) => stream.overdue_bytes(),
            None => self.captured.awaited_bytes(),
        }
    }

    /// Submits READs for what was captured, as far as there is room for it; returns whether the ring is full.
    fn submit_reads(&mut self) -> Result<bool> {
        loop {
            let room = self.captured.room_bytes();
            let stream = self.stream_mut()?;
            let Some(read) = stream.next_read(room) else { return Ok(false) };
            let (Operation::Read(span) | Operation::ReadAhead { span, .. }) = read else { return Ok(false) };
            match stream.submit(read) {
                Ok(_) => self.captured.asked(&span),
                Err(SubmitError::Full) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes all answers and events that are there.
    pub(crate) fn collect(&mut self) -> Result<Progress> {
        self.take_completions(None)?;
        let stream = self.stream_mut()?;
        let mut sum = Progress::default();
        for _ in 0..EVENT_PAGES {
            let progress = stream.take_events()?;
            sum.events += progress.events;
            sum.moved_bytes += progress.moved_bytes;
            sum.xrun |= progress.xrun;
            sum.more = progress.more;
            if !progress.more {
                break;
            }
        }
        if let Some((operation, errno)) = self.failed.take() {
            return Err(Error::Refused { operation: name(&operation), errno });
        }
        Ok(sum)
    }

    /// Submits, making room in the ring if there is none.
    pub(crate) fn submit(&mut self, operation: Operation) -> Result<RequestId> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match self.stream_mut()?.submit(operation) {
                Ok(id) => return Ok(id),
                Err(SubmitError::Full) => {}
                Err(error) => return Err(error.into()),
            }
            self.publish()?;
            self.take_completions(None)?;
            if self.stream_mut()?.in_flight() == sndif::v2::RING_SLOTS && !self.wait_answer(deadline)? {
                return Err(Error::NoAnswer { operation: name(&operation), after: ANSWER_TIMEOUT });
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn request(&mut self, operation: Operation) -> Result<Completion> {
        let id = self.submit(operation)?;
        self.answer(id, &operation)
    }

    /// Sends a request and waits for its success.
    pub(crate) fn request_ok(&mut self, operation: Operation) -> Result<()> {
        let refused = |errno| Error::Refused { operation: name(&operation), errno };
        self.request(operation)?.result.map_err(refused)
    }

    /// Waits for the answer to a submitted request.
    pub(crate) fn answer(&mut self, id: RequestId, operation: &Operation) -> Result<Completion> {
        self.publish()?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            if let Some(completion) = self.take_completions(Some(id))? {
                return Ok(completion);
            }
            if !self.wait_answer(deadline)? {
                return Err(Error::NoAnswer { operation: name(operation), after: ANSWER_TIMEOUT });
            }
        }
    }

    /// Sleeps until the answers in flight have come, or something else happens.
    fn wait_answer(&mut self, deadline: Instant) -> Result<bool> {
        self.hurry()?;
        let stream = self.stream_mut()?;
        let awaited = stream.awaited();
        if stream.arm(awaited) {
            return Ok(true);
        }
        self.wait(deadline)
    }

    /// Sleeps until an answer has come, or something else happens.
    pub(crate) fn wait_for_any_answer(&mut self, deadline: Instant) -> Result<bool> {
        self.hurry()?;
        if self.stream_mut()?.arm(1) {
            return Ok(true);
        }
        self.wait(deadline)
    }

    /// Sleeps until one of the channels or the connection has something new; `false` at the deadline.
    pub(crate) fn wait(&mut self, deadline: Instant) -> Result<bool> {
        let transport = self.hold.lasting()?;
        let [store, epoch] = self.hold.fds(transport);
        let fds = [transport.events.as_fd(), transport.ring.as_fd(), store, epoch];
        let Some([events, ring, store, epoch]) = readable(fds, deadline)? else { return Ok(false) };
        for (ready, kind) in [(events, ChannelKind::Events), (ring, ChannelKind::Ring)] {
            if ready {
                self.acknowledge(kind, false)?;
            }
        }
        if store || epoch {
            self.hold.look_at_store()?;
        }
        Ok(true)
    }

    /// Consumes a channel's event and counts it.
    pub(crate) fn acknowledge(&mut self, kind: ChannelKind, edge_triggered: bool) -> Result<()> {
        let transport = self.hold.transport()?;
        let channel = match kind {
            ChannelKind::Ring => &transport.ring,
            ChannelKind::Events => &transport.events,
        };
        // A caller that waits edge-triggered is not told by the channel whether it was woken.
        let acknowledged = if edge_triggered { channel.rearm().map(|()| false) } else { channel.acknowledge() };
        if acknowledged.map_err(Error::system("acknowledge an event"))? {
            transport.stream.woken()?;
        }
        match kind {
            ChannelKind::Ring => self.hold.stats.ring_wakeups += 1,
            ChannelKind::Events => self.hold.stats.event_wakeups += 1,
        }
        Ok(())
    }

    /// Tells the backend what it has to know of volume and mute.
    pub(crate) fn flush_mixer(&mut self) -> Result<()> {
        let (Some(transport), Some(buffer), Some(mixer)) = (self.hold.latest_mut(), &self.buffer, &mut self.mixer)
        else {
            return Err(Error::Lost);
        };
        mixer.flush(&mut transport.stream, &buffer.pages)?;
        self.publish()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end_buffer();
        let mixer = self.mixer.take();
        self.hold.give_back(|slot| slot.mixer = mixer);
    }
}

/// Returns the operation's name in the header.
pub(crate) fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Open(_) => "OPEN",
        Operation::Close => "CLOSE",
        Operation::Read(_) | Operation::ReadAhead { .. } => "READ",
        Operation::Write(_) => "WRITE",
        Operation::SetVolume(_) => "SET_VOLUME",
        Operation::GetVolume(_) => "GET_VOLUME",
        Operation::Mute(_) => "MUTE",
        Operation::Unmute(_) => "UNMUTE",
        Operation::Trigger(_) => "TRIGGER",
        Operation::QueryHwParams(_) => "HW_PARAM_QUERY",
    }
}
