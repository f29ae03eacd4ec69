//! Faults, from the miss that began them to the translation that ended them.

use std::collections::BTreeMap;

use hmm_core::PAGE_SIZE;

use super::event::Event;

/// A stage of a fault: what the time before its moment went into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The TLB's miss, which begins the fault.
    Miss,
    /// The walk found no translation: since the miss, L2 TLB and walk.
    Walk,
    /// The record is in the fault ring: since the walk's end, queue and link.
    Record,
    /// The interrupt has reached the host.
    Interrupt,
    /// The driver has taken the record.
    Fetch,
    /// The page has been moved to the device, if it was to be.
    Migrate,
    /// The memory manager has told the page, and the device's table has it.
    Map,
    /// The driver sends the accesses of the range back.
    Replay,
    /// The device does so.
    Retry,
    /// The translation is in the TLB: since the retry, L2 TLB and walk.
    Fill,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 10] = [
        Self::Miss,
        Self::Walk,
        Self::Record,
        Self::Interrupt,
        Self::Fetch,
        Self::Migrate,
        Self::Map,
        Self::Replay,
        Self::Retry,
        Self::Fill,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Walk => "walk",
            Self::Record => "record",
            Self::Interrupt => "interrupt",
            Self::Fetch => "fetch",
            Self::Migrate => "migrate",
            Self::Map => "map",
            Self::Replay => "replay",
            Self::Retry => "retry",
            Self::Fill => "fill",
        }
    }
}

/// How a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a translation.
    Filled,
    /// With an error for the access.
    Cancelled,
    /// Its context was stopped.
    Stopped,
    /// Not before the log's end.
    Open,
}

/// A fault of the device: one access kind to one page, from a TLB's miss to the translation.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Number of its record in the fault ring.
    pub id: u64,
    /// Which device.
    pub device: u64,
    /// Context.
    pub ctx: u64,
    /// Address of the page.
    pub addr: u64,
    /// Enum `Access`.
    pub access: u64,
    /// Moments, in cycles, in the order of [`Stage::ALL`]. A stage that was not passed is missing.
    pub stages: Vec<(Stage, u64)>,
    /// Reads of its first walk: level, cycle of the read, cycle of the answer.
    pub reads: Vec<(u64, u64, u64)>,
    /// Walks that ended in a fault before it was served: 1 if the first service was enough.
    pub walks: u32,
    /// How it ended.
    pub end: End,
}

impl Fault {
    /// When a stage was reached.
    #[must_use]
    pub fn at(&self, stage: Stage) -> Option<u64> {
        let mut stages = self.stages.iter();
        stages.find(|(s, _)| *s == stage).map(|(_, cycle)| *cycle)
    }

    /// Cycles from the miss to the last stage reached.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        match (self.stages.first(), self.stages.last()) {
            (Some((_, first)), Some((_, last))) => last - first,
            _ => 0,
        }
    }

    /// What each stage took since the one before it: they add up to [`Fault::cycles`].
    pub fn parts(&self) -> impl Iterator<Item = (Stage, u64)> {
        let moments = self.stages.iter().zip(self.stages.iter().skip(1));
        moments.map(|((_, before), (stage, cycle))| (*stage, cycle - before))
    }

    fn reach(&mut self, stage: Stage, cycle: u64) {
        // Serving may be tried more than once: the last try before the end counts.
        self.stages.retain(|(s, _)| *s < stage);
        self.stages.push((stage, cycle));
    }

    fn covers(&self, event: &Event, first: &str, end: &str) -> bool {
        self.addr >= event.get(first) && self.addr < event.get(end)
    }
}

type Key = (u64, u64, u64, u64);

/// A miss that has not ended yet.
#[derive(Default)]
struct Miss {
    cycle: u64,
    reads: Vec<(u64, u64, u64)>,
}

/// Collects the faults of a log, in the order of their ends, open ones last.
#[must_use]
pub fn faults(events: &[Event]) -> Vec<Fault> {
    let mut open = Open::default();
    for event in events {
        open.take(event);
    }
    let mut done = open.done;
    done.extend(open.faults.into_values());
    done
}

#[derive(Default)]
struct Open {
    misses: BTreeMap<Key, Miss>,
    faults: BTreeMap<Key, Fault>,
    done: Vec<Fault>,
}

impl Open {
    fn take(&mut self, event: &Event) {
        let device = event.get("device");
        let ctx = event.get("ctx");
        let key = (device, ctx, event.get("addr"), event.get("access"));
        let cycle = event.cycle;
        match event.name.as_ref() {
            "tlb_miss" if !self.faults.contains_key(&key) => {
                self.misses.entry(key).or_insert_with(|| Miss {
                    cycle,
                    ..Miss::default()
                });
            }
            "walk_read" => {
                if let Some(miss) = self.misses.get_mut(&key) {
                    miss.reads.push((event.get("level"), cycle, cycle));
                }
            }
            "walk_data" => {
                if let Some(read) = self.misses.get_mut(&key).and_then(|m| m.reads.last_mut()) {
                    read.2 = cycle;
                }
            }
            "walk_fault" => self.walk_fault(key, cycle),
            "fault_record" => self.reach(key, Stage::Record, cycle, Some(event.get("id"))),
            "interrupt" if event.get("vector") == FAULT_VECTOR => {
                self.each(device, Stage::Interrupt, cycle, |fault| {
                    fault
                        .stages
                        .last()
                        .is_some_and(|(s, _)| *s == Stage::Record)
                });
            }
            // The memory manager's own faults have no number.
            "fault" if event.find("id").is_some() => self.fetch(key, cycle, event.get("id")),
            "migrate_to_device" => self.each(device, Stage::Migrate, cycle, |fault| {
                fault.covers(event, "start", "end") && fault.at(Stage::Fetch).is_some()
            }),
            "map" => self.each(device, Stage::Map, cycle, |fault| {
                fault.ctx == ctx
                    && fault.covers(event, "start", "end")
                    && fault.at(Stage::Fetch).is_some()
            }),
            "replay" => {
                let replayed = |fault: &Fault| {
                    fault.ctx == ctx
                        && fault.covers(event, "start", "end")
                        && fault.at(Stage::Fetch).is_some()
                };
                self.each(device, Stage::Replay, cycle, replayed);
                self.end_unseen(replayed);
            }
            "tlb_retry" => {
                let end = event.get("last").wrapping_add(PAGE_SIZE);
                self.each(device, Stage::Retry, cycle, |fault| {
                    fault.ctx == ctx && fault.addr >= event.get("addr") && fault.addr < end
                });
            }
            "tlb_fill" => self.fill(event),
            "tlb_cancel" => {
                self.end(cycle, End::Cancelled, |other| *other == key);
            }
            "tlb_stop" => {
                self.end(cycle, End::Stopped, |other| {
                    (other.0, other.1) == (device, ctx)
                });
            }
            _ => {}
        }
    }

    fn walk_fault(&mut self, key: Key, cycle: u64) {
        if let Some(fault) = self.faults.get_mut(&key) {
            fault.walks += 1;
            return;
        }
        let miss = self.misses.remove(&key).unwrap_or(Miss {
            cycle,
            ..Miss::default()
        });
        let (device, ctx, addr, access) = key;
        let fault = Fault {
            id: u64::MAX,
            device,
            ctx,
            addr,
            access,
            stages: vec![(Stage::Miss, miss.cycle), (Stage::Walk, cycle)],
            reads: miss.reads,
            walks: 1,
            end: End::Open,
        };
        self.faults.insert(key, fault);
    }

    /// The functional model does not tell what its MMU does: there a fault begins when the driver takes it.
    fn fetch(&mut self, key: Key, cycle: u64, id: u64) {
        let (device, ctx, addr, access) = key;
        self.faults.entry(key).or_insert_with(|| Fault {
            id,
            device,
            ctx,
            addr,
            access,
            stages: Vec::new(),
            reads: Vec::new(),
            walks: 1,
            end: End::Open,
        });
        self.reach(key, Stage::Fetch, cycle, Some(id));
    }

    /// And ends when the driver sends its access back.
    fn end_unseen(&mut self, which: impl Fn(&Fault) -> bool) {
        let unseen = |fault: &Fault| fault.at(Stage::Miss).is_none() && which(fault);
        let ended: Vec<Key> = self
            .faults
            .iter()
            .filter(|(_, f)| unseen(f))
            .map(|(k, _)| *k)
            .collect();
        for key in ended {
            if let Some(mut fault) = self.faults.remove(&key) {
                fault.end = End::Filled;
                self.done.push(fault);
            }
        }
    }

    fn reach(&mut self, key: Key, stage: Stage, cycle: u64, id: Option<u64>) {
        if let Some(fault) = self.faults.get_mut(&key) {
            fault.reach(stage, cycle);
            fault.id = id.unwrap_or(fault.id);
        }
    }

    fn each(&mut self, device: u64, stage: Stage, cycle: u64, which: impl Fn(&Fault) -> bool) {
        let faults = self.faults.values_mut();
        for fault in faults.filter(|fault| fault.device == device && which(fault)) {
            fault.reach(stage, cycle);
        }
    }

    fn fill(&mut self, event: &Event) {
        let (device, ctx) = (event.get("device"), event.get("ctx"));
        let mask = !((PAGE_SIZE << SIZES[event.get("size") as usize % SIZES.len()]) - 1);
        let addr = event.get("addr") & mask;
        let allows = event.get("allows");
        self.end(event.cycle, End::Filled, |key| {
            (key.0, key.1) == (device, ctx) && key.2 & mask == addr && answered(allows, key.3)
        });
    }

    fn end(&mut self, cycle: u64, end: End, which: impl Fn(&Key) -> bool) {
        self.misses.retain(|key, _| !which(key));
        let ended: Vec<Key> = self
            .faults
            .keys()
            .copied()
            .filter(|key| which(key))
            .collect();
        for key in ended {
            if let Some(mut fault) = self.faults.remove(&key) {
                fault.reach(Stage::Fill, cycle);
                fault.end = end;
                self.done.push(fault);
            }
        }
    }
}

/// Enum `Vector`.
const FAULT_VECTOR: u64 = hmmu_regs::Vector::Fault as u64;

/// log2 of the 4 KiB pages of each `page_size_e`.
const SIZES: [u32; 4] = [0, 4, 9, 18];

/// Does a fill with these bits (read, write, execute, D, atomic) answer this access?
fn answered(allows: u64, access: u64) -> bool {
    use hmmu_regs::Access;
    let needs = match Access::from_raw(access) {
        Some(Access::Read) => 0b1,
        Some(Access::Write) => 0b1010,
        Some(Access::Execute) => 0b100,
        Some(Access::Atomic) => 0b11010,
        None => return false,
    };
    allows & needs == needs
}
