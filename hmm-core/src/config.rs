//! How a system is set up.

/// What [`crate::System::new`] needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemConfig {
    /// Pages of system memory; their numbers are `0..ram_pages`.
    pub ram_pages: u64,
    /// The first pages, which belong to somebody else (firmware, the driver's DMA memory) and are never given out.
    pub reserved_pages: u64,
    /// Pages of swap space. Nothing is allocated before it is used.
    pub swap_pages: u64,
}

impl SystemConfig {
    /// `ram_pages` pages, none of them reserved, and plenty of swap space.
    pub fn new(ram_pages: u64) -> SystemConfig {
        SystemConfig {
            ram_pages,
            reserved_pages: 0,
            swap_pages: 1 << 32,
        }
    }
}
