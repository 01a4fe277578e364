//! Other roles of this program, started as processes of their own and controlled by lines of text.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::counts::Counts;
use crate::machine::{CardOf, Machine};
use crate::procfs::Usage;

/// Time limit for a role to end after it was told to.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command that starts this program in another role.
pub(crate) fn command(role: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg(role);
    Ok(command)
}

/// A process that is killed when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Waits until the process has ended by itself, with success.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.try_wait()? {
                Some(status) => {
                    ensure!(status.success(), "a process of the measurement failed: {status}");
                    return Ok(());
                }
                None if Instant::now() > deadline => bail!("a process of the measurement does not end"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // The process is ours and is not needed any more.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// The process that plays or records (`player.rs`).
pub(crate) struct Player {
    process: Process,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Player {
    /// Starts the process; its cards are connected on return.
    pub(crate) fn start(machine: &Machine, cards: &[CardOf], period_frames: u32, periods: u32) -> Result<Self> {
        let mut command = command("player")?;
        command.args(["--xen", &machine.spec().to_string()]);
        command.args(["--period-frames", &period_frames.to_string(), "--periods", &periods.to_string()]);
        for card in cards {
            command.arg("--card").arg(card.to_string());
        }
        let mut process = Process(spawn_piped(&mut command)?);
        let commands = process.0.stdin.take();
        let answers = BufReader::new(process.0.stdout.take().context("the player has no output")?);
        let mut player = Self { process, commands, answers };
        player.answer().context("the player did not connect")?;
        Ok(player)
    }

    /// Opens and starts all streams.
    pub(crate) fn play(&mut self) -> Result<()> {
        self.ask("play").map(drop)
    }

    /// Starts counting.
    pub(crate) fn mark(&mut self) -> Result<()> {
        self.ask("mark").map(drop)
    }

    /// The counts since [`mark`](Self::mark).
    pub(crate) fn report(&mut self) -> Result<Counts> {
        self.ask("report")
    }

    /// Processor time and wake-ups of the process so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.0.id())
    }

    /// Stops and closes all streams.
    pub(crate) fn stop(mut self) -> Result<()> {
        drop(self.commands.take());
        self.process.wait()
    }

    fn ask(&mut self, command: &str) -> Result<Counts> {
        let commands = self.commands.as_mut().context("the player was stopped")?;
        // In one piece, since the process takes the bytes of one read for one command.
        commands.write_all(format!("{command}\n").as_bytes()).context("the player is gone")?;
        self.answer().with_context(|| format!("the player did not `{command}`"))
    }

    fn answer(&mut self) -> Result<Counts> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "it ended; what it said stands above");
        Ok(serde_json::from_str(&line)?)
    }
}

fn spawn_piped(command: &mut Command) -> Result<Child> {
    let program = command.get_program().to_owned();
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    spawned.with_context(|| format!("cannot start {}", OsStr::to_string_lossy(&program)))
}
