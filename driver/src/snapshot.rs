//! What a device would find at a page, without making it fault.

use std::fmt;

/// Where a mapped page lives, as this device sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePlace {
    /// System memory.
    System,
    /// The shared zero page.
    Zero,
    /// This device's private memory.
    Device,
    /// This device's coherent memory.
    Coherent,
    /// Another device's coherent memory.
    CoherentRemote,
}

/// One page of a snapshot. Its `Display` gives the words of the scenario scripts, like `rw dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// Nothing is mapped, or what is there is invisible to this device.
    None,
    /// A device access could never succeed (no mapping, or no read permission).
    Error,
    /// A page.
    Page {
        /// The mapping is writable.
        write: bool,
        /// Where the page is.
        place: PagePlace,
        /// The CPU maps it with a 2 MiB entry.
        pmd: bool,
    },
}

impl fmt::Display for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Error => f.write_str("error"),
            Self::Page { write, place, pmd } => {
                f.write_str(if *write { "rw" } else { "r" })?;
                f.write_str(match place {
                    PagePlace::System => "",
                    PagePlace::Zero => " zero",
                    PagePlace::Device => " dev",
                    PagePlace::Coherent => " coh",
                    PagePlace::CoherentRemote => " coh-remote",
                })?;
                f.write_str(if *pmd { " pmd" } else { "" })
            }
        }
    }
}
