//! The world around the copy engine: link, VRAM, MMU, driver, and what must come out.

pub mod bench;
pub mod link;
pub mod mmu;
pub mod space;
