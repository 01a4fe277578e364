//! Positions of a PCM's channels, from its channel map if it has one.

use crate::speakers::{self, Order};
use alsa::PCM;
use std::fmt::Write;

/// The speaker with this name in ALSA.
fn speaker(name: &str) -> Option<u32> {
    Some(match name {
        "FL" => speakers::FL,
        "FR" => speakers::FR,
        "FC" => speakers::FC,
        "LFE" => speakers::LFE,
        "RL" => speakers::BL,
        "RR" => speakers::BR,
        "SL" => speakers::SL,
        "SR" => speakers::SR,
        _ => return None,
    })
}

/// Positions of the wire's channels in a frame of the PCM, which is set up.
pub(super) fn order(pcm: &PCM, channels: u8) -> Order {
    let mut names = String::new();
    if let Ok(map) = pcm.get_chmap()
        && write!(names, "{map}").is_err()
    {
        names.clear();
    }
    named(channels, &names)
}

/// The order that a map's names mean; the wire's order where they say nothing.
fn named(channels: u8, names: &str) -> Order {
    let there: Vec<Option<u32>> = names.split_whitespace().map(speaker).collect();
    let known = there.len() == usize::from(channels) && there.iter().any(Option::is_some);
    let wire = || speakers::on_the_wire(channels).iter().copied().map(Some).collect();
    Order::among(channels, if known { there } else { wire() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_device(channels: u8, names: &str) -> Vec<u8> {
        let mut frame: Vec<u8> = (0..channels).collect();
        named(channels, names).order_out(&mut frame, 1);
        frame
    }

    #[test]
    fn a_device_with_an_order_of_its_own_gets_each_channel_at_its_place() {
        // HDMI: the centre and LFE before the rear pair.
        assert_eq!(on_device(6, "FL FR LFE FC RL RR"), [0, 1, 5, 4, 2, 3]);
        assert_eq!(on_device(8, "FL FR LFE FC RL RR SL SR"), [0, 1, 5, 4, 2, 3, 6, 7]);
        assert_eq!(on_device(6, "FL FR RL RR FC LFE"), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_map_that_says_nothing_changes_nothing() {
        for names in ["", "UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN", "FL FR", "N/A"] {
            assert!(named(6, names).is_identity(), "{names}");
        }
        assert!(named(3, "FR FL FC").is_identity(), "nobody knows where three belong");
    }
}
