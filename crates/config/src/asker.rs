//! A stream that asks for its route.

/// A stream that asks for its route. All fields but `unique_id` come from the toolstack, none of these from the guest.
#[derive(Debug, Clone)]
pub struct Asker<'a> {
    /// Domain id of the guest.
    pub domain: u16,
    /// Name of the guest.
    pub name: Option<&'a str>,
    /// UUID of the guest.
    pub uuid: Option<&'a str>,
    /// The card's number.
    pub card: u32,
    /// The PCM device's index.
    pub pcm: u8,
    /// The stream's index.
    pub stream: u8,
    /// Label of the stream in the guest's half of the device.
    pub unique_id: &'a str,
}
