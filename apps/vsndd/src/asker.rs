//! A stream that asks for its route.

/// A stream that asks for its route. All fields but `unique_id` come from the toolstack, none of these from the guest.
#[derive(Debug, Clone)]
pub(crate) struct Asker<'a> {
    pub(crate) domain: u16,
    pub(crate) name: Option<&'a str>,
    pub(crate) uuid: Option<&'a str>,
    pub(crate) card: u32,
    pub(crate) pcm: u8,
    pub(crate) stream: u8,
    /// Label of the stream in the guest's half of the device.
    pub(crate) unique_id: &'a str,
}
