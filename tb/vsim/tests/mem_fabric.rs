//! `mem_fabric`: every request reaches its target once and unchanged, in turn; every answer its client.

mod pcie;

use std::collections::VecDeque;

use hmmu_vsim::Block;
use pcie::vram::VRAM;
use pcie::{TestRng, chance, get128, rng, set128};
use rand::Rng;

const CLIENTS: u32 = 10;
const CAS: u64 = 2;
const REQ: u32 = 211;
const RSP: u32 = 137;

/// Fields of `mem_req_t` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Req {
    op: u64,
    addr: u64,
    strb: u64,
    data: u128,
    tag: u64,
}

struct Target {
    name: &'static str,
    /// Choice that was on offer and not taken.
    held: Option<(u64, Req)>,
    /// Answers to give: client, tag, data.
    answers: VecDeque<(u64, u64, u128)>,
    answering: bool,
}

struct Bench {
    b: Block,
    /// The block's form for an FPGA, with registers on all ways.
    compact: bool,
    /// There: requests that were accepted and have not left yet, by target; what the clients are told next.
    on_way: [VecDeque<(u64, Req)>; 2],
    due: Option<(u64, u64, u128)>,
    rng: TestRng,
    who: String,
    offers: [Option<Req>; CLIENTS as usize],
    /// Requests of others that passed since a client began to wait, per client.
    passed: [u32; CLIENTS as usize],
    targets: [Target; 2],
    /// Answers under way per client: tag, data, link or VRAM.
    accepted: u64,
    answered: u64,
    clashes: u64,
    stall: u32,
    /// VRAM has room for a swap.
    room: bool,
    /// Percent of swaps that take the last room.
    swaps: u32,
    /// Requests that passed while a swap waited for room.
    beside: u64,
    /// Even clients ask for VRAM, odd ones for the link; else by chance.
    fixed: bool,
}

impl Bench {
    fn new(seed: u64, compact: bool) -> Self {
        let name = ["mem_fabric", "mem_fabric_compact"][usize::from(compact)];
        let mut b = Block::new(name).expect("block mem_fabric");
        b.reset();
        let target = |name| Target {
            name,
            held: None,
            answers: VecDeque::new(),
            answering: false,
        };
        Self {
            b,
            compact,
            on_way: [VecDeque::new(), VecDeque::new()],
            due: None,
            rng: rng(seed),
            who: format!("{name}, seed {seed}"),
            offers: [None; CLIENTS as usize],
            passed: [0; CLIENTS as usize],
            targets: [target("vram"), target("sys")],
            accepted: 0,
            answered: 0,
            clashes: 0,
            stall: [0, 30, 70][seed as usize % 3],
            fixed: false,
            room: true,
            swaps: [0, 50, 100][seed as usize / 2 % 3],
            beside: 0,
        }
    }

    fn put(&mut self, client: u32, r: Req) {
        let at = client * REQ;
        self.b.set_bits("req_i", at, 8, r.tag);
        set128(&mut self.b, "req_i", at + 8, r.data);
        self.b.set_bits("req_i", at + 136, 16, r.strb);
        self.b.set_bits("req_i", at + 152, 56, r.addr);
        self.b.set_bits("req_i", at + 208, 1, 0);
        self.b.set_bits("req_i", at + 209, 2, r.op);
    }

    fn take(&mut self, port: &str) -> Req {
        Req {
            op: self.b.get_bits(port, 209, 2),
            addr: self.b.get_bits(port, 152, 56),
            strb: self.b.get_bits(port, 136, 16),
            data: get128(&mut self.b, port, 8),
            tag: self.b.get_bits(port, 0, 8),
        }
    }

    fn step(&mut self, feed_percent: u32) {
        let mut valid = 0;
        for client in 0..CLIENTS {
            let i = client as usize;
            if self.offers[i].is_none() && chance(&mut self.rng, feed_percent) {
                let fixed = self.fixed.then_some(client % 2 == 0);
                let r = &mut self.rng;
                let vram = fixed.unwrap_or_else(|| chance(r, 50));
                let addr = r.random_range(0..VRAM) & !15 | if vram { VRAM } else { 0 };
                let req = Req {
                    op: r.random_range(0..3),
                    addr,
                    strb: r.random_range(0..0x1_0000),
                    data: r.random(),
                    tag: r.random_range(0..256),
                };
                self.offers[i] = Some(req);
                self.passed[i] = 0;
                self.put(client, req);
            }
            valid |= u64::from(self.offers[i].is_some()) << client;
        }
        self.b.set("req_valid_i", valid);
        for t in 0..2 {
            let name = self.targets[t].name;
            let ready = !chance(&mut self.rng, self.stall);
            self.b.set(&format!("{name}_req_ready_i"), ready.into());
            let go = self.targets[t].answering || !chance(&mut self.rng, self.stall);
            let answer = self.targets[t].answers.front().copied().filter(|_| go);
            self.targets[t].answering = answer.is_some();
            self.b
                .set(&format!("{name}_rsp_valid_i"), answer.is_some().into());
            if let Some((client, tag, data)) = answer {
                let port = format!("{name}_rsp_i");
                set128(&mut self.b, &port, 0, data);
                self.b.set_bits(&port, 128, 1, 0);
                self.b.set_bits(&port, 129, 8, tag);
                self.b.set(&format!("{name}_rsp_client_i"), client);
            }
        }
        // Room comes at any time; it goes with a swap that is accepted.
        self.room |= chance(&mut self.rng, 20);
        self.b.set("vram_swap_room_i", self.room.into());
        self.b.eval();
        if self.compact {
            self.sample_compact();
        } else {
            self.sample();
        }
        self.b.clock();
    }

    /// Counts what passes the others that wait for the same target.
    fn pass(&mut self, t: usize, client: u64) {
        self.accepted += 1;
        for other in 0..CLIENTS as usize {
            let waits = self.offers[other].is_some_and(|o| (o.addr & VRAM != 0) == (t == 0));
            if waits && other as u64 != client {
                let aside = t == 0 && self.offers[other].is_some_and(|o| o.op == CAS);
                self.beside += u64::from(aside && !self.room);
                // A swap waits for the turns of other swaps, each of which waits for its turn, while there is room.
                self.passed[other] += u32::from(!aside || self.room);
                let most = if aside { CLIENTS * CLIENTS } else { CLIENTS };
                assert!(
                    self.passed[other] <= most,
                    "{}: client {other} starves",
                    self.who
                );
            }
        }
    }

    /// The form for an FPGA: requests leave in the order in which they were accepted.
    fn sample_compact(&mut self) {
        let mut filled = false;
        for t in 0..2 {
            let name = self.targets[t].name;
            let shown = self.b.get(&format!("{name}_req_valid_o")) == 1;
            assert_eq!(
                shown,
                !self.on_way[t].is_empty(),
                "{}: {name}: requests on their way",
                self.who
            );
            if !shown {
                continue;
            }
            let client = self.b.get(&format!("{name}_req_client_o"));
            let req = self.take(&format!("{name}_req_o"));
            assert_eq!(
                self.on_way[t].front(),
                Some(&(client, req)),
                "{}: {name}",
                self.who
            );
            if self.b.get(&format!("{name}_req_ready_i")) == 0 {
                continue;
            }
            self.on_way[t].pop_front();
            let swap = t == 0 && req.op == CAS;
            assert!(self.room || !swap, "{}: a swap without room", self.who);
            filled |= swap && chance(&mut self.rng, self.swaps);
            if req.op != 1 {
                self.targets[t]
                    .answers
                    .push_back((client, req.tag, !req.data));
            }
        }
        let taken = self.b.get("req_ready_o") & self.b.get("req_valid_i");
        let mut each = [0, 0];
        for client in (0..u64::from(CLIENTS)).filter(|c| taken >> c & 1 == 1) {
            let req = self.offers[client as usize].expect("it wants");
            let t = usize::from(req.addr & VRAM == 0);
            each[t] += 1;
            let swaps = self.on_way[0].iter().filter(|(_, r)| r.op == CAS).count();
            assert!(
                t == 1 || req.op != CAS || swaps == 0 && self.room,
                "{}: a swap too many",
                self.who
            );
            self.on_way[t].push_back((client, req));
            self.pass(t, client);
            self.offers[client as usize] = None;
        }
        assert!(each[0] < 2 && each[1] < 2, "{}: {each:?} at once", self.who);
        self.room &= !filled;

        let told = self.b.get("rsp_valid_o");
        let due = self.due.take();
        assert_eq!(
            told,
            due.map_or(0, |(c, _, _)| 1 << c),
            "{}: told",
            self.who
        );
        if let Some((client, tag, data)) = due {
            self.check_answer(client, tag, data);
        }
        let answering = |t: &Target| t.answers.front().copied().filter(|_| t.answering);
        let (vram, link) = (answering(&self.targets[0]), answering(&self.targets[1]));
        assert_eq!(
            self.b.get("vram_rsp_ready_o") == 1,
            link.is_none(),
            "{}: ready towards VRAM",
            self.who
        );
        self.clashes += u64::from(vram.is_some() && link.is_some());
        self.due = link.or(vram);
        if self.due.is_some() {
            let t = &mut self.targets[usize::from(link.is_some())];
            t.answers.pop_front();
            t.answering = false;
        }
    }

    fn check_answer(&mut self, client: u64, tag: u64, data: u128) {
        let at = client as u32 * RSP;
        assert_eq!(
            get128(&mut self.b, "rsp_o", at),
            data,
            "{}: data for client {client}",
            self.who
        );
        assert_eq!(
            self.b.get_bits("rsp_o", at + 128, 9),
            tag << 1,
            "{}: tag for client {client}",
            self.who
        );
        self.answered += 1;
    }

    fn sample(&mut self) {
        let ready = self.b.get("req_ready_o");
        let (mut taken, mut filled) = (0, false);
        for t in 0..2 {
            let name = self.targets[t].name;
            if self.b.get(&format!("{name}_req_valid_o")) == 0 {
                assert!(
                    self.targets[t].held.is_none(),
                    "{}: {name}: withdrawn",
                    self.who
                );
                let room = self.room;
                let wanted =
                    self.offers.iter().flatten().any(|o| {
                        (o.addr & VRAM != 0) == (t == 0) && (t == 1 || room || o.op != CAS)
                    });
                assert!(!wanted, "{}: {name} stands idle", self.who);
                continue;
            }
            let client = self.b.get(&format!("{name}_req_client_o"));
            let req = self.take(&format!("{name}_req_o"));
            assert_eq!(
                Some(req),
                self.offers[client as usize],
                "{}: {name}: client {client}",
                self.who
            );
            assert_eq!(
                req.addr & VRAM != 0,
                t == 0,
                "{}: {name} got {:x}",
                self.who,
                req.addr
            );
            if let Some(held) = self.targets[t].held.take() {
                assert_eq!(
                    held,
                    (client, req),
                    "{}: {name}: the choice changed",
                    self.who
                );
            }
            if self.b.get(&format!("{name}_req_ready_i")) == 0 {
                self.targets[t].held = Some((client, req));
                continue;
            }
            let swap = t == 0 && req.op == CAS;
            assert!(self.room || !swap, "{}: a swap without room", self.who);
            filled |= swap && chance(&mut self.rng, self.swaps);
            taken |= 1 << client;
            self.pass(t, client);
            if req.op != 1 {
                self.targets[t]
                    .answers
                    .push_back((client, req.tag, !req.data));
            }
        }
        assert_eq!(
            ready & self.b.get("req_valid_i"),
            taken,
            "{}: who was told of acceptance",
            self.who
        );
        for client in 0..CLIENTS as usize {
            if taken >> client & 1 == 1 {
                self.offers[client] = None;
            }
        }
        self.room &= !filled;
        self.sample_answers();
    }

    fn sample_answers(&mut self) {
        let mut told = self.b.get("rsp_valid_o");
        // The link's answer always passes; VRAM's waits when both are for one client.
        let answer = |t: &Target| t.answers.front().copied().filter(|_| t.answering);
        let (vram, link) = (answer(&self.targets[0]), answer(&self.targets[1]));
        let clash = vram.zip(link).is_some_and(|(v, l)| v.0 == l.0);
        assert_eq!(
            self.b.get("vram_rsp_ready_o") == 1,
            !clash,
            "{}: ready towards VRAM",
            self.who
        );
        self.clashes += u64::from(clash);
        for (t, answer) in [(1, link), (0, vram.filter(|_| !clash))] {
            let Some((client, tag, data)) = answer else {
                continue;
            };
            assert_eq!(
                told >> client & 1,
                1,
                "{}: answer to client {client}",
                self.who
            );
            told &= !(1 << client);
            self.check_answer(client, tag, data);
            self.targets[t].answers.pop_front();
            self.targets[t].answering = false;
        }
        assert_eq!(told, 0, "{}: answers to nobody", self.who);
    }
}

#[test]
fn requests_and_answers_find_their_way() {
    let (mut accepted, mut clashes, mut beside) = (0, 0, 0);
    for seed in 0..60 {
        let mut t = Bench::new(seed / 2, seed % 2 == 1);
        let seed = seed / 2;
        for _ in 0..2000 {
            t.step([5, 40, 100][seed as usize / 3 % 3]);
        }
        let mut left = 20_000;
        while t.offers.iter().any(Option::is_some)
            || t.targets.iter().any(|x| !x.answers.is_empty())
        {
            t.step(0);
            left -= 1;
            assert!(left > 0, "seed {seed}: it does not come to an end");
        }
        accepted += t.accepted;
        clashes += t.clashes;
        beside += t.beside;
    }
    assert!(
        accepted > 40_000 && clashes > 200 && beside > 1000,
        "{accepted} requests, {clashes} clashes, {beside} beside a swap that waits"
    );
}

/// With all clients wanting, each target takes one a cycle; the form for an FPGA from its second turns on.
#[test]
fn both_targets_are_kept_busy() {
    for compact in [false, true] {
        let mut t = Bench::new(0, compact);
        t.fixed = true;
        for _ in 0..100 {
            t.step(100);
        }
        assert!(
            t.accepted >= if compact { 180 } else { 200 },
            "{}",
            t.accepted
        );
    }
}
