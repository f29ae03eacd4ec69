//! The axis of time that all pictures of a page share.

use maud::{Markup, html};

use super::figures::grouped;

/// Width of a picture, and where its time begins and ends in it.
pub const WIDTH: f64 = 960.0;
const LEFT: f64 = 118.0;
const RIGHT: f64 = 946.0;

/// Cycles from left to right.
pub struct Axis {
    cycles: u64,
}

impl Axis {
    /// From reset to this cycle, which is not 0.
    pub fn new(cycles: u64) -> Self {
        Self { cycles }
    }

    /// Where a cycle is.
    pub fn x(&self, cycle: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * cycle.min(self.cycles) as f64 / self.cycles as f64
    }

    /// Left edge.
    pub fn left(&self) -> f64 {
        LEFT
    }

    /// Where the part `k` of `of` equal parts begins, as a cycle.
    pub fn part(&self, k: u64, of: u64) -> u64 {
        (u128::from(self.cycles) * u128::from(k) / u128::from(of)) as u64
    }

    /// Lines and numbers below a picture that goes from `top` to `bottom`.
    pub fn ticks(&self, top: f64, bottom: f64) -> Markup {
        let step = step(self.cycles);
        html! {
            @for cycle in (0..=self.cycles / step).map(|k| k * step) {
                @let x = place(self.x(cycle));
                line.grid x1=(x) x2=(x) y1=(place(top)) y2=(place(bottom + 4.0)) {}
                text.tick x=(x) y=(place(bottom + 17.0)) text-anchor="middle" { (grouped(cycle)) }
            }
        }
    }
}

/// A coordinate with the digits that a picture needs.
pub fn place(at: f64) -> String {
    let text = format!("{at:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// 1, 2 or 5 times a power of ten: at most eight steps.
fn step(cycles: u64) -> u64 {
    let mut ten = 1;
    loop {
        for factor in [1, 2, 5] {
            if cycles / (factor * ten) <= 8 {
                return factor * ten;
            }
        }
        ten *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        for (cycles, round) in [
            (1, 1),
            (8, 1),
            (9, 2),
            (44_822, 5_000),
            (200_000_000, 50_000_000),
        ] {
            assert_eq!(step(cycles), round, "{cycles}");
        }
        let axis = Axis::new(1000);
        assert!(axis.x(0) < axis.x(500) && axis.x(1000) == axis.x(5000));
        assert_eq!(place(3.10), "3.1");
        assert_eq!(place(10.0), "10");
    }
}
