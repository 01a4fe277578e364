//! The ALSA core around the driver: pointers, states, thresholds, waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bus::Shared;
use super::channel::{Observed, Pair};
use super::config::{Hardware, StreamConfig};
use super::driver::{DriverStream, OpenFields, Trigger};
use super::errno::Errno;
use super::hw_params::{Agreed, Search, Wish};

/// States of a substream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "ALSA's own names")]
pub enum State {
    Open,
    Setup,
    Prepared,
    Running,
    Xrun,
    Draining,
    Suspended,
    Disconnected,
}

/// Time between two checks that the card still exists.
const LOOK: Duration = Duration::from_millis(20);

/// An open substream.
///
/// Dropping the value closes the substream as at the end of a process.
pub struct Pcm {
    driver: DriverStream,
    hardware: Hardware,
    capture: bool,
    /// False once the card was removed.
    present: Arc<AtomicBool>,
    state: State,
    wish: Option<Wish>,
    agreed: Agreed,
    start_threshold: u64,
    hw_ptr: u64,
    hw_base: u64,
    hw_ptr_interrupt: u64,
    hw_ptr_at: Instant,
    appl_ptr: u64,
    /// Number of available frames that the application waits for.
    wake_at: Option<u64>,
    woken: bool,
    xruns: usize,
}

impl Pcm {
    pub(super) fn open(
        shared: Arc<Shared>,
        present: Arc<AtomicBool>,
        config: StreamConfig,
        pair: Arc<Mutex<Pair>>,
    ) -> Self {
        Self {
            driver: DriverStream::open(shared, pair),
            hardware: config.hardware,
            capture: config.capture,
            present,
            state: State::Open,
            wish: None,
            agreed: Agreed { frame_bytes: 0, period_frames: 0, buffer_frames: 0 },
            start_threshold: 1,
            hw_ptr: 0,
            hw_base: 0,
            hw_ptr_interrupt: 0,
            hw_ptr_at: Instant::now(),
            appl_ptr: 0,
            wake_at: None,
            woken: false,
            xruns: 0,
        }
    }

    /// The substream's state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The agreed configuration.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        self.agreed
    }

    /// Number of xruns that the core detected.
    #[must_use]
    pub fn xruns(&self) -> usize {
        self.xruns
    }

    /// Traffic observed on the stream's channels since they were made.
    #[must_use]
    pub fn observed(&self) -> Observed {
        self.driver.with_pair(|pair| pair.observed.clone())
    }

    /// Finds a configuration and shares a buffer for it. May be called again on an open stream.
    ///
    /// # Errors
    /// `EINVAL` if no configuration fits; the backend's error.
    pub fn hw_params(&mut self, wish: &Wish) -> Result<Agreed, Errno> {
        if !matches!(self.state, State::Open | State::Setup | State::Prepared) {
            return Err(Errno::EBADFD);
        }
        let agreed = Search::new(&self.driver, &self.hardware)?.choose(wish)?;
        self.driver.hw_params(usize::try_from(agreed.buffer_frames).expect("64 bits") * agreed.frame_bytes)?;
        self.agreed = agreed;
        self.wish = Some(*wish);
        // The values that the programs set: `aplay` starts when the buffer is full, `arecord` immediately.
        self.start_threshold = if self.capture { 1 } else { agreed.buffer_frames };
        self.state = State::Setup;
        Ok(agreed)
    }

    /// Sets the number of written frames at which the stream starts.
    pub fn set_start_threshold(&mut self, frames: u64) {
        self.start_threshold = frames;
    }

    /// Prepares the stream: sends OPEN if the stream is not open yet, and always sets the core's pointers to 0.
    ///
    /// # Errors
    /// The backend's error; `EBADFD` or `EBUSY` in a wrong state.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        let format = self.wish.map(|wish| wish.format).ok_or(Errno::EBADFD)?;
        self.prepare_as(format)
    }

    /// Like [`prepare`](Self::prepare), with `format` as the format's byte.
    ///
    /// # Errors
    /// Same as [`prepare`](Self::prepare).
    pub fn prepare_as(&mut self, format: u8) -> Result<(), Errno> {
        self.look();
        let Some(wish) = self.wish else { return Err(Errno::EBADFD) };
        match self.state {
            State::Setup | State::Prepared | State::Xrun | State::Suspended => {}
            State::Running | State::Draining => return Err(Errno::EBUSY),
            State::Open | State::Disconnected => return Err(Errno::EBADFD),
        }
        let bytes = |frames: u64| u32::try_from(frames as usize * self.agreed.frame_bytes).expect("below 4 GiB");
        let fields = OpenFields {
            format,
            channels: wish.channels,
            rate_hz: wish.rate_hz,
            buffer_bytes: bytes(self.agreed.buffer_frames),
            period_bytes: bytes(self.agreed.period_frames),
        };
        self.driver.prepare(&fields)?;
        self.handle_positions();
        self.hw_ptr = 0;
        self.hw_base = 0;
        self.hw_ptr_interrupt = 0;
        self.appl_ptr = 0;
        self.state = State::Prepared;
        Ok(())
    }

    /// Starts the stream.
    ///
    /// # Errors
    /// The backend's error; `EBADFD` if the stream is not prepared.
    pub fn start(&mut self) -> Result<(), Errno> {
        if self.state != State::Prepared {
            return Err(Errno::EBADFD);
        }
        self.driver.trigger(Trigger::Start)?;
        self.hw_ptr_at = Instant::now();
        self.state = State::Running;
        self.handle_positions();
        Ok(())
    }

    /// Stops the stream and drops the frames in the buffer.
    ///
    /// # Errors
    /// `EBADFD` before [`hw_params`](Self::hw_params).
    pub fn drop_frames(&mut self) -> Result<(), Errno> {
        if matches!(self.state, State::Open | State::Disconnected) {
            return Err(Errno::EBADFD);
        }
        self.stop(State::Setup);
        Ok(())
    }

    /// Suspends the machine: sends PAUSE. The driver cannot resume; the application has to prepare again.
    pub fn suspend(&mut self) {
        if self.is_running() {
            let _ = self.driver.trigger(Trigger::Pause);
            self.state = State::Suspended;
        }
    }

    /// Returns true while frames move.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == State::Running || (self.state == State::Draining && !self.capture)
    }

    fn stop(&mut self, state: State) {
        if self.is_running() {
            // The answer is ignored.
            let _ = self.driver.trigger(Trigger::Stop);
        }
        self.state = state;
        self.woken = true;
        self.handle_positions();
    }

    /// Number of frames that can be written or read.
    #[must_use]
    pub fn avail(&self) -> u64 {
        if self.capture {
            self.hw_ptr.saturating_sub(self.appl_ptr)
        } else {
            (self.hw_ptr + self.agreed.buffer_frames).saturating_sub(self.appl_ptr)
        }
    }

    /// Does nothing for `time`, like a stopped process; interrupts are still handled.
    pub fn sleep(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.wait_a_little(until);
        }
    }

    fn wait_a_little(&mut self, until: Instant) {
        self.driver.interrupts(LOOK.min(until.saturating_duration_since(Instant::now())));
        self.handle_positions();
        self.look();
    }

    /// Checks if the card was removed.
    fn look(&mut self) {
        if !self.present.load(Ordering::Acquire) && self.state != State::Disconnected {
            if self.is_running() {
                self.stop(State::Disconnected);
            }
            self.state = State::Disconnected;
            self.woken = true;
        }
    }

    /// Handles the positions that the event interrupt found.
    fn handle_positions(&mut self) {
        while let Some(position) = self.driver.next_position() {
            let Agreed { frame_bytes, period_frames, buffer_frames } = self.agreed;
            let elapsed = self.driver.handle_position(position, frame_bytes as u64, buffer_frames, period_frames);
            if elapsed && self.is_running() {
                self.update_pointer(true);
            }
        }
    }

    /// Updates the core's pointer from the driver's.
    fn update_pointer(&mut self, in_interrupt: bool) {
        let Agreed { buffer_frames, period_frames, .. } = self.agreed;
        let position = self.driver.pointer();
        let now = Instant::now();
        let mut base = self.hw_base;
        let mut new = base + position;
        let half_a_buffer = self.frames_as_time(buffer_frames) / 2;
        let missed_a_buffer = in_interrupt
            && self.hw_ptr_interrupt + period_frames > new
            && now.duration_since(self.hw_ptr_at) > half_a_buffer + Duration::from_millis(4);
        if missed_a_buffer || new < self.hw_ptr {
            base += buffer_frames;
            new = base + position;
        }
        let delta = new.saturating_sub(self.hw_ptr);
        if delta >= buffer_frames + period_frames {
            // "Unexpected hw_ptr": ignored.
            return;
        }
        if new == self.hw_ptr {
            return;
        }
        if in_interrupt {
            let behind = new.saturating_sub(self.hw_ptr_interrupt);
            self.hw_ptr_interrupt += behind - behind % period_frames;
        }
        self.hw_base = base;
        self.hw_ptr = new;
        self.hw_ptr_at = now;
        self.update_state();
    }

    fn update_state(&mut self) {
        let avail = self.avail();
        let buffer = self.agreed.buffer_frames;
        if self.state == State::Draining {
            if avail >= buffer {
                self.stop(State::Setup);
                return;
            }
        } else if avail >= buffer {
            self.xruns += 1;
            self.stop(State::Xrun);
            return;
        }
        if avail >= self.wake_at.unwrap_or(self.agreed.period_frames) {
            self.woken = true;
        }
    }

    fn frames_as_time(&self, frames: u64) -> Duration {
        let rate = self.wish.map_or(1, |wish| u64::from(wish.rate_hz));
        Duration::from_micros(frames * 1_000_000 / rate)
    }

    /// Sleeps until the handler wakes the application; `EIO` if it does not in time.
    fn wait_for_wake(&mut self) -> Result<(), Errno> {
        let patience = (self.frames_as_time(self.agreed.buffer_frames) * 11 / 10).max(self.driver.timings().wake_up);
        let until = Instant::now() + patience;
        self.woken = false;
        while !self.woken {
            // The kernel handles interrupts even while the task does not run. The model handles them only in
            // `wait_a_little`, so it calls that once more after the deadline.
            let late = Instant::now() >= until;
            self.wait_a_little(until);
            if late && !self.woken {
                return Err(Errno::EIO);
            }
        }
        Ok(())
    }

    fn accessible(&self) -> Result<(), Errno> {
        match self.state {
            State::Prepared | State::Running => Ok(()),
            State::Xrun => Err(Errno::EPIPE),
            _ => Err(Errno::EBADFD),
        }
    }

    /// Waits until at least one period, or the rest of the transfer, can be moved.
    fn wait_for_avail(&mut self, left: u64) -> Result<(), Errno> {
        let wanted = left.min(self.agreed.period_frames);
        self.wake_at = Some(wanted);
        let result = loop {
            if self.avail() >= wanted {
                break Ok(());
            }
            if let Err(error) = self.wait_for_wake() {
                break Err(error);
            }
            if let Err(error) = self.accessible() {
                break Err(error);
            }
        };
        self.wake_at = None;
        result
    }

    /// Writes whole frames and returns their number; starts the stream at its threshold.
    ///
    /// # Errors
    /// `EPIPE` after an underrun, `EIO` without a wake-up, `EBADFD` without the card; the backend's error.
    /// If frames were written before the error, their number is returned instead.
    pub fn writei(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let frame = self.agreed.frame_bytes;
        let frames = bytes.len() / frame.max(1);
        self.transfer(frames, |pcm, done, offset, count| {
            pcm.driver.write(offset * frame, &bytes[done * frame..(done + count) * frame])
        })
    }

    /// Reads whole frames and returns their number.
    ///
    /// # Errors
    /// Same as [`writei`](Self::writei).
    pub fn readi(&mut self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let frame = self.agreed.frame_bytes;
        let frames = bytes.len() / frame.max(1);
        self.transfer(frames, |pcm, done, offset, count| {
            pcm.driver.read(offset * frame, &mut bytes[done * frame..(done + count) * frame])
        })
    }

    fn transfer(
        &mut self,
        frames: usize,
        mut piece: impl FnMut(&Self, usize, usize, usize) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        self.look();
        self.driver.interrupts(Duration::ZERO);
        self.handle_positions();
        self.accessible()?;
        if self.state == State::Running {
            // The result is not checked here: the next WRITE is sent in any case.
            self.update_pointer(false);
        }
        if self.capture && self.state == State::Prepared && frames as u64 >= self.start_threshold {
            self.start()?;
        }
        let mut done = 0;
        let result = loop {
            let left = frames - done;
            if left == 0 {
                break Ok(());
            }
            if self.avail() == 0
                && let Err(error) = self.wait_for_avail(left as u64)
            {
                break Err(error);
            }
            let offset = (self.appl_ptr % self.agreed.buffer_frames) as usize;
            let to_end = self.agreed.buffer_frames as usize - offset;
            let count = left.min(self.avail() as usize).min(to_end);
            let moved = piece(self, done, offset, count);
            self.handle_positions();
            self.look();
            if let Err(error) = moved.and_then(|()| self.accessible()) {
                break Err(error);
            }
            self.appl_ptr += count as u64;
            done += count;
            let filled = self.agreed.buffer_frames - self.avail().min(self.agreed.buffer_frames);
            if !self.capture
                && self.state == State::Prepared
                && filled >= self.start_threshold
                && let Err(error) = self.start()
            {
                break Err(error);
            }
        };
        match result {
            Err(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    /// Plays the buffer to its end.
    ///
    /// # Errors
    /// `EIO` if no period elapses in time: the drain time-out.
    pub fn drain(&mut self) -> Result<(), Errno> {
        match self.state {
            State::Prepared if self.appl_ptr > self.hw_ptr => {
                self.start()?;
                self.state = State::Draining;
            }
            State::Prepared | State::Xrun => self.state = State::Setup,
            State::Running => self.state = State::Draining,
            State::Setup | State::Draining => {}
            State::Open | State::Suspended | State::Disconnected => return Err(Errno::EBADFD),
        }
        while self.state == State::Draining {
            if let Err(error) = self.wait_for_wake() {
                self.stop(State::Setup);
                return Err(error);
            }
        }
        if self.state == State::Disconnected { Err(Errno::ENODEV) } else { Ok(()) }
    }

    /// Closes the stream and returns the backend's answer to CLOSE.
    ///
    /// # Errors
    /// The backend's error.
    pub fn close(mut self) -> Result<(), Errno> {
        if self.is_running() {
            self.stop(State::Setup);
        }
        if self.state == State::Open {
            return Ok(());
        }
        self.state = State::Open;
        self.driver.hw_free()
    }

    /// Number of unread events in the page.
    #[must_use]
    pub fn unread_events(&self) -> u32 {
        self.driver.with_pair(|pair| pair.unread_events())
    }

    /// Overwrites the shared buffer with `byte` without informing the backend.
    pub fn scribble(&self, byte: u8) {
        self.driver.scribble(byte);
    }

    /// Returns true if OPEN succeeded since the buffer was shared.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.driver.is_open()
    }

    /// The driver's pointer in frames, which the core will read at its next update.
    #[must_use]
    pub fn pointer(&self) -> u64 {
        self.driver.pointer()
    }
}

impl Drop for Pcm {
    fn drop(&mut self) {
        if self.is_running() {
            self.stop(State::Setup);
        }
        if self.state != State::Open {
            let _ = self.driver.hw_free();
        }
        self.driver.close();
    }
}
