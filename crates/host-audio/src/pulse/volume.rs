//! Follows the volume and the mute of a stream on the server. Users of the host set them; this program never does.

use super::connection::{Connection, Failure, reply};
use crate::{Direction, ServerVolume};
use pulseaudio::protocol::{self as pa, Command};

/// Volume and mute of one stream, as last heard from the server.
pub(super) struct VolumeWatch {
    direction: Direction,
    /// The stream's number on the server.
    index: u32,
    /// Number of the question that is not answered yet.
    asked: Option<u32>,
    news: Option<ServerVolume>,
}

impl VolumeWatch {
    /// Subscribes to changes of the stream with this number.
    pub fn begin(connection: &mut Connection, direction: Direction, index: u32) -> Result<Self, Failure> {
        let what = match direction {
            Direction::Playback => pa::SubscriptionMask::SINK_INPUT,
            Direction::Capture => pa::SubscriptionMask::SOURCE_OUTPUT,
        };
        connection.send(&Command::Subscribe(what))?;
        let mut watch = Self { direction, index, asked: None, news: None };
        watch.ask(connection)?;
        Ok(watch)
    }

    fn ask(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let ask = match self.direction {
            Direction::Playback => Command::GetSinkInputInfo(self.index),
            Direction::Capture => Command::GetSourceOutputInfo(self.index),
        };
        self.asked = Some(connection.send(&ask)?);
        Ok(())
    }

    /// Asks again if the changed object is this stream.
    pub fn changed(&mut self, index: Option<u32>, connection: &mut Connection) -> Result<(), Failure> {
        if index == Some(self.index) { self.ask(connection) } else { Ok(()) }
    }

    /// Takes an answer, if it belongs to a question of this watch.
    pub fn answered(&mut self, number: u32, content: &[u8], version: u16) -> Result<(), Failure> {
        if self.asked != Some(number) {
            return Ok(());
        }
        self.asked = None;
        let (volume, muted) = match self.direction {
            Direction::Playback => {
                let info: pa::SinkInputInfo = reply(content, version)?;
                (info.cvolume, info.muted)
            }
            Direction::Capture => {
                let info: pa::SourceOutputInfo = reply(content, version)?;
                (info.cvolume, info.muted)
            }
        };
        let channels = volume.channels().iter().map(|channel| f64::from(channel.to_linear()));
        self.news = Some(ServerVolume::from_linear(channels, muted));
        Ok(())
    }

    /// The latest volume, if nobody has taken it yet.
    pub fn take(&mut self) -> Option<ServerVolume> {
        self.news.take()
    }
}
