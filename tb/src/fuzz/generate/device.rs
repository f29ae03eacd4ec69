//! Operations on devices.

use rand::Rng;

use super::Generator;
use crate::fuzz::op::{Op, PAGE};

/// Words that a device thread sums.
const MOST_WORDS: u64 = 600;

impl Generator<'_> {
    pub(super) fn device(&mut self, p: usize) -> Op {
        let d = self.rng.random_range(0..self.shape.devices);
        if !self.opened.contains(&(p, d)) && !self.one_in(20) {
            return Op::Open { p, d };
        }
        match self.rng.random_range(0..60) {
            0 => Op::Close { p, d },
            1 => Op::Release { d },
            2 => Op::FailAlloc {
                d,
                n: self.rng.random_range(0..6),
            },
            3..20 => {
                let (at, len) = self.range(p);
                Op::ToDevice { p, d, at, len }
            }
            20..25 => {
                let (at, len) = self.range(p);
                Op::ToSystem { p, d, at, len }
            }
            25..28 => {
                let (at, len) = self.range(p);
                Op::Snapshot { p, d, at, len }
            }
            28..30 => {
                let (at, len) = self.range(p);
                let len = len.min(16 * PAGE);
                Op::Exclusive { p, d, at, len }
            }
            30..33 => {
                let (at, len) = self.words(p);
                let first = self.rng.random();
                Op::DevFill {
                    p,
                    d,
                    at,
                    len,
                    first,
                }
            }
            33..36 => {
                let (at, len) = self.words(p);
                let first = if self.plain.reach(p, at, 8, false).1.is_ok() {
                    self.plain.number(p, at, 8)
                } else {
                    0
                };
                Op::DevCheck {
                    p,
                    d,
                    at,
                    len,
                    first,
                }
            }
            36..39 => {
                let (at, len) = self.words(p);
                let stride = [8, 64, 512, 4096][self.rng.random_range(0..4)];
                let words = (len / stride).min(MOST_WORDS);
                Op::DevSum {
                    p,
                    d,
                    at,
                    words,
                    stride,
                }
            }
            39..45 => self.copy(p, d),
            _ => self.device_word(p, d),
        }
    }

    fn copy(&mut self, p: usize, d: usize) -> Op {
        let (to, len) = self.words(p);
        let (from, most) = self.words(p);
        let from = from + self.rng.random_range(0..16);
        let to = to + self.rng.random_range(0..16);
        let len = len.min(most).saturating_sub(self.rng.random_range(0..32));
        Op::Copy {
            p,
            d,
            to,
            from,
            len,
        }
    }

    fn device_word(&mut self, p: usize, d: usize) -> Op {
        let value = self.rng.random();
        let size = self.size();
        match self.rng.random_range(0..4) {
            0 | 1 => Op::DevStore {
                p,
                d,
                at: self.word(p, size as u64),
                size,
                value,
            },
            2 => Op::DevLoad {
                p,
                d,
                at: self.word(p, size as u64),
                size,
            },
            _ => {
                let size = if size == 4 { 4 } else { 8 };
                Op::DevAdd {
                    p,
                    d,
                    at: self.word(p, size as u64),
                    size,
                    value,
                }
            }
        }
    }
}
