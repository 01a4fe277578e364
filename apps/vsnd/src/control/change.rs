//! A volume on the command line, in the manner of `pactl`: with a sign it changes the present volume.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// Range of volumes, in decibels.
pub(crate) const VOLUME_DB: RangeInclusive<f64> = -100.0..=20.0;

/// A new volume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// Sets the volume, in decibels.
    To(f64),
    /// Adds decibels.
    ByDecibels(f64),
    /// Adds percent of full volume, on the cubic scale of sound servers.
    ByPercent(f64),
}

impl Change {
    /// The new volume in decibels, in place of `db`.
    pub(crate) fn applied_to(self, db: f64) -> f64 {
        let changed = match self {
            Self::To(db) => db,
            Self::ByDecibels(by) => db + by,
            Self::ByPercent(by) => decibels(percent(db) + by),
        };
        changed.clamp(*VOLUME_DB.start(), *VOLUME_DB.end())
    }
}

/// A volume that is set, not changed: the guest's own, which begins at 0 dB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decibels(pub(crate) f64);

impl FromStr for Decibels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Change>() {
            Ok(Change::To(db) | Change::ByDecibels(db)) if VOLUME_DB.contains(&db) && !text.ends_with('%') => {
                Ok(Self(db))
            }
            Ok(Change::ByDecibels(_)) => Err(outside()),
            Err(error) if error == outside() => Err(error),
            _ => Err("expected decibels, such as -6 or -6dB".to_owned()),
        }
    }
}

fn outside() -> String {
    format!("a volume is {} to {} dB", VOLUME_DB.start(), VOLUME_DB.end())
}

/// Percent, as sound servers show a volume: the cube root of its factor.
pub(crate) fn percent(db: f64) -> f64 {
    if db <= *VOLUME_DB.start() { 0.0 } else { 100.0 * 10_f64.powf(db / 60.0) }
}

/// Decibels of a percentage; the quietest volume for 0 %.
fn decibels(percent: f64) -> f64 {
    // Rounded to a thousandth, as in the daemon.
    let db = (60.0 * (percent.max(0.0) / 100.0).log10() * 1000.0).round() / 1000.0;
    db.max(*VOLUME_DB.start())
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let not_one = || "expected a volume such as =-6dB, 0 or 50%, or a change such as +3dB, -3 or +5%".to_owned();
        let (text, is_set) = text.trim().strip_prefix('=').map_or((text.trim(), false), |rest| (rest, true));
        let is_change = !is_set && text.starts_with(['+', '-']);
        let (number, is_percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text.strip_suffix("dB").or_else(|| text.strip_suffix("db")).unwrap_or(text), false),
        };
        let number: f64 = number.trim().parse().map_err(|_| not_one())?;
        if !number.is_finite() {
            return Err(not_one());
        }
        match (is_change, is_percent) {
            (true, true) => Ok(Self::ByPercent(number)),
            (true, false) => Ok(Self::ByDecibels(number)),
            (false, true) if number < 0.0 || decibels(number) > *VOLUME_DB.end() => {
                Err(format!("a volume is 0 to {:.0} percent", percent(*VOLUME_DB.end()).floor()))
            }
            (false, true) => Ok(Self::To(decibels(number))),
            (false, false) if VOLUME_DB.contains(&number) => Ok(Self::To(number)),
            (false, false) => Err(outside()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_changes_and_its_absence_sets() {
        for (text, change) in [
            ("+3dB", Change::ByDecibels(3.0)),
            ("-3", Change::ByDecibels(-3.0)),
            ("-6.5 dB", Change::ByDecibels(-6.5)),
            ("+5%", Change::ByPercent(5.0)),
            ("-5%", Change::ByPercent(-5.0)),
            ("=-6dB", Change::To(-6.0)),
            ("=+6db", Change::To(6.0)),
            ("0", Change::To(0.0)),
            ("=-100", Change::To(-100.0)),
            ("100%", Change::To(0.0)),
            ("=50%", Change::To(-18.062)),
            ("0%", Change::To(-100.0)),
        ] {
            assert_eq!(text.parse(), Ok(change), "{text}");
        }
        for text in ["=-100.1", "20.5", "=21dB"] {
            assert!(text.parse::<Change>().unwrap_err().contains("-100 to 20 dB"), "{text}");
        }
        assert!("216%".parse::<Change>().unwrap_err().contains("0 to 215 percent"));
        for text in ["", "loud", "--json", "nan", "+inf", "=", "%", "+-3"] {
            assert!(text.parse::<Change>().unwrap_err().contains("such as =-6dB"), "{text}");
        }
    }

    #[test]
    fn a_guests_own_volume_is_read_with_and_without_its_unit() {
        for (text, db) in [("-6", -6.0), ("-6dB", -6.0), ("-6.5 dB", -6.5), ("+3db", 3.0), ("-100", -100.0)] {
            assert_eq!(text.parse(), Ok(Decibels(db)), "{text}");
        }
        for text in ["-100.1", "20.5"] {
            assert!(text.parse::<Decibels>().unwrap_err().contains("-100 to 20 dB"), "{text}");
        }
        for text in ["", "loud", "-6%", "--json", "nan"] {
            assert!(text.parse::<Decibels>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_goes_on_from_the_present_volume_and_stays_within_the_range() {
        assert_eq!(Change::ByDecibels(3.0).applied_to(-20.0), -17.0);
        assert_eq!(Change::ByDecibels(50.0).applied_to(-20.0), 20.0);
        assert_eq!(Change::ByPercent(-50.0).applied_to(0.0), -18.062);
        assert_eq!(Change::ByPercent(-200.0).applied_to(0.0), -100.0);
        let up = Change::ByPercent(5.0).applied_to(-100.0);
        assert!((percent(up) - 5.0).abs() < 0.01, "{up}");
    }
}
