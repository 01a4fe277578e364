//! Selection and order of the streams in the list.

use super::row::{Row, is_open};
use crate::text;

/// The order of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Guest by guest, in the daemon's order.
    #[default]
    Guest,
    /// Running streams first.
    State,
    /// Longest latency first.
    Latency,
    /// Most xruns first.
    Xruns,
    /// Most notifications a second first.
    Rate,
}

impl Order {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Guest => Self::State,
            Self::State => Self::Latency,
            Self::Latency => Self::Xruns,
            Self::Xruns => Self::Rate,
            Self::Rate => Self::Guest,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Guest => "by guest",
            Self::State => "by state",
            Self::Latency => "by latency",
            Self::Xruns => "by xruns",
            Self::Rate => "by notifications",
        }
    }
}

/// Selection and order of the streams.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrangement {
    pub(super) order: Order,
    /// True if guests stay together, whatever the order.
    pub(super) grouped: bool,
    /// True if streams that no guest uses, and cards without streams, are left out.
    pub(super) hides_idle: bool,
    /// Text that the line of a stream contains, in either case; empty for all.
    pub(super) filter: String,
    /// True while the filter is being typed.
    pub(super) typing: bool,
}

impl Arrangement {
    /// Leaves out what is not selected, and sorts the rest; equal streams stay in their order.
    pub(super) fn apply(&self, rows: &mut Vec<Row>) {
        rows.retain(|row| self.shows(row));
        match self.order {
            Order::Guest => {}
            Order::State => rows.sort_by_key(|row| (!text::runs(&row.stream), !is_open(&row.stream))),
            Order::Latency => rows.sort_by_key(|row| std::cmp::Reverse(row.stream.latency_us)),
            Order::Xruns => rows.sort_by_key(|row| std::cmp::Reverse(row.stream.xruns)),
            Order::Rate => {
                let rate = |row: &Row| row.notifications.map_or(0.0, |rate| rate.incoming + rate.outgoing);
                rows.sort_by(|one, other| rate(other).total_cmp(&rate(one)));
            }
        }
        if self.grouped {
            let mut guests: Vec<String> = Vec::new();
            for row in rows.iter() {
                if !guests.contains(&row.target.domain) {
                    guests.push(row.target.domain.clone());
                }
            }
            rows.sort_by_key(|row| guests.iter().position(|guest| *guest == row.target.domain));
        }
    }

    /// Returns true if the filter lets a text with these words pass.
    pub(super) fn has(&self, words: &str) -> bool {
        self.filter.is_empty() || words.to_lowercase().contains(&self.filter.to_lowercase())
    }

    fn shows(&self, row: &Row) -> bool {
        let stream = &row.stream;
        let words = [
            &*row.target.to_string(),
            text::direction(stream),
            text::state(stream),
            &stream.device,
            &stream.label,
            &row.card_name,
        ];
        (is_open(stream) || !self.hides_idle) && self.has(&words.join(" "))
    }

    /// The selection in words; `None` for all streams in the daemon's order.
    pub(super) fn words(&self) -> Option<String> {
        let mut words = Vec::new();
        if self.order != Order::Guest {
            words.push(self.order.words().to_owned());
            if self.grouped {
                words.push("grouped".to_owned());
            }
        }
        if self.hides_idle {
            words.push("idle ones hidden".to_owned());
        }
        if self.typing || !self.filter.is_empty() {
            let cursor = if self.typing { "_" } else { "" };
            words.push(format!("/{}{cursor}", text::plain(&self.filter)));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}
