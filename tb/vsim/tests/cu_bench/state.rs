//! Saves the threads of a job and restores them, as the device's launch unit does.

use super::layout::thread;
use super::{Bench, Thread};

/// Words of a thread: ThreadSave, then ThreadRegs.
pub const WORDS: usize = 40;
const BEATS: u64 = 20;
/// Longest wait for a beat or a word.
const PATIENCE: u64 = 40;

/// A saved thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    pub job: u64,
    pub ctx: u64,
    pub threads: u64,
    pub words: [u64; WORDS],
}

impl Saved {
    /// Accesses that were under way.
    pub fn accesses(&self) -> u64 {
        self.words[0] >> 41 & 7
    }
}

impl Bench {
    /// Takes all threads of a job, which stands still, out of the unit; other jobs run on.
    pub fn save(&mut self, job: u64, ctx: impl Fn(u64) -> u64, threads: u64) -> Vec<Saved> {
        let mut all = Vec::new();
        self.b.set("save_i", 1 << job);
        self.b.eval();
        while self.b.get("save_any_o") == 1 {
            let mut words = [0; WORDS];
            for beat in 0..BEATS {
                self.b.set("save_rd_valid_i", 1);
                self.b.set("save_beat_i", beat);
                self.wait("save_rd_ready_o");
                self.step();
                self.b.set("save_rd_valid_i", 0);
                self.b.eval();
                for half in 0..2 {
                    let word = self.b.get_bits("save_data_o", 64 * half, 64);
                    words[2 * beat as usize + half as usize] = word;
                }
            }
            self.b.set("save_take_i", 1);
            self.step();
            self.b.set("save_take_i", 0);
            let place = words[0] >> 32 & 0xff;
            let places = &mut self.places[job as usize];
            let known = places.iter().position(|p| *p == place);
            places.swap_remove(known.expect("the place of a thread that runs"));
            self.running[job as usize] -= 1;
            assert_eq!(words[8], 0, "x0");
            all.push(Saved {
                job,
                ctx: ctx(words[0] & 0xffff_ffff),
                threads,
                words,
            });
            self.b.eval();
        }
        self.b.set("save_i", 0);
        all
    }

    /// Puts a thread into some warp. Nothing else may wait to be started.
    pub fn restore(&mut self, saved: &Saved) {
        assert!(self.queue.is_empty());
        self.queue.push_back(Thread {
            job: saved.job,
            ctx: saved.ctx,
            entry: saved.words[1],
            index: saved.words[0] & 0xffff_ffff,
            threads: saved.threads,
            place: saved.words[0] >> 32 & 0xff,
            ..Thread::default()
        });
        self.b.set_bits("thread_i", thread::RESTORE.0, 1, 1);
        while !self.queue.is_empty() {
            self.step();
        }
        self.b.set_bits("thread_i", thread::RESTORE.0, 1, 0);
        for word in (8..WORDS).chain(0..8) {
            self.b.set("load_valid_i", 1);
            self.b.set("load_word_i", word as u64);
            self.b.set("load_data_i", saved.words[word]);
            self.wait("load_ready_o");
            self.step();
        }
        self.b.set("load_valid_i", 0);
    }

    fn wait(&mut self, ready: &str) {
        let end = self.now + PATIENCE;
        self.b.eval();
        while self.b.get(ready) == 0 {
            assert!(self.now < end, "no {ready}: {}", self.states());
            self.step();
            self.b.eval();
        }
    }
}
