//! The world around the copy engine: link, VRAM, MMU, driver, and what must come out.

// Each test binary uses its own part of these helpers.
#![allow(dead_code)]

pub mod bench;
pub mod link;
pub mod mmu;
pub mod plan;
pub mod random;
pub mod space;
