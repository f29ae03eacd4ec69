//! Standard output for results. A reader that has gone away is no error.

use std::io::Write;

/// Writes one line.
pub fn line(text: &str) {
    // Nobody is left to tell about a failure here.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes one line to standard error.
pub fn error_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// As `println!`, without its panic.
#[macro_export]
macro_rules! say {
    ($($part:tt)*) => { $crate::out::line(&format!($($part)*)) };
}

/// As `eprintln!`, without its panic.
#[macro_export]
macro_rules! complain {
    ($($part:tt)*) => { $crate::out::error_line(&format!($($part)*)) };
}
