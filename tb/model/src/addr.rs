//! Addresses, each kind its own type.

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// An address of system memory as the device uses it on the bus, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BusAddr(pub u64);

/// A byte offset in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VramAddr(pub u64);

/// A physical address of the device, 56 bits: bit 55 tells VRAM from system memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhysAddr(pub u64);

/// Where a physical address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    System(BusAddr),
    Vram(VramAddr),
}

impl PhysAddr {
    /// The bit that means VRAM.
    pub const VRAM: u64 = 1 << 55;
    const MASK: u64 = (1 << 56) - 1;

    /// The physical address of a byte of VRAM.
    #[must_use]
    pub fn vram(addr: VramAddr) -> Self {
        Self(Self::VRAM | addr.0)
    }

    /// The physical address of a byte of system memory.
    #[must_use]
    pub fn system(addr: BusAddr) -> Self {
        Self(addr.0 & !Self::VRAM & Self::MASK)
    }

    /// The first byte of a physical page.
    #[must_use]
    pub fn of_page(ppn: u64) -> Self {
        Self((ppn << 12) & Self::MASK)
    }

    pub(crate) fn place(self) -> Place {
        let raw = self.0 & Self::MASK;
        if raw & Self::VRAM != 0 {
            Place::Vram(VramAddr(raw & !Self::VRAM))
        } else {
            Place::System(BusAddr(raw))
        }
    }

    pub(crate) fn plus(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes) & Self::MASK)
    }
}

/// Are bits 63:47 of a virtual address all equal, as Sv48 asks?
pub(crate) fn canonical(va: u64) -> bool {
    let top = va as i64 >> 47;
    top == 0 || top == -1
}

/// The first address of a page, canonical: bits 63:48 repeat bit 47.
pub(crate) fn page_address(vpn: u64) -> u64 {
    ((vpn << 28) as i64 >> 16) as u64
}

/// The page number of a virtual address: bits 47:12.
pub(crate) fn vpn(va: u64) -> u64 {
    (va >> 12) & ((1 << 36) - 1)
}
