//! Draws the screen of a terminal that stands on standard input, with its colours (`tmux capture-pane -e -p`), as SVG.

use std::io::Read;

fn main() -> std::io::Result<()> {
    let mut screen = String::new();
    std::io::stdin().read_to_string(&mut screen)?;
    println!("{}", anstyle_svg::Term::new().render_svg(screen.trim_end()));
    Ok(())
}
