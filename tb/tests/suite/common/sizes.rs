//! The sizes that a link can negotiate, as far as they differ for the device.

use std::fmt;

use hmmu::machine::PcieConfig;

/// Bytes of Max_Payload_Size, Max_Read_Request_Size and the read completion boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSizes {
    pub mps: u64,
    pub mrrs: u64,
    pub rcb: u64,
}

impl fmt::Display for LinkSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mps {}, mrrs {}, rcb {}", self.mps, self.mrrs, self.rcb)
    }
}

impl LinkSizes {
    /// Each of them as small or as large as can be: of these eight the four in which each pair of two sizes is met.
    fn is_corner(&self) -> bool {
        let edge = [128, 512].contains(&self.mps) && [128, 4096].contains(&self.mrrs);
        let large = [self.mps == 512, self.mrrs == 4096, self.rcb == 128];
        edge && large.into_iter().filter(|large| *large).count() % 2 == 1
    }

    /// The link of a machine.
    pub fn pcie(&self) -> PcieConfig {
        let mut pcie = PcieConfig {
            mps: self.mps,
            mrrs: self.mrrs,
            ..PcieConfig::default()
        };
        pcie.completer.rcb = self.rcb;
        pcie
    }
}

/// All 36 with `HMMU_MATRIX` in the environment (`make matrix`), else four corners.
pub fn chosen() -> Vec<LinkSizes> {
    let mut all = Vec::new();
    for mps in [128, 256, 512] {
        for mrrs in [128, 256, 512, 1024, 2048, 4096] {
            for rcb in [64, 128] {
                all.push(LinkSizes { mps, mrrs, rcb });
            }
        }
    }
    if !every() {
        all.retain(LinkSizes::is_corner);
    }
    all
}

/// Is it to be every size?
pub fn every() -> bool {
    std::env::var_os("HMMU_MATRIX").is_some()
}
