//! Which page lived where, and when.

use std::collections::{BTreeMap, BTreeSet};

use hmm_core::PAGE_SIZE;

use super::event::Event;

/// Pages of a huge mapping.
const HUGE_PAGES: u64 = 512;

/// Where the contents of a page are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// In system memory.
    System,
    /// In the memory of the device with this number.
    Device(u64),
    /// In swap space.
    Swap,
    /// Nowhere: not touched yet, or no more.
    None,
}

/// A page of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Page {
    /// The process.
    pub mm: u64,
    /// Its address over 4096.
    pub number: u64,
}

/// Where all pages were that were ever touched.
#[derive(Clone, Debug, Default)]
pub struct Residency {
    /// From which cycle on each page was where; each change differs from the one before it.
    pub pages: BTreeMap<Page, Vec<(u64, Home)>>,
    /// The cycle of the last event.
    pub end: u64,
}

impl Residency {
    /// Of a log.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut follower = Follower::default();
        for event in events {
            follower.take(event);
        }
        let end = events.iter().map(|event| event.cycle).max();
        Self {
            pages: follower.history,
            end: end.unwrap_or(0),
        }
    }

    /// Where a page was in a cycle.
    #[must_use]
    pub fn at(&self, page: Page, cycle: u64) -> Home {
        self.pages.get(&page).map_or(Home::None, |changes| {
            let after = changes.partition_point(|(from, _)| *from <= cycle);
            after.checked_sub(1).map_or(Home::None, |k| changes[k].1)
        })
    }

    /// Stretches of a page's life: first cycle, the cycle behind the last one, where.
    pub fn stretches(&self, page: Page) -> impl Iterator<Item = (u64, u64, Home)> + '_ {
        let changes = self.pages.get(&page).map_or(&[][..], Vec::as_slice);
        changes.iter().enumerate().map(|(k, (from, home))| {
            let to = changes.get(k + 1).map_or(self.end, |(to, _)| *to);
            (*from, to, *home)
        })
    }

    /// Of the time that touched pages had contents, the share (0 to 1) that these were in device memory.
    #[must_use]
    pub fn device_share(&self) -> f64 {
        let (mut there, mut all) = (0_u128, 0_u128);
        for page in self.pages.keys() {
            for (from, to, home) in self.stretches(*page) {
                let cycles = u128::from(to - from);
                match home {
                    Home::Device(_) => (there, all) = (there + cycles, all + cycles),
                    Home::System | Home::Swap => all += cycles,
                    Home::None => {}
                }
            }
        }
        match all {
            0 => 0.0,
            all => there as f64 / all as f64,
        }
    }
}

/// A frame that the log has not named has a number of our own from here on.
const UNNAMED: u64 = 1 << 62;

/// Follows page frames from event to event.
#[derive(Default)]
pub struct Follower {
    /// What the last event changed.
    changed: Vec<(Page, Home)>,
    history: BTreeMap<Page, Vec<(u64, Home)>>,
    frame_of: BTreeMap<Page, u64>,
    pages_of: BTreeMap<u64, BTreeSet<Page>>,
    /// First frame and number of frames of each device's memory, in the order of devices.
    devices: Vec<(u64, u64)>,
    unnamed: u64,
}

fn page(event: &Event, field: &str) -> Page {
    Page {
        mm: event.get("mm"),
        number: event.get(field) / PAGE_SIZE,
    }
}

impl Page {
    fn plus(self, pages: u64) -> Self {
        Self {
            number: self.number + pages,
            ..self
        }
    }
}

impl Follower {
    /// Takes the next event; the pages whose home it changed, in order.
    pub fn take(&mut self, event: &Event) -> &[(Page, Home)] {
        self.changed.clear();
        self.follow(event);
        &self.changed
    }

    fn follow(&mut self, event: &Event) {
        let cycle = event.cycle;
        let len = event.get("len").div_ceil(PAGE_SIZE);
        let pages = event.find("pages").unwrap_or(1);
        match event.name.as_ref() {
            "device_memory" => self.devices.push((event.get("pfn"), pages)),
            // The driver's have a number, and no process.
            "fault" if event.find("mm").is_some() => {
                let page = page(event, "addr");
                if !self.frame_of.contains_key(&page) {
                    let frame = self.new_frame();
                    self.put(cycle, page, frame);
                }
            }
            "huge_fault" => self.put_many(cycle, page(event, "addr"), event.get("to"), HUGE_PAGES),
            "migrate_insert" => self.put_many(cycle, page(event, "addr"), event.get("to"), pages),
            "cow" | "ksm_merge" => self.put_many(cycle, page(event, "addr"), event.get("to"), 1),
            "swap_in" | "migrate_to_ram" => {
                self.put_many(cycle, page(event, "addr"), event.get("pfn"), 1);
            }
            "migrate_page" => {
                for n in 0..pages {
                    let known = event.find("mm").map(|_| page(event, "addr").plus(n));
                    self.moved(cycle, known, event.get("from") + n, event.get("to") + n);
                }
            }
            "reclaim" => self.end(cycle, page(event, "addr"), Home::Swap),
            "poison" => self.end(cycle, page(event, "addr"), Home::None),
            "munmap" | "discard" => self.end_range(cycle, page(event, "addr"), len),
            "exit" => {
                let first = Page {
                    number: 0,
                    ..page(event, "addr")
                };
                self.end_range(cycle, first, u64::MAX / PAGE_SIZE);
            }
            "mremap" => self.shift(cycle, page(event, "addr"), page(event, "to"), len),
            "fork" => self.fork(cycle, event.get("mm"), event.get("child")),
            "device_pages_lost" => {
                let first = event.get("pfn");
                let frames = self.pages_of.range(first..first + pages);
                let lost: Vec<Page> = frames
                    .flat_map(|(_, pages)| pages.iter().copied())
                    .collect();
                for page in lost {
                    self.end(cycle, page, Home::None);
                }
            }
            _ => {}
        }
    }

    fn new_frame(&mut self) -> u64 {
        self.unnamed += 1;
        UNNAMED + self.unnamed
    }

    fn home(&self, frame: u64) -> Home {
        let mut devices = self.devices.iter();
        let device = devices.position(|(first, pages)| frame >= *first && frame - first < *pages);
        device.map_or(Home::System, |number| Home::Device(number as u64))
    }

    fn put(&mut self, cycle: u64, page: Page, frame: u64) {
        self.forget(page);
        self.frame_of.insert(page, frame);
        self.pages_of.entry(frame).or_default().insert(page);
        self.note(cycle, page, self.home(frame));
    }

    fn put_many(&mut self, cycle: u64, first: Page, frame: u64, pages: u64) {
        for n in 0..pages {
            self.put(cycle, first.plus(n), frame + n);
        }
    }

    fn forget(&mut self, page: Page) {
        if let Some(frame) = self.frame_of.remove(&page)
            && let Some(pages) = self.pages_of.get_mut(&frame)
        {
            pages.remove(&page);
            if pages.is_empty() {
                self.pages_of.remove(&frame);
            }
        }
    }

    fn note(&mut self, cycle: u64, page: Page, home: Home) {
        let changes = self.history.entry(page).or_default();
        let last = changes.last().map_or(Home::None, |(_, home)| *home);
        if last != home {
            changes.push((cycle, home));
            self.changed.push((page, home));
        }
    }

    /// A frame's contents went to another: so did all pages that share it.
    fn moved(&mut self, cycle: u64, known: Option<Page>, from: u64, to: u64) {
        let mut pages = self.pages_of.get(&from).cloned().unwrap_or_default();
        if let Some(page) = known {
            pages.insert(page);
            let others = self
                .frame_of
                .get(&page)
                .and_then(|frame| self.pages_of.get(frame));
            pages.extend(others.into_iter().flatten());
        }
        for page in pages {
            self.put(cycle, page, to);
        }
    }

    fn end(&mut self, cycle: u64, page: Page, home: Home) {
        self.forget(page);
        self.note(cycle, page, home);
    }

    fn within(&self, first: Page, pages: u64) -> Vec<Page> {
        let behind = first.plus(pages.min(u64::MAX - first.number));
        let range = self.history.range(first..behind);
        range.map(|(page, _)| *page).collect()
    }

    fn end_range(&mut self, cycle: u64, first: Page, pages: u64) {
        for page in self.within(first, pages) {
            self.end(cycle, page, Home::None);
        }
    }

    fn shift(&mut self, cycle: u64, from: Page, to: Page, pages: u64) {
        for page in self.within(from, pages) {
            let frame = self.frame_of.get(&page).copied();
            self.end(cycle, page, Home::None);
            if let Some(frame) = frame {
                self.put(cycle, to.plus(page.number - from.number), frame);
            }
        }
    }

    fn fork(&mut self, cycle: u64, parent: u64, child: u64) {
        let first = Page {
            mm: parent,
            number: 0,
        };
        for page in self.within(first, u64::MAX) {
            if let Some(frame) = self.frame_of.get(&page).copied() {
                self.put(cycle, Page { mm: child, ..page }, frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cycle: u64, name: &'static str, fields: &[(&'static str, u64)]) -> Event {
        Event::new(cycle, "main", name, fields)
    }

    #[test]
    fn pages_are_followed_by_their_frames() {
        let at = |number: u64| ("addr", number * PAGE_SIZE);
        let mm = ("mm", 1);
        let told = Residency::of(&[
            event(0, "device_memory", &[("pfn", 1000), ("pages", 100)]),
            event(1, "fault", &[mm, at(5)]),
            event(2, "fork", &[mm, ("child", 2)]),
            // Both processes' page moves; then the parent writes to it.
            event(
                10,
                "migrate_page",
                &[("from", 7), ("to", 1001), ("pages", 1), mm, at(5)],
            ),
            event(20, "cow", &[mm, at(5), ("from", 1001), ("to", 8)]),
            // The frame alone is named.
            event(
                30,
                "migrate_page",
                &[("from", 1001), ("to", 9), ("pages", 1)],
            ),
            event(40, "exit", &[mm]),
        ]);
        let page = |mm| Page { mm, number: 5 };
        assert_eq!(
            told.pages[&page(1)],
            [
                (1, Home::System),
                (10, Home::Device(0)),
                (20, Home::System),
                (40, Home::None)
            ]
        );
        assert_eq!(
            told.pages[&page(2)],
            [(2, Home::System), (10, Home::Device(0)), (30, Home::System)]
        );
        assert_eq!(told.at(page(2), 0), Home::None);
        assert_eq!(told.at(page(2), 29), Home::Device(0));
        // 10 of 39 cycles, and 20 of 38.
        assert!((told.device_share() - 30.0 / 77.0).abs() < 1e-12);
    }

    #[test]
    fn moved_and_lost_mappings_are_followed() {
        let at = |number: u64| ("addr", number * PAGE_SIZE);
        let mm = ("mm", 1);
        let told = Residency::of(&[
            event(0, "device_memory", &[("pfn", 1000), ("pages", 100)]),
            event(
                1,
                "migrate_insert",
                &[mm, at(5), ("to", 1003), ("pages", 2)],
            ),
            event(
                2,
                "mremap",
                &[mm, at(5), ("to", 9 * PAGE_SIZE), ("len", PAGE_SIZE)],
            ),
            event(3, "discard", &[mm, at(6), ("len", PAGE_SIZE)]),
            event(4, "device_pages_lost", &[("pfn", 1000), ("pages", 100)]),
            event(5, "reclaim", &[mm, at(20), ("pfn", 3)]),
        ]);
        let page = |number| Page { mm: 1, number };
        let life = |number| told.pages[&page(number)].clone();
        assert_eq!(life(5), [(1, Home::Device(0)), (2, Home::None)]);
        assert_eq!(life(6), [(1, Home::Device(0)), (3, Home::None)]);
        assert_eq!(life(9), [(2, Home::Device(0)), (4, Home::None)]);
        assert_eq!(life(20), [(5, Home::Swap)]);
        assert_eq!(told.stretches(page(9)).last(), Some((4, 5, Home::None)));
    }
}
