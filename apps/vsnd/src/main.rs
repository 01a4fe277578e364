//! `vsnd`: the command-line tool. Plays and records in a guest, observes and controls the host's daemon, runs the
//! emulated Xen, shows that all works.

#![forbid(unsafe_code)]

mod complete;
mod control;
mod conversion;
mod daemon;
mod demo;
mod devices;
mod doctor;
mod emu;
mod generate;
mod guest_side;
mod manual;
mod output;
mod play;
mod record;
mod recording;
mod report;
mod shape;
mod text;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use program::{ExitStatus, Failure};

/// Exit statuses for the help; the same for every command.
const EXIT_STATUS: &str = "Exit status: 0 success, 1 bytes differ, the daemon refuses or unexpected error, 2 command line, \
    3 configuration, 4 no Xen, 5 no such guest, card or stream, 6 no daemon answers, 7 file, 8 host device, 9 format not taken or capture not allowed, \
    10 the other side went away, 11 not permitted, 12 the card is in use.";

/// Para-virtual sound for Xen.
#[derive(Debug, Parser)]
#[command(name = "vsnd", version, after_help = EXIT_STATUS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays a file from a guest process to a host sink and captures it back, on an emulated Xen.
    Demo(demo::Arguments),
    /// Plays a file on this guest's sound card: WAV, FLAC, Ogg Vorbis, MP3.
    Play(play::Arguments),
    /// Records from this guest's sound card to a WAV file.
    Record(record::Arguments),
    /// Runs an emulated Xen, and attaches sound cards to its domains.
    Emu(emu::Arguments),
    /// Shows the guests, cards and streams that the daemon serves.
    List(control::list::Arguments),
    /// Shows the daemon's streams on a live screen: levels, latency, xruns; with keys for volume, mute and capture.
    Top(top::Arguments),
    /// Sets the host's volume of streams, or shows it.
    Volume(control::commands::VolumeArguments),
    /// Mutes streams; their guests continue and notice nothing.
    Mute(control::commands::TargetArguments),
    /// Unmutes streams.
    Unmute(control::commands::TargetArguments),
    /// Allows a guest to capture what the host hears.
    AllowCapture(control::commands::AllowArguments),
    /// Forbids a guest to capture.
    DenyCapture(control::commands::TargetArguments),
    /// Ends the connection of a guest's cards. The guest may connect again after a moment: players continue with vsnd's
    /// own driver, and end with others.
    Disconnect(control::commands::CardArguments),
    /// Moves streams to another device of the host, also while they play.
    Move(control::moving::Arguments),
    /// Lists the devices of this host to play to and to capture from, as the configuration names them.
    Devices(devices::Arguments),
    /// Removes overrides of streams, so that the configuration applies again; without a target, shows those that are
    /// kept.
    Forget(control::forget::Arguments),
    /// Makes the daemon read its configuration again.
    Reload(control::commands::DaemonArguments),
    /// Shows the daemon's events: cards, streams, xruns, violations, and who changed what.
    Events(control::events::Arguments),
    /// Checks what sound on Xen needs here: says what is present and what is missing, and gives the next step.
    Doctor(doctor::Arguments),
    /// Writes completions for a shell to standard output.
    Completions(generate::Completions),
    /// Writes the manual pages to a directory.
    #[command(hide = true)]
    Man(generate::ManualPages),
}

fn main() -> ExitCode {
    #[cfg(not(feature = "pipewire"))]
    program::become_fuller("vsnd", "/usr/bin/vsnd", "/usr/libexec/vsnd-pipewire");
    complete::complete(Arguments::command);
    program::end("vsnd", program::command_line().and_then(run))
}

fn run(arguments: Arguments) -> Result<ExitStatus, Failure> {
    match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Play(arguments) => play::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Emu(arguments) => emu::run(&arguments),
        Command::List(arguments) => control::list::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Volume(arguments) => control::commands::volume(&arguments),
        Command::Mute(arguments) => control::commands::mute(&arguments, true),
        Command::Unmute(arguments) => control::commands::mute(&arguments, false),
        Command::AllowCapture(arguments) => control::commands::allow_capture(&arguments),
        Command::DenyCapture(arguments) => control::commands::deny_capture(&arguments),
        Command::Disconnect(arguments) => control::commands::disconnect(&arguments),
        Command::Move(arguments) => control::moving::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Forget(arguments) => control::forget::run(&arguments),
        Command::Reload(arguments) => control::commands::reload(&arguments),
        Command::Events(arguments) => control::events::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => generate::completions(&arguments),
        Command::Man(arguments) => generate::manual_pages(&arguments, Arguments::command()),
    }
}
