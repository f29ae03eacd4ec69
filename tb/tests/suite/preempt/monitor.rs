//! Watches the device's ports for one physical page and one invalidation.

use hmmu_regs::reg;

const CTRL_PROD: u64 = reg::CTRL_PROD;
const BAR0: u64 = 0xf000_0000;

/// A physical page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Page of VRAM.
    Vram(u64),
    /// Page of system memory.
    System(u64),
}

/// What the ports have shown of the watched page since [`Monitor::watch`].
#[derive(Debug, Default)]
pub struct Monitor {
    page: Option<Page>,
    fence: u64,
    commands: u32,
    /// The doorbell of the invalidation reached the device in this cycle.
    pub rung: Option<u64>,
    /// The acknowledgement left the device in this cycle.
    pub acknowledged: Option<u64>,
    /// A store to the page was seen before the acknowledgement, at any time.
    pub stored: bool,
    /// Reads of the page that are under way.
    vram_reads: usize,
    tags: Vec<u64>,
    /// What must not have happened.
    pub violations: Vec<String>,
}

impl Monitor {
    /// From the beginning: which page an invalidation will take away.
    pub fn page(&mut self, page: Page) {
        self.page = Some(page);
    }

    /// The next control doorbell is the invalidation's, and its fence goes to `fence`.
    pub fn expect(&mut self, fence: u64) {
        self.fence = fence;
        self.commands = 1;
    }

    /// The device accepted the first beat of a TLP.
    pub fn received(&mut self, header: u128, now: u64) {
        match kind(header) {
            Kind::Write(addr) if addr == BAR0 + CTRL_PROD && self.commands == 1 => {
                self.commands = 0;
                self.rung = Some(now);
            }
            Kind::Completion(tag) => self.tags.retain(|&t| t != tag),
            _ => {}
        }
    }

    /// The device sent the first beat of a TLP.
    pub fn sent(&mut self, header: u128, now: u64) {
        match kind(header) {
            Kind::Write(addr) if self.rung.is_some() && addr == self.fence => {
                self.acknowledged = Some(now);
                if self.vram_reads > 0 || !self.tags.is_empty() {
                    self.violations.push(format!(
                        "cycle {now}: acknowledged with a read of the page under way"
                    ));
                }
            }
            Kind::Write(addr) => self.touched(Page::System(addr >> 12), true, now),
            Kind::Read(addr, tag) => {
                let page = Page::System(addr >> 12);
                self.touched(page, false, now);
                if self.page == Some(page) {
                    self.tags.push(tag);
                }
            }
            Kind::Completion(_) | Kind::Other => {}
        }
    }

    /// The device gave a request to VRAM.
    pub fn vram_asked(&mut self, page: Page, write: bool, now: u64) {
        self.touched(page, write, now);
        if !write && self.page == Some(page) {
            self.vram_reads += 1;
        }
    }

    /// VRAM answered a read.
    pub fn vram_answered(&mut self, page: Page) {
        if self.page == Some(page) {
            self.vram_reads -= 1;
        }
    }

    fn touched(&mut self, page: Page, write: bool, now: u64) {
        if self.page != Some(page) {
            return;
        }
        match self.acknowledged {
            Some(at) => {
                let what = if write { "written" } else { "read" };
                self.violations.push(format!(
                    "cycle {now}: {page:?} was {what}, acknowledged in {at}"
                ));
            }
            None => self.stored |= write,
        }
    }
}

enum Kind {
    Write(u64),
    Read(u64, u64),
    Completion(u64),
    Other,
}

/// What a TLP is, from its header (PCIe Base Specification, section 2.2; DW 0 in the top 32 bits).
fn kind(header: u128) -> Kind {
    let dw = |n: u32| (header >> (96 - 32 * n)) as u64 & 0xffff_ffff;
    let (fmt, of_type) = (dw(0) >> 29, dw(0) >> 24 & 0x1f);
    let addr = if fmt & 1 == 1 {
        dw(2) << 32 | dw(3) & !3
    } else {
        dw(2) & !3
    };
    match (of_type, fmt & 2) {
        (0, 2) => Kind::Write(addr),
        // Reads and AtomicOps both wait for an answer.
        (0 | 0x0c..=0x0e, _) => Kind::Read(addr, dw(1) >> 8 & 0xff),
        (0x0a, _) => Kind::Completion(dw(2) >> 8 & 0xff),
        _ => Kind::Other,
    }
}
