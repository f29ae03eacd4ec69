//! What the waves show of the host: lines of the event log, what each thread did last, where pages live.

use std::collections::{BTreeMap, VecDeque};

use hmm_core::PAGE_SHIFT;
use hmmu_rtl::{HostSlots, Sim};

use crate::trace::{Event, Follower, Home, Page};

/// The host's part of the waves of a device.
pub struct HostWaves {
    slots: HostSlots,
    follower: Follower,
    /// The places of pages and threads: the first ones that did something have one each.
    pages: BTreeMap<Page, u32>,
    threads: Vec<String>,
    /// Lines that are still to be shown.
    lines: VecDeque<String>,
    /// Number of the next line.
    number: u32,
    /// Number of the next line to be shown.
    next: u32,
}

impl HostWaves {
    /// Nothing yet.
    pub fn new(sim: &Sim) -> Self {
        Self {
            slots: sim.host_slots(),
            follower: Follower::default(),
            pages: BTreeMap::new(),
            threads: Vec::new(),
            lines: VecDeque::new(),
            number: 0,
            next: 0,
        }
    }

    /// Takes events. Those before cycle `from` have no line, but what they did to threads and pages is shown.
    pub fn take(&mut self, sim: &mut Sim, events: &[Event], from: u64) {
        for event in events {
            if event.cycle >= from {
                let line = format!("{} {event}", self.number);
                self.lines.push_back(self.fit(&line).to_string());
                self.number = self.number.wrapping_add(1);
            }
            if event.thread != "device" {
                self.thread(sim, event);
            }
            for (page, home) in self.follower.take(event) {
                let next = self.pages.len() as u32;
                let slot = *self.pages.entry(*page).or_insert(next);
                if slot < self.slots.pages {
                    let addr = page.number << PAGE_SHIFT;
                    sim.show_page(slot, page.mm as u16, addr, code(*home));
                }
            }
        }
    }

    fn thread(&mut self, sim: &mut Sim, event: &Event) {
        let known = self.threads.iter().position(|name| *name == event.thread);
        let slot = known.unwrap_or_else(|| {
            self.threads.push(event.thread.clone());
            self.threads.len() - 1
        }) as u32;
        if slot < self.slots.threads {
            let text = format!("{}: {}", event.thread, event.told());
            sim.show_thread(slot, self.fit(&text));
        }
    }

    /// As many words of a text as there is room for.
    fn fit<'a>(&self, text: &'a str) -> &'a str {
        let room = self.slots.text as usize;
        match text.get(..=room) {
            None => text,
            Some(start) => start.rsplit_once(' ').map_or("", |(words, _)| words),
        }
    }

    /// Shows as many lines as there is room for; false if there was none to show.
    pub fn show(&mut self, sim: &mut Sim) -> bool {
        let some = !self.lines.is_empty();
        for _ in 0..self.slots.lines {
            let Some(line) = self.lines.pop_front() else {
                break;
            };
            sim.show_line(self.next, &line);
            self.next = self.next.wrapping_add(1);
        }
        some
    }
}

/// `host_home_e` of `rtl/hmmu_sim_top.sv`.
fn code(home: Home) -> u8 {
    match home {
        Home::None => 0,
        Home::System => 1,
        Home::Swap => 2,
        Home::Device(number) => 16 + number as u8,
    }
}
