//! Reading of a card's configuration from the store, as in the driver.

use super::errno::Errno;

/// Maximum number of streams of a PCM device in the driver.
const STREAMS_MAX: usize = 8;

/// Rates that the driver knows.
const RATES: [u32; 12] = [5512, 8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 64_000, 96_000, 176_400, 192_000];

/// Capabilities of a stream that the driver reports to ALSA.
#[derive(Debug, Clone)]
pub(super) struct Hardware {
    pub formats: u64,
    /// Listed rates, ascending; empty for every rate of the interval.
    pub rates: Vec<u32>,
    pub rate: (u32, u32),
    pub channels: (u32, u32),
    pub buffer_bytes_max: u32,
    pub period_bytes_min: u32,
}

/// Configuration of a stream: its PCM device, direction, path in the store and capabilities.
#[derive(Debug, Clone)]
pub(super) struct StreamConfig {
    pub pcm: usize,
    pub capture: bool,
    pub path: String,
    pub hardware: Hardware,
}

impl Hardware {
    fn default_card() -> Self {
        Self {
            // U8 and S16_LE
            formats: 1 << 1 | 1 << 2,
            rates: Vec::new(),
            rate: (5512, 48_000),
            channels: (1, 2),
            buffer_bytes_max: 64 * 1024,
            period_bytes_min: 64,
        }
    }

    fn overridden(&self, store: &mut xenstore::Client, path: &str) -> Self {
        let mut hardware = self.clone();
        let mut text = |name: &str| {
            let value = store.read_opt(&format!("{path}/{name}")).ok().flatten();
            value.map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        let set = |target: &mut u32, value: Option<String>| {
            if let Some(value) = value.and_then(|value| value.parse().ok()).filter(|&value| value > 0) {
                *target = value;
            }
        };
        set(&mut hardware.channels.0, text("channels-min"));
        set(&mut hardware.channels.1, text("channels-max"));
        set(&mut hardware.buffer_bytes_max, text("buffer-size"));
        if let Some(list) = text("sample-rates") {
            let known = |name: &str| RATES.into_iter().find(|rate| rate.to_string() == name);
            let mut rates: Vec<u32> = list.split(',').filter_map(known).collect();
            rates.sort_unstable();
            if let (Some(&first), Some(&last)) = (rates.first(), rates.last()) {
                hardware.rate = (first, last);
                hardware.rates = rates;
            }
        }
        if let Some(list) = text("sample-formats") {
            // `float_le`, not xl's `f32_le`.
            let known = |name: &str| sndif::Format::all().find(|format| format.name().eq_ignore_ascii_case(name));
            let formats = list.split(',').filter_map(known).fold(0, |mask, format| mask | 1 << format.code());
            if formats != 0 {
                hardware.formats = formats;
            }
        }
        hardware.channels.0 = hardware.channels.0.min(hardware.channels.1);
        hardware
    }
}

/// Reads a card: its streams in the driver's order, playback before capture within a PCM device.
pub(super) fn card(store: &mut xenstore::Client, path: &str) -> Result<Vec<StreamConfig>, Errno> {
    let exists = |store: &mut xenstore::Client, path: &str| store.exists(path).unwrap_or(false);
    let card = Hardware::default_card().overridden(store, path);
    let mut streams = Vec::new();
    let mut pcms = 0;
    while exists(store, &format!("{path}/{pcms}")) {
        let pcm_path = format!("{path}/{pcms}");
        let pcm = card.overridden(store, &pcm_path);
        for index in 0..STREAMS_MAX {
            let path = format!("{pcm_path}/{index}");
            if !exists(store, &path) {
                break;
            }
            let kind = store.read(&format!("{path}/type")).map_err(|_| Errno::EINVAL)?;
            let capture = match kind.as_slice() {
                b"p" | b"P" => false,
                b"c" | b"C" => true,
                _ => return Err(Errno::EINVAL),
            };
            streams.push(StreamConfig { pcm: pcms, capture, hardware: pcm.overridden(store, &path), path });
        }
        pcms += 1;
    }
    if pcms == 0 { Err(Errno::ENODEV) } else { Ok(streams) }
}
