//! The MMU and the driver's fault handling, as the copy engine sees them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hmmu_vsim::Block;
use rand::Rng;

use super::space::{Space, VPage};
use crate::queue::layout::{event, miss};
use crate::queue::{TestRng, chance};

const EV_FILL: u64 = 1;
const EV_INVALIDATE: u64 = 2;
const EV_RETRY: u64 = 3;
const EV_CANCEL: u64 = 4;
const EV_STOP: u64 = 5;
const WRITE: u64 = 1;

/// Code of a context that is off.
pub const BAD_ADDRESS: u8 = 6;

#[derive(Clone, Copy, Debug)]
struct Miss {
    page: VPage,
    access: u64,
    due: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Invalidate { page: VPage },
    Retry { page: VPage },
    Cancel { page: VPage, access: u64, code: u8 },
    Stop { ctx: u64 },
}

/// An invalidation under way.
#[derive(Clone, Copy, Debug)]
struct Drain {
    /// The page, or a whole context.
    page: Option<VPage>,
    ctx: u64,
    sent: Option<u64>,
}

/// MMU model. Each cycle: `drive`, evaluate, `sample`, clock.
pub struct Mmu {
    walks: Vec<Miss>,
    parked: Vec<Miss>,
    events: VecDeque<Event>,
    drain: Option<Drain>,
    cycle: u64,
    /// Cycles of a walk and of a fault's service: from, to.
    pub latency: (u64, u64),
    /// Percent of cycles in which a miss is taken.
    pub ready: u32,
    /// Pages whose faults are cancelled, with the code.
    pub cancel: BTreeMap<VPage, u8>,
    /// Contexts that are off.
    pub off: BTreeSet<u64>,
    /// Faults served, invalidations done.
    pub faults: u32,
    pub invalidations: u32,
}

impl Mmu {
    /// An MMU that answers in a few cycles.
    pub fn new() -> Self {
        Self {
            walks: Vec::new(),
            parked: Vec::new(),
            events: VecDeque::new(),
            drain: None,
            cycle: 0,
            latency: (3, 6),
            ready: 100,
            cancel: BTreeMap::new(),
            off: BTreeSet::new(),
            faults: 0,
            invalidations: 0,
        }
    }

    /// Starts to take a page away, unless an invalidation is under way.
    pub fn invalidate(&mut self, page: VPage, space: &mut Space) {
        if self.drain.is_none() {
            space.pages.get_mut(&page).expect("page").present = false;
            self.events.push_back(Event::Invalidate { page });
            self.drain = Some(Drain {
                page: Some(page),
                ctx: page.0,
                sent: None,
            });
        }
    }

    /// Turns a context off; `is_draining` ends when nothing of it is under way.
    pub fn stop(&mut self, ctx: u64) {
        assert!(self.drain.is_none(), "one command at a time");
        self.off.insert(ctx);
        self.walks.retain(|m| m.page.0 != ctx);
        self.parked.retain(|m| m.page.0 != ctx);
        self.events.push_back(Event::Stop { ctx });
        self.drain = Some(Drain {
            page: None,
            ctx,
            sent: None,
        });
    }

    /// A command is under way.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Sets the inputs of this cycle.
    pub fn drive(&mut self, block: &mut Block, space: &mut Space, rng: &mut TestRng) {
        self.cycle += 1;
        block.set("miss_ready_i", u64::from(chance(rng, self.ready)));
        event::EV.set(block, "event_i", 0);
        self.serve_faults(space, rng);
        // Commands go before fills now and then, as they may.
        if !self.events.is_empty() && chance(rng, 70) {
            let next = self.events.pop_front().expect("not empty");
            self.send(block, next);
        } else {
            self.answer(block, space, rng);
        }
    }

    fn serve_faults(&mut self, space: &mut Space, rng: &mut TestRng) {
        let cycle = self.cycle;
        let Some(at) = self.parked.iter().position(|m| m.due <= cycle) else {
            return;
        };
        let fault = self.parked[at];
        if let Some(&code) = self.cancel.get(&fault.page) {
            self.parked.remove(at);
            self.events.push_back(Event::Cancel {
                page: fault.page,
                access: fault.access,
                code,
            });
            return;
        }
        // A page that is being taken away is mapped again afterwards.
        if self.drain.is_some_and(|d| d.page == Some(fault.page)) {
            self.parked[at].due = cycle + rng.random_range(1..20);
            return;
        }
        self.faults += 1;
        self.parked.retain(|m| m.page != fault.page);
        space.pages.get_mut(&fault.page).expect("page").present = true;
        self.events.push_back(Event::Retry { page: fault.page });
    }

    fn answer(&mut self, block: &mut Block, space: &mut Space, rng: &mut TestRng) {
        let cycle = self.cycle;
        let Some(at) = self.walks.iter().position(|m| m.due <= cycle) else {
            return;
        };
        let walk = self.walks.remove(at);
        if self.off.contains(&walk.page.0) {
            self.send(
                block,
                Event::Cancel {
                    page: walk.page,
                    access: walk.access,
                    code: BAD_ADDRESS,
                },
            );
            return;
        }
        let backing = space
            .pages
            .get_mut(&walk.page)
            .unwrap_or_else(|| panic!("no page {:x?}", walk.page));
        if !backing.present || self.cancel.contains_key(&walk.page) {
            let due = cycle + rng.random_range(self.latency.0..=self.latency.1);
            self.parked.push(Miss { due, ..walk });
            return;
        }
        backing.dirty |= walk.access == WRITE;
        let port = "event_i";
        event::EV.set(block, port, EV_FILL);
        event::CTX.set(block, port, walk.page.0);
        event::XLAT_CTX.set(block, port, walk.page.0);
        event::XLAT_VPN.set(block, port, walk.page.1);
        event::XLAT_PPN.set(block, port, backing.ppn);
        event::XLAT_SIZE.set(block, port, 0);
        event::XLAT_R.set(block, port, 1);
        event::XLAT_W.set(block, port, 1);
        event::XLAT_X.set(block, port, 0);
        event::XLAT_D.set(block, port, u64::from(backing.dirty));
        event::XLAT_ATOMIC.set(block, port, 0);
        space.translated(walk.page);
    }

    fn send(&mut self, block: &mut Block, next: Event) {
        let port = "event_i";
        let (ev, (ctx, vpn), access, code) = match next {
            Event::Invalidate { page } => (EV_INVALIDATE, page, 0, 0),
            Event::Retry { page } => (EV_RETRY, page, 0, 0),
            Event::Cancel { page, access, code } => (EV_CANCEL, page, access, code),
            Event::Stop { ctx } => (EV_STOP, (ctx, 0), 0, 0),
        };
        event::EV.set(block, port, ev);
        event::CTX.set(block, port, ctx);
        event::LO.set(block, port, vpn);
        event::HI.set(block, port, vpn);
        event::ACCESS.set(block, port, access);
        event::CODE.set(block, port, u64::from(code));
        if ev == EV_INVALIDATE || ev == EV_STOP {
            self.drain.as_mut().expect("a drain").sent = Some(self.cycle);
        }
    }

    /// Takes what the engine shows in this cycle; acknowledges the command when it has drained.
    pub fn sample(&mut self, block: &mut Block, space: &mut Space, rng: &mut TestRng) {
        if block.get("miss_valid_o") == 1 && block.get("miss_ready_i") == 1 {
            let page = (
                miss::CTX.get(block, "miss_o"),
                miss::VPN.get(block, "miss_o"),
            );
            assert_eq!(miss::CLIENT.get(block, "miss_o"), 2, "client of a copy");
            let due = self.cycle + rng.random_range(self.latency.0..=self.latency.1);
            self.walks.push(Miss {
                page,
                access: miss::ACCESS.get(block, "miss_o"),
                due,
            });
        }
        let Some(drain) = self.drain else { return };
        let waited = drain.sent.is_some_and(|sent| self.cycle >= sent + 2);
        if waited && block.get("drain_done_o") == 1 {
            self.drain = None;
            self.invalidations += 1;
            match drain.page {
                Some(page) => {
                    space.migrate(page, rng);
                    space.pages.get_mut(&page).expect("page").present = chance(rng, 50);
                    // Parked accesses that find the page again need a retry: the driver's faults do it.
                }
                None => {
                    let gone: Vec<u64> = space
                        .pages
                        .iter()
                        .filter(|(p, _)| p.0 == drain.ctx)
                        .map(|(_, b)| b.ppn)
                        .collect();
                    gone.into_iter().for_each(|ppn| space.revoked(ppn));
                }
            }
        }
    }
}
