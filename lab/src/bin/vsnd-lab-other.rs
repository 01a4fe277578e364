//! `vsnd-lab-other`: the model of the one other backend in the field (`testkit::other`), on a real Xen.
//!
//! In dom0 the program takes the daemon's place and serves card 0 of one domain. Each OPEN for playback creates a file.
//! For each connection the program prints one line: `connected`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use testkit::other::{Card, Habits};
use xen::{DomainId, Xen, XenSpec};

#[derive(Debug, Parser)]
#[command(version, about = "A model of another backend, for the lab.")]
struct Arguments {
    /// The guest that is served.
    domain: u16,
    /// Directory for playback: the files are `DOMAIN-0-PCM-STREAM.wav`.
    #[arg(long, default_value = ".", value_name = "DIRECTORY")]
    directory: PathBuf,
    /// WAV file that is captured from each OPEN on; its bytes are taken as frames of the stream's format.
    #[arg(long, value_name = "FILE.wav")]
    source: Option<PathBuf>,
    /// Frames from which the second and further runs after an OPEN count [default: from where an underrun left the count].
    #[arg(long, default_value_t = 0, value_name = "FRAMES")]
    counts_from: u64,
    /// After an overrun START does not help, only OPEN.
    #[arg(long)]
    overruns_until_open: bool,
    /// Volume and mute are offered, but refused.
    #[arg(long)]
    offers_mixer: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error is ignored: the error cannot be reported anywhere else.
            let _ = writeln!(std::io::stderr(), "vsnd-lab-other: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let Arguments { domain, directory, source, counts_from, overruns_until_open, offers_mixer } = arguments;
    let xen = Xen::open(&XenSpec::Dev, None).context("cannot reach Xen")?;
    let source = match source {
        Some(file) => host_audio::wav::read_file(&file)?.data,
        None => Vec::new(),
    };
    let habits = Habits { counts_from, overruns_until_open, offers_mixer };
    let card = Card { guest: DomainId(domain), card: 0, directory, source: source.into(), habits };
    let connected = || {
        // A closed standard output is ignored.
        let _ = writeln!(std::io::stdout(), "connected");
    };
    testkit::other::serve(xen, card, connected).map_err(anyhow::Error::from_boxed)
}
