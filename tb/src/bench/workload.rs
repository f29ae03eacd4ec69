//! What a workload is.

use hmmu_driver::Program;

/// How much a workload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Size {
    /// Enough to see that it works.
    Small,
    /// Beyond the reach of the TLBs, where the workload's nature asks for it.
    Default,
    /// More of the same: for a long run.
    Large,
}

impl Size {
    /// The value of this size.
    #[must_use]
    pub fn of<T>(self, small: T, default: T, large: T) -> T {
        match self {
            Self::Small => small,
            Self::Default => default,
            Self::Large => large,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.of("small", "default", "large")
    }
}

/// What a workload is made for.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How much it does.
    pub size: Size,
    /// Threads of each job.
    pub threads: u64,
    /// Seed of its data.
    pub seed: u64,
}

/// One job.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What its threads run.
    pub program: Program,
    /// Its arguments.
    pub args: Vec<u64>,
}

/// A workload with its data in an image.
#[derive(Clone, Debug)]
pub struct Case {
    /// Jobs, one after the other.
    pub phases: Vec<Phase>,
    /// Address and pages of 4 KiB of the data.
    pub data: (u64, u64),
    /// Addresses and values of all words that say whether the result is right.
    pub expected: Vec<(u64, u64)>,
}
