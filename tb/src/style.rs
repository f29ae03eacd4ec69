//! Colour on standard output: on a terminal only, and not if `NO_COLOR` is set.

use std::fmt::Display;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// What went well.
#[must_use]
pub fn good(text: impl Display) -> String {
    painted(text, AnsiColor::Green.on_default().bold())
}

/// What did not.
#[must_use]
pub fn bad(text: impl Display) -> String {
    painted(text, AnsiColor::Red.on_default().bold())
}

/// What could be better.
#[must_use]
pub fn dull(text: impl Display) -> String {
    painted(text, AnsiColor::Yellow.on_default())
}

fn painted(text: impl Display, style: Style) -> String {
    paint(
        text,
        style,
        AutoStream::choice(&std::io::stdout()) != ColorChoice::Never,
    )
}

fn paint(text: impl Display, style: Style, colour: bool) -> String {
    if colour {
        format!("{style}{text}{style:#}")
    } else {
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_colour_is_left_alone() {
        let style = AnsiColor::Green.on_default();
        assert_eq!(paint("x", style, false), "x");
        assert_eq!(paint("x", style, true), "\x1b[32mx\x1b[0m");
    }
}
