//! The compute units' part in Save and restore: threads whose state follows from their job and index.
#![allow(dead_code)] // Not every test saves.

use super::{Bench, Running};
use crate::queue::chance;
use hmmu_regs::{JobSave, LaunchEntry};

/// Save areas, one every `AREA` bytes.
pub const AREAS: u64 = 1 << 30;
pub const AREA: u64 = 1 << 16;
pub const HEADER: u64 = 128;
pub const RECORD: u64 = 320;
const WORDS: usize = 40;

/// What goes over the ports.
#[derive(Debug, Default)]
pub struct Units {
    /// Job slots that are being saved.
    pub saving: u64,
    /// The beat that was asked for in the last cycle.
    asked: Option<[u64; 2]>,
    /// Words that have come of the thread that is being restored.
    loaded: usize,
    /// Percent of cycles in which they are ready.
    pub eager: u32,
    /// The version of an area was written, after which nothing may be.
    pub sealed: bool,
    pub saves: u64,
    pub restores: u64,
}

impl Units {
    /// A write to an area.
    pub fn wrote(&mut self, addr: u64, data: &[u8]) {
        assert!(!self.sealed, "a write after the version");
        self.sealed = addr % AREA == 64 && data[0] != 0;
    }
}

/// The words of a thread.
pub fn words(job: u64, thread: &Running) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (k, word) in words.iter_mut().enumerate() {
        *word = (job << 40 | thread.index << 8 | k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    words[0] = thread.index | thread.place << 32;
    words[1] = job << 16;
    words
}

impl Bench {
    pub fn drive_units(&mut self) {
        let slot = self.units.saving.trailing_zeros().into();
        let any = self.running.iter().any(|t| t.slot == slot);
        self.b.set("save_any_i", u64::from(any));
        let eager = if self.units.eager == 0 {
            100
        } else {
            self.units.eager
        };
        let ready = |rng: &mut _| u64::from(chance(rng, eager));
        self.b.set("save_rd_ready_i", ready(&mut self.rng));
        self.b.set("load_ready_i", ready(&mut self.rng));
        let data = self.units.asked.take().unwrap_or([0xdead; 2]);
        for (half, word) in (0..).zip(data) {
            self.b.set_bits("save_data_i", 64 * half, 64, word);
        }
    }

    pub fn sample_units(&mut self) {
        let saving = self.b.get("save_o");
        if saving != self.units.saving {
            // The rest of its warps shows in the same cycle.
            self.units.saving = saving;
            self.units.sealed = false;
            self.drive_units();
            self.b.eval();
        }
        let slot = u64::from(saving.trailing_zeros());
        let first = self.running.iter().position(|t| t.slot == slot);
        if self.b.get("save_rd_valid_o") == 1 && self.b.get("save_rd_ready_i") == 1 {
            let thread = &self.running[first.expect("a beat of no thread")];
            let words = words(thread.job, thread);
            let beat = self.b.get("save_beat_o") as usize;
            self.units.asked = Some([words[2 * beat], words[2 * beat + 1]]);
        }
        if self.b.get("save_take_o") == 1 {
            self.running.remove(first.expect("nothing to take"));
            self.units.saves += 1;
        }
        if self.b.get("load_valid_o") == 1 && self.b.get("load_ready_i") == 1 {
            let order = (8..WORDS).chain(0..8).nth(self.units.loaded);
            let thread = self.running.iter_mut().find(|t| t.loading);
            let thread = thread.expect("words of no thread");
            let word = self.b.get("load_word_o") as usize;
            assert_eq!(Some(word), order);
            assert_eq!(self.b.get("load_data_o"), words(thread.job, thread)[word]);
            self.units.loaded = (self.units.loaded + 1) % WORDS;
            if self.units.loaded == 0 {
                thread.loading = false;
                self.units.restores += 1;
            }
        }
    }

    /// Asks for a Save; whether the job was found.
    pub fn save(&mut self, id: u64, area: u64) -> bool {
        self.memory.write_u64(area + 64, 0);
        (self.hold, self.area) = (Some((id, true)), Some(area));
        let from = self.cycle;
        self.run_until(20_000, "the end of a save", |b| b.hold.is_none());
        let job = self.header(area);
        let bound = 200 + (job.records() + 1) * 20 * 30;
        assert!(self.cycle - from < bound, "{} cycles", self.cycle - from);
        job.version() == 1
    }

    pub fn header(&self, area: u64) -> JobSave {
        let bytes = self.memory.read(area + 64, 64);
        JobSave::from_bytes(&bytes.try_into().expect("64 bytes"))
    }

    pub fn restore(&mut self, area: u64) {
        let entry = LaunchEntry::default().with_version(1).with_restore(1);
        self.submit(entry.with_arg(area));
    }
}
