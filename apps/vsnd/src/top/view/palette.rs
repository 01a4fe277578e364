//! Colours, and the styles in their place if there are none.

use ratatui::style::{Color, Modifier, Style};

/// Styles of the screen.
#[derive(Debug, Clone, Copy)]
pub(in crate::top) struct Palette {
    pub(super) dim: Style,
    pub(super) strong: Style,
    pub(super) good: Style,
    pub(super) bad: Style,
    /// Styles of a meter: below, near, and at full scale.
    pub(super) meter: [Style; 3],
}

impl Palette {
    /// A palette with colours, unless `NO_COLOR` says otherwise (no-color.org).
    pub(in crate::top) fn from_environment() -> Self {
        let without = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if without { Self::without_colours() } else { Self::with_colours() }
    }

    pub(in crate::top) fn with_colours() -> Self {
        let colour = |colour| Style::new().fg(colour);
        Self {
            good: colour(Color::Green),
            bad: colour(Color::Red).add_modifier(Modifier::BOLD),
            meter: [colour(Color::Green), colour(Color::Yellow), colour(Color::Red)],
            ..Self::without_colours()
        }
    }

    pub(in crate::top) fn without_colours() -> Self {
        Self {
            dim: Style::new().add_modifier(Modifier::DIM),
            strong: Style::new().add_modifier(Modifier::BOLD),
            good: Style::new(),
            bad: Style::new().add_modifier(Modifier::BOLD),
            meter: [Style::new(); 3],
        }
    }
}
