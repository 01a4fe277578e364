//! Draws a terminal's screen from standard input, with its colours (`tmux capture-pane -e -p`), as SVG.

use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let mut screen = String::new();
    std::io::stdin().read_to_string(&mut screen)?;
    std::io::stdout().write_all(anstyle_svg::Term::new().render_svg(screen.trim_end()).as_bytes())
}
