//! Clients that keep the rules of the address translation: warps that look up, wait, access and
//! retire, and drains.
#![allow(dead_code)]

use rand::Rng;
use rand_pcg::Pcg64Mcg;

use crate::bench::{Bench, Cycle, Rsp, SLOTS};
use crate::xlat::{Access, Ask, Event};

/// What a warp does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Idle {
        until: u64,
    },
    Look,
    /// The lookup was presented in this cycle; the response comes in the next.
    Asked {
        looked: u64,
    },
    Wait {
        slot: usize,
    },
    /// The access is under way until `retire`.
    Access {
        ppn: u64,
        looked: u64,
        retire: u64,
    },
}

/// A warp of a client.
#[derive(Clone, Copy, Debug)]
pub struct Warp {
    pub client: usize,
    pub ask: Ask,
    pub state: State,
}

/// What happened to a warp in a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The lookup of cycle `looked` hit.
    Hit { ask: Ask, ppn: u64, looked: u64 },
    /// The wait ended with an error code.
    Ended { ask: Ask, code: u64 },
}

/// All warps of the three clients.
pub struct Warps {
    pub warps: Vec<Warp>,
    drains: [Option<u64>; 3],
    last_event: Event,
    /// Longest drain so far, in cycles from its event.
    pub longest_drain: u64,
    /// Most cycles of an access.
    pub access_cycles: u64,
}

impl Warps {
    /// One warp for each miss slot.
    pub fn new(access_cycles: u64) -> Self {
        let idle = Ask {
            ctx: 0,
            vpn: 0,
            access: Access::Read,
        };
        let warps = (0..3)
            .flat_map(|client| (0..SLOTS[client]).map(move |_| client))
            .map(|client| Warp {
                client,
                ask: idle,
                state: State::Idle { until: 0 },
            })
            .collect();
        Self {
            warps,
            drains: [None; 3],
            last_event: Event::None,
            longest_drain: 0,
            access_cycles,
        }
    }

    /// Presents the lookups of the next cycle: at most one for each client.
    pub fn present(&mut self, bench: &mut Bench, rng: &mut Pcg64Mcg) -> Vec<Ask> {
        let now = bench.now();
        let mut asked = Vec::new();
        for client in 0..3 {
            let ready: Vec<usize> = (0..self.warps.len())
                .filter(|&i| self.warps[i].client == client && self.warps[i].state == State::Look)
                .collect();
            if ready.is_empty() {
                continue;
            }
            let warp = &mut self.warps[ready[rng.random_range(0..ready.len())]];
            bench.lookup(client, warp.ask);
            asked.push(warp.ask);
            warp.state = State::Asked { looked: now };
            self.set_drain(bench, client);
        }
        asked
    }

    fn under_way(&self, client: usize, event: u64) -> bool {
        self.warps.iter().any(|w| {
            w.client == client
                && match w.state {
                    State::Asked { looked } | State::Access { looked, .. } => looked <= event,
                    _ => false,
                }
        })
    }

    /// Is any access under way that was looked up at or before `event`?
    pub fn any_under_way(&self, event: u64) -> bool {
        (0..3).any(|client| self.under_way(client, event))
    }

    fn set_drain(&mut self, bench: &mut Bench, client: usize) {
        if let Some(event) = self.drains[client] {
            let busy = self.under_way(client, event);
            bench.drain_done[client] = !busy;
            if !busy {
                self.longest_drain = self.longest_drain.max(bench.now() - event);
                self.drains[client] = None;
            }
        }
    }

    /// Takes the results of a cycle and checks that every wake has its cause and every cause its wake.
    pub fn take(&mut self, bench: &mut Bench, c: &Cycle, rng: &mut Pcg64Mcg) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for warp in &mut self.warps {
            let fresh = matches!(warp.state, State::Asked { .. });
            match (warp.state, c.rsp[warp.client]) {
                (State::Asked { looked }, rsp) if looked < c.number => {
                    match rsp.expect("every lookup is answered") {
                        Rsp::Hit(ppn) => {
                            let retire = c.number + rng.random_range(0..=self.access_cycles);
                            warp.state = State::Access {
                                ppn,
                                looked,
                                retire,
                            };
                            outcomes.push(Outcome::Hit {
                                ask: warp.ask,
                                ppn,
                                looked,
                            });
                        }
                        Rsp::Miss(slot) => warp.state = State::Wait { slot },
                        Rsp::Full => panic!("there is a slot for each warp"),
                    }
                }
                (State::Access { retire, .. }, _) if retire <= c.number => {
                    warp.state = State::Idle {
                        until: c.number + rng.random_range(0..8),
                    };
                }
                _ => {}
            }
            if let State::Wait { slot } = warp.state {
                let woken = c.wake[warp.client] >> slot & 1 == 1;
                let caused = self.last_event.answers(&warp.ask);
                // A lookup in the cycle of an event sees the state before it: only if it joined a
                // waiting slot, or if its context is stopped, it is woken with it.
                let must = caused && (!fresh || matches!(self.last_event, Event::Stop { .. }));
                assert!(
                    woken || !must,
                    "cycle {}: {warp:?} sleeps after {:?}",
                    c.number,
                    self.last_event
                );
                assert!(
                    !woken || caused,
                    "cycle {}: {warp:?} woken after {:?}",
                    c.number,
                    self.last_event
                );
                if woken {
                    let error = c.wake_err[warp.client];
                    assert_eq!(error.is_some(), !matches!(self.last_event, Event::Fill(_)));
                    warp.state = State::Look;
                    if let Some(code) = error {
                        warp.state = State::Idle { until: c.number };
                        outcomes.push(Outcome::Ended {
                            ask: warp.ask,
                            code,
                        });
                    }
                }
            }
        }
        if matches!(c.event, Event::Invalidate { .. } | Event::Stop { .. }) {
            self.drains = [Some(c.number); 3];
        }
        for client in 0..3 {
            self.set_drain(bench, client);
        }
        self.last_event = c.event;
        outcomes
    }
}
