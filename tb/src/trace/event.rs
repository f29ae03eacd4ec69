//! One event of the log.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::Path;

/// An event: a line `cycle thread event field=value ...` of the log, values in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Device clock.
    pub cycle: u64,
    /// The host thread, or `device`.
    pub thread: String,
    /// What happened.
    pub name: Cow<'static, str>,
    fields: Vec<(Cow<'static, str>, u64)>,
}

impl Event {
    /// An event of this run.
    #[must_use]
    pub fn new(
        cycle: u64,
        thread: &str,
        name: &'static str,
        fields: &[(&'static str, u64)],
    ) -> Self {
        let fields = fields.iter();
        Self {
            cycle,
            thread: thread.replace(' ', "_"),
            name: Cow::Borrowed(name),
            fields: fields
                .map(|(name, value)| (Cow::Borrowed(*name), *value))
                .collect(),
        }
    }

    /// A number that it tells, 0 if it does not.
    #[must_use]
    pub fn get(&self, field: &str) -> u64 {
        self.find(field).unwrap_or(0)
    }

    /// A number that it may tell.
    #[must_use]
    pub fn find(&self, field: &str) -> Option<u64> {
        let mut fields = self.fields.iter();
        fields
            .find(|(name, _)| name == field)
            .map(|(_, value)| *value)
    }

    /// All its numbers.
    pub fn fields(&self) -> impl Iterator<Item = (&str, u64)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_ref(), *value))
    }

    /// What it says, without its time and thread.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.name.to_string();
        for (name, value) in &self.fields {
            // Writing to a string cannot fail.
            let _ = write!(text, " {name}={value:#x}");
        }
        text
    }

    /// Of a line; `None` if it is none of a log.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let cycle = words.next()?.parse().ok()?;
        let thread = words.next()?.to_string();
        let name = words.next()?.to_string();
        let field = |word: &str| {
            let (name, value) = word.split_once("=0x")?;
            let value = u64::from_str_radix(value, 16).ok()?;
            Some((Cow::Owned(name.to_string()), value))
        };
        Some(Self {
            cycle,
            thread,
            name: Cow::Owned(name),
            fields: words.map(field).collect::<Option<_>>()?,
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.cycle, self.thread, self.told())
    }
}

/// The events of a log file.
///
/// # Errors
/// One line: the file cannot be read, or a line (which one) is no event.
pub fn read(path: &Path) -> Result<Vec<Event>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let lines = text.lines().enumerate();
    lines
        .map(|(number, line)| {
            Event::parse(line).ok_or_else(|| {
                format!(
                    "{}:{}: no event of a log (expected `cycle thread event field=0x..`)",
                    path.display(),
                    number + 1
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn an_event_survives_its_line() {
        let event = Event::new(
            42,
            "cpu 1",
            "map",
            &[("start", 0x7f00_0000_0000), ("pages", 0)],
        );
        let line = event.to_string();
        assert_eq!(line, "42 cpu_1 map start=0x7f0000000000 pages=0x0");
        assert_eq!(Event::parse(&line), Some(event));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for line in [
            "",
            "x main map",
            "1 main",
            "1 main map start",
            "1 main map start=12",
        ] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }
}
