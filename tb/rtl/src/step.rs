//! Steps of address translation: what `rtl/mmu_probe.sv` shows.

/// Kinds of steps: `step_e` of the probe. At most one of each in a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StepKind {
    /// An event on the MMU's bus, which all TLBs see: `code` is its place in [`StepKind::BUS`]. A fill has its
    /// size (`page_size_e`) in `access`, and what it allows in `client`: bits 0 read, 1 write, 2 execute, 3 D is set,
    /// 4 atomics.
    Event = 0,
    /// A miss of an L1 TLB reaches the L2 TLB.
    Miss = 1,
    /// The L2 TLB has it.
    Hit = 2,
    /// The walker takes it.
    Walk = 3,
    /// A walk reads a table entry (`code` bits 1:0: its level), or changes its A or D (bit 2).
    Read = 4,
    /// The answer to that.
    Data = 5,
    /// A walk ends in a fault: `code` is enum `FaultReason`.
    Fault = 6,
    /// A record of the fault ring is written: `hi` is its number.
    Record = 7,
}

impl StepKind {
    /// All kinds, in the order of their bits.
    pub const ALL: [Self; 8] = [
        Self::Event,
        Self::Miss,
        Self::Hit,
        Self::Walk,
        Self::Read,
        Self::Data,
        Self::Fault,
        Self::Record,
    ];

    /// Names of the bus's events: `mmu_ev_e` of `rtl/hmmu_pkg.sv`.
    pub const BUS: [&'static str; 6] = ["None", "Fill", "Invalidate", "Retry", "Cancel", "Stop"];
}

/// What a step was about: `step_t` of the probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Context.
    pub ctx: u8,
    /// Enum `Access`.
    pub access: u8,
    /// Enum `Client`.
    pub client: u8,
    /// By the kind.
    pub code: u8,
    /// Virtual page number, or the first of a range.
    pub lo: u64,
    /// Last page of a range, or by the kind.
    pub hi: u64,
}

impl Step {
    pub(crate) fn from_words(words: [u64; 2]) -> Self {
        let all = u128::from(words[0]) | u128::from(words[1]) << 64;
        let byte = |at: u32| (all >> at) as u8;
        let page = |at: u32| (all >> at) as u64 & 0xff_ffff_ffff;
        Self {
            ctx: byte(120),
            access: byte(112),
            client: byte(104),
            code: byte(96),
            lo: page(0),
            hi: page(40),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StepKind;

    const PROBE: &str = include_str!("../../../rtl/mmu_probe.sv");
    const PACKAGE: &str = include_str!("../../../rtl/hmmu_pkg.sv");

    #[test]
    fn kinds_are_those_of_the_probe() {
        for kind in StepKind::ALL {
            let line = PROBE
                .lines()
                .find(|line| line.contains(&format!("Step{kind:?} ")))
                .unwrap_or_else(|| panic!("no Step{kind:?} in the probe"));
            assert!(line.contains(&format!("= 3'd{}", kind as u8)), "{line}");
        }
    }

    #[test]
    fn events_are_those_of_the_bus() {
        for (code, name) in StepKind::BUS.iter().enumerate() {
            let line = PACKAGE
                .lines()
                .find(|line| line.trim().starts_with(&format!("Ev{name} ")))
                .unwrap_or_else(|| panic!("no Ev{name} in the package"));
            assert!(line.contains(&format!("= 3'd{code}")), "{line}");
        }
    }
}
