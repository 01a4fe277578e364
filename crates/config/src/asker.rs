//! A stream that asks for its route.

use sndif::store::StreamAddress;

/// A stream that asks for its route. All fields but `unique_id` come from the toolstack, none of these from the guest.
#[derive(Debug, Clone)]
pub struct Asker<'a> {
    /// Address of the stream; of its first one where the whole card asks.
    pub stream: StreamAddress,
    /// Name of the guest.
    pub name: Option<&'a str>,
    /// UUID of the guest.
    pub uuid: Option<&'a str>,
    /// Label of the stream in the guest's half of the device.
    pub unique_id: &'a str,
}
