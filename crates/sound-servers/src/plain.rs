//! Programs of the server's own that play silence to the sink: what the server can do without the daemon.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use hound::{SampleFormat, WavSpec, WavWriter};

use crate::{Ended, SECOND, Server, holds_within};

/// Time that the players have to connect to the sink. Where it is over, they are counted as they are.
const CONNECT: Duration = Duration::from_secs(10);
/// Time after the last player has connected in which nothing is counted.
const SETTLE: Duration = Duration::from_secs(1);

/// Word of `pacat` for sound that was lost.
const UNDERRUN: &str = "underrun";

/// Protocol of a plain player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// PulseAudio's, to either server: `pacat`.
    Pulse,
    /// PipeWire's own: `pw-play`.
    PipeWire,
}

/// Result of [`Server::play_plainly`].
#[derive(Debug, Clone, Copy)]
pub struct Played {
    /// Players that the server has connected to its sink.
    pub connected: usize,
    /// Underruns, of which only `pacat` tells.
    pub underruns: usize,
}

impl Server {
    /// Has `count` players play at once for `time`, with a buffer of 40 ms or cycles of 10 ms.
    #[must_use]
    pub fn play_plainly(&self, speaks: Speaks, count: usize, time: Duration) -> Played {
        let log = |number: usize| self.dir.path().join(format!("player-{number}"));
        let said = |words: &str| -> usize { (0..count).map(|number| occurrences(&log(number), words)).sum() };
        let links = self.links();
        let players: Vec<Ended> = (0..count).map(|number| self.plain_player(speaks, log(number))).collect();
        let connected = || match speaks {
            Speaks::Pulse => said("successfully created"),
            // Each of two channels has a link of its own.
            Speaks::PipeWire => self.links().saturating_sub(links) / 2,
        };
        holds_within(CONNECT, || connected() >= count);
        std::thread::sleep(SETTLE);
        let earlier = said(UNDERRUN);
        std::thread::sleep(time);
        let played = Played { connected: connected(), underruns: said(UNDERRUN) - earlier };
        drop(players);
        played
    }

    fn plain_player(&self, speaks: Speaks, log: PathBuf) -> Ended {
        let mut command;
        match speaks {
            Speaks::Pulse => {
                command = self.command("pacat");
                command.args(["--playback", "--raw", "--device=out", "--rate=48000", "--channels=2", "--format=s16le"]);
                command.args(["--latency-msec=40", "--process-time-msec=10", "--verbose", "/dev/zero"]);
            }
            Speaks::PipeWire => {
                command = self.command("pw-play");
                command.args(["--latency", "10ms"]).arg(self.silence());
            }
        }
        let player = command.stdout(Stdio::null()).stderr(File::create(log).unwrap()).spawn();
        Ended(player.unwrap_or_else(|error| panic!("a plain player: {error}; `make deps` installs it")))
    }

    /// A minute of silence.
    fn silence(&self) -> PathBuf {
        let path = self.dir.path().join("silence.wav");
        if !path.exists() {
            let spec =
                WavSpec { channels: 2, sample_rate: 48_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
            let mut wav = WavWriter::create(&path, spec).unwrap();
            (0..60 * SECOND * 2).for_each(|_| wav.write_sample(0_i16).unwrap());
            wav.finalize().unwrap();
        }
        path
    }

    /// Number of links of PipeWire's graph.
    fn links(&self) -> usize {
        self.pw_dump().matches("PipeWire:Interface:Link\"").count()
    }
}

/// Number of times that a player has written these words.
fn occurrences(log: &PathBuf, words: &str) -> usize {
    fs::read(log).map_or(0, |text| String::from_utf8_lossy(&text).matches(words).count())
}
