//! Where pages are shown: drawn over one another on a terminal, one after the other elsewhere.

use std::io::IsTerminal;

use super::page::Paint;
use crate::app::output::{Shown, print};

/// Standard output.
pub(super) struct Screen {
    kind: Kind,
    paint: Paint,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A terminal with something of others on it.
    Blank,
    /// A terminal with a page on it.
    Drawn,
    /// A file or a pipe.
    Stream,
}

impl Screen {
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let plain = !terminal || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { kind: if terminal { Kind::Blank } else { Kind::Stream }, paint: if plain { Paint::Plain } else { Paint::Coloured } }
    }

    pub(super) fn paint(&self) -> Paint {
        self.paint
    }

    /// Leaves what is drawn.
    pub(super) fn leave(&self) -> Shown {
        match self.kind {
            // A terminal shows the ^C where the page ends.
            Kind::Drawn => print(b"\n"),
            Kind::Blank | Kind::Stream => Shown::Yes,
        }
    }

    /// Draws it over the one before, or writes it below that one with an empty line between them.
    pub(super) fn show(&mut self, page: &str) -> Shown {
        match self.kind {
            Kind::Stream => print(format!("{page}\n").as_bytes()),
            Kind::Blank => {
                self.kind = Kind::Drawn;
                print(format!("\x1b[2J{}", frame(page, rows())).as_bytes())
            }
            Kind::Drawn => print(frame(page, rows()).as_bytes()),
        }
    }
}

/// From the upper left corner: every line with the rest of it cleared, then all below. Long lines are cut by the terminal, which
/// would else shift what is below them.
fn frame(page: &str, rows: usize) -> String {
    let lines: Vec<_> = page.lines().collect();
    let fit = rows.saturating_sub(1).max(1);
    let shown = if lines.len() > fit { fit - 1 } else { lines.len() };
    let mut text = String::from("\x1b[?7l\x1b[H");
    for line in lines.iter().take(shown) {
        text.push_str(&format!("{line}\x1b[K\n"));
    }
    if shown < lines.len() {
        let more = lines.len() - shown;
        text.push_str(&format!("... {more} more lines: make the window higher, or name one instance\x1b[K\n"));
    }
    text.push_str("\x1b[J\x1b[?7h");
    text
}

/// How many lines the terminal shows.
fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_row);
    // One that does not know its size is left to scroll.
    if size == 0 { usize::MAX } else { usize::from(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_too_long_is_cut_and_says_so() {
        assert_eq!(frame("a\nb\n", 3), "\x1b[?7l\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h");
        let cut = frame("a\nb\nc\nd\n", 4);
        assert!(cut.contains("Ha\x1b[K\nb\x1b[K\n... 2 more lines") && !cut.contains("c\x1b"), "{cut:?}");
        assert_eq!(cut.matches('\n').count(), 3, "the last line stays free");
        assert_eq!(frame("a\nb\n", usize::MAX), frame("a\nb\n", 3));
    }
}
