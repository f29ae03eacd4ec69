//! What host threads did, as stretches of time and moments.

use std::collections::BTreeMap;

use super::event::Event;

/// Something that a host thread did.
#[derive(Clone, Copy, Debug)]
pub enum Done<'a> {
    /// It took some time.
    Stretch {
        /// What.
        name: &'a str,
        /// How it began.
        from: &'a Event,
        /// How it ended.
        to: &'a Event,
    },
    /// It is told by one event.
    Moment(&'a Event),
}

/// A host thread and what it did, in the order of the ends.
#[derive(Clone, Debug)]
pub struct Track<'a> {
    /// Its name.
    pub thread: &'a str,
    /// What it did.
    pub done: Vec<Done<'a>>,
}

/// What begins and what ends a stretch.
const STRETCHES: [(&str, &str); 4] = [
    ("notifier_start", "notifier_end"),
    ("invalidate", "invalidate_done"),
    ("migrate_setup", "migrate_to_device"),
    ("migrate_setup", "migrate_to_system"),
];

/// The host threads of a log, in the order in which they first did something.
#[must_use]
pub fn tracks(events: &[Event]) -> Vec<Track<'_>> {
    let mut tracks: Vec<Track> = Vec::new();
    let mut number: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open: BTreeMap<(&str, &str), Vec<&Event>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.thread != "device") {
        let thread = event.thread.as_str();
        let track = *number.entry(thread).or_insert_with(|| {
            let done = Vec::new();
            tracks.push(Track { thread, done });
            tracks.len() - 1
        });
        let name = event.name.as_ref();
        let begins = STRETCHES.iter().find(|(_, ends)| *ends == name);
        let begun = begins.and_then(|(begins, _)| {
            let from = open.get_mut(&(thread, *begins))?.pop()?;
            Some((*begins, from))
        });
        if let Some((begins, from)) = begun {
            // What a migration was is told by its end, all else by its beginning.
            let title = if begins == "migrate_setup" {
                name
            } else {
                begins
            };
            tracks[track].done.push(Done::Stretch {
                name: title,
                from,
                to: event,
            });
        } else if STRETCHES.iter().any(|(begins, _)| *begins == name) {
            open.entry((thread, name)).or_default().push(event);
        } else {
            tracks[track].done.push(Done::Moment(event));
        }
    }
    tracks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_those_of_their_thread() {
        let event = |cycle, thread, name| Event::new(cycle, thread, name, &[]);
        let events = [
            event(1, "a", "invalidate"),
            event(2, "b", "invalidate"),
            event(3, "device", "walk"),
            event(4, "a", "map"),
            event(5, "b", "invalidate_done"),
            event(9, "a", "invalidate_done"),
            event(10, "a", "invalidate_done"),
            event(11, "b", "migrate_setup"),
            event(12, "b", "migrate_to_system"),
        ];
        let told: Vec<String> = tracks(&events)
            .iter()
            .flat_map(|track| {
                track.done.iter().map(move |done| match done {
                    Done::Stretch { name, from, to } => {
                        format!("{} {name} {}..{}", track.thread, from.cycle, to.cycle)
                    }
                    Done::Moment(event) => format!("{} {}", track.thread, event),
                })
            })
            .collect();
        assert_eq!(
            told,
            [
                "a 4 a map",
                "a invalidate 1..9",
                "a 10 a invalidate_done",
                "b invalidate 2..5",
                "b migrate_to_system 11..12",
            ]
        );
    }
}
