//! TLPs that no root complex should send, and what a device must make of each: a second opinion on docs/tlp-ports.md.

use rand::Rng;

use super::bench::{Bench, Config};
use super::stream::{Beat, beats};
use super::tlp::{
    CA, CAS, CFG0, CFG1, CPL, FETCH_ADD, IO, MEM, MEM_LOCKED, SWAP, Tlp, UR, enables,
};
use super::{TestRng, chance};

/// Kinds of hostile traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Headers of random bits, with payload that fits them or does not.
    Noise,
    /// A request or completion as it should be, but for a few bits of its header.
    Flipped,
    /// Beats that do not make a TLP: cut short, too long, begun twice, without a start.
    Framing,
    /// Lengths, byte enables and addresses that break a rule.
    Malformed,
    /// What the device does not serve: types, windows, widths, poison.
    Unsupported,
    /// Completions that fit no request.
    Stray,
    /// Completions under the tag of a request that waits, with a mistake in them.
    Mistaken,
}

/// All kinds.
pub const KINDS: [Kind; 7] = [
    Kind::Noise,
    Kind::Flipped,
    Kind::Framing,
    Kind::Malformed,
    Kind::Unsupported,
    Kind::Stray,
    Kind::Mistaken,
];

/// Sends hostile TLPs.
#[derive(Default)]
pub struct Hostile {
    /// TLPs sent, by kind.
    pub sent: [u64; KINDS.len()],
}

/// The beats that a header asks for.
fn beats_of(header: u128) -> usize {
    let tlp = Tlp {
        header,
        data: Vec::new(),
    };
    if tlp.has_data() {
        tlp.dws().div_ceil(4)
    } else {
        1
    }
}

/// Is a header one that the device takes, of whatever request or completion?
fn well_formed(cfg: &Config, tlp: &Tlp) -> bool {
    let (kind, dws, four) = (tlp.kind(), tlp.dws(), tlp.fmt() & 1 == 1);
    if tlp.fmt() & 4 != 0 || (tlp.has_data() && dws > 32 << cfg.mps) {
        return false;
    }
    match kind {
        MEM | MEM_LOCKED => {
            let edge = tlp.addr() % 4096 / 4 + dws as u64 <= 1024;
            let enables = if dws == 1 {
                tlp.last_be() == 0
            } else {
                tlp.first_be() != 0 && tlp.last_be() != 0
            };
            edge && enables && (kind == MEM || !tlp.has_data())
        }
        IO | CFG0 | CFG1 => !four && dws == 1,
        FETCH_ADD | SWAP | CAS => tlp.has_data(),
        CPL => !four,
        _ => kind >> 3 == 0b10 && four,
    }
}

/// The TLPs of some beats that are whole and well formed, and the number of those that are not. The stream is between
/// two TLPs before them, and another TLP follows.
fn judge(cfg: &Config, all: &[Beat]) -> (Vec<Tlp>, u64) {
    let (mut whole, mut dropped) = (Vec::new(), 0);
    let mut open: Option<(Tlp, usize)> = None;
    let mut skipping = false;
    for beat in all {
        if beat.sop {
            dropped += u64::from(open.take().is_some());
            let tlp = Tlp {
                header: beat.header,
                data: Vec::new(),
            };
            let count = beats_of(beat.header);
            let good = well_formed(cfg, &tlp) && beat.eop == (count == 1);
            dropped += u64::from(!good);
            skipping = !good && !beat.eop;
            open = good.then_some((tlp, count));
        } else if let Some((_, left)) = &open {
            if beat.eop != (*left == 1) {
                (open, dropped, skipping) = (None, dropped + 1, !beat.eop);
            }
        } else {
            dropped += u64::from(!skipping);
            skipping = !beat.eop;
        }
        if let Some((tlp, left)) = &mut open {
            tlp.data.extend(beat.data.to_le_bytes());
            *left -= 1;
            if *left == 0
                && let Some((mut tlp, _)) = open.take()
            {
                let bytes = if tlp.has_data() { tlp.dws() * 4 } else { 0 };
                tlp.data.truncate(bytes);
                whole.push(tlp);
            }
        }
    }
    (whole, dropped + u64::from(open.is_some()))
}

/// Does the device surely drop this completion? `None`: it may be an answer.
fn is_stray(t: &Bench, tlp: &Tlp) -> Option<()> {
    let (tag, count) = (tlp.cpl_tag(), tlp.dw(1) as usize & 0xfff);
    let high = tlp.dw(0) & 0x0088_0000 != 0;
    if tlp.cpl_requester() != t.cfg.bdf || tag >= t.cfg.tags || high || t.is_quiet() {
        return Some(());
    }
    if tlp.status() != 0 {
        return None;
    }
    let Some((_, at, left, cas)) = t.host.pending().find(|p| p.0 == tag) else {
        // Perhaps a request that the link has not seen yet. None asks for more than 512 bytes.
        return (!tlp.has_data() || count == 0 || count > 512).then_some(());
    };
    let lower = if cas { 0 } else { at & 0x7f };
    let need = enables(lower, left).3;
    let rcb = if t.cfg.rcb { 128 } else { 64 };
    let end = (lower & !3) + tlp.dws() as u64 * 4;
    let length = tlp.dws() == need || (!cas && tlp.dws() < need && end.is_multiple_of(rcb));
    let fits = tlp.has_data() && length && count == left && tlp.lower() == lower;
    (!fits).then_some(())
}

/// May this first beat end a request with an error? It does so even if the rest of the completion is broken.
fn refuses(t: &Bench, beat: &Beat) -> bool {
    let tlp = Tlp {
        header: beat.header,
        data: Vec::new(),
    };
    tlp.kind() == CPL && tlp.status() != 0 && is_stray(t, &tlp).is_none()
}

impl Hostile {
    /// Sends something when the receive stream is free, and notes what the device must do about it.
    pub fn send(&mut self, t: &mut Bench) {
        let mut rng = t.rng.clone();
        let place = rng.random_range(0..KINDS.len());
        let made = make(t, KINDS[place], &mut rng);
        t.rng = rng;
        let Some(all) = made.filter(|all| all[0].sop || !t.rx.is_open()) else {
            return;
        };
        if all.iter().any(|beat| beat.sop && refuses(t, beat)) {
            return;
        }
        let (whole, dropped) = judge(&t.cfg, &all);
        let replies = whole.iter().filter(|tlp| tlp.is_completion());
        let mut stray = 0;
        for tlp in replies {
            match is_stray(t, tlp) {
                Some(()) => stray += 1,
                None => return,
            }
        }
        t.hostile_drops += dropped + stray;
        let cfg = t.cfg.clone();
        for tlp in whole {
            let message = tlp.kind() >> 3 == 0b10;
            if !message && !tlp.is_completion() {
                // The two lowest bits of an address are no address.
                let low = 2 + (tlp.fmt() & 1);
                t.mmio.issue(&cfg, tlp.poke(low, 0, 2, 0));
            }
        }
        self.sent[place] += all.iter().filter(|beat| beat.sop).count().max(1) as u64;
        t.rx.push(all);
    }

    /// TLPs sent.
    pub fn total(&self) -> u64 {
        self.sent.iter().sum()
    }
}

fn make(t: &Bench, kind: Kind, rng: &mut TestRng) -> Option<Vec<Beat>> {
    let cfg = &t.cfg;
    Some(match kind {
        Kind::Noise => noise(cfg, rng),
        Kind::Flipped => {
            let mut tlp = if chance(rng, 30) {
                reply(t, rng)?
            } else {
                request(cfg, rng)
            };
            for _ in 0..rng.random_range(1..4) {
                tlp.header ^= 1u128 << rng.random_range(0..128);
            }
            if chance(rng, 50) {
                fit(&mut tlp, rng);
            }
            beats(&tlp)
        }
        Kind::Framing => {
            let tlp = if chance(rng, 40) {
                reply(t, rng)?
            } else {
                request(cfg, rng)
            };
            misframed(&tlp, rng)
        }
        Kind::Malformed => beats(&malformed(cfg, rng)),
        Kind::Unsupported => beats(&unsupported(cfg, rng)),
        Kind::Stray => beats(&stray(cfg, rng)),
        Kind::Mistaken => beats(&mistaken(t, rng)?),
    })
}

fn payload(rng: &mut TestRng, dws: usize) -> Vec<u8> {
    (0..dws * 4).map(|_| rng.random()).collect()
}

/// Gives a TLP the payload that its header tells of.
fn fit(tlp: &mut Tlp, rng: &mut TestRng) {
    let dws = if tlp.has_data() { tlp.dws() } else { 0 };
    tlp.data.resize_with(dws * 4, || rng.random());
}

fn noise(cfg: &Config, rng: &mut TestRng) -> Vec<Beat> {
    let mut tlp = Tlp {
        header: rng.random(),
        data: Vec::new(),
    };
    if chance(rng, 70) {
        let kinds = [
            MEM, MEM_LOCKED, IO, CFG0, CFG1, CPL, FETCH_ADD, SWAP, CAS, 0b10000, 0b10100, 0b01011,
            0b11011,
        ];
        let kind = kinds[rng.random_range(0..kinds.len())];
        tlp = tlp
            .poke(0, 24, 5, kind)
            .poke(0, 29, 3, rng.random_range(0..4));
    }
    if chance(rng, 80) {
        tlp = tlp.poke(0, 0, 10, rng.random_range(1..24));
    }
    if chance(rng, 50) {
        // An address of the device.
        let base = if chance(rng, 50) { cfg.bar0 } else { cfg.bar2 };
        let offset = rng.random_range(0..0x2_0000u64) & !3;
        let addr = base + offset;
        tlp = if tlp.fmt() & 1 == 1 {
            tlp.poke(2, 0, 32, (addr >> 32) as u32)
                .poke(3, 0, 32, addr as u32)
        } else {
            tlp.poke(2, 0, 32, addr as u32)
        };
    }
    fit(&mut tlp, rng);
    let mut all = beats(&tlp);
    if chance(rng, 20) {
        let last = all.len() - 1;
        all[last].eop = chance(rng, 50);
    }
    all
}

/// A request as it should be, of anybody.
fn request(cfg: &Config, rng: &mut TestRng) -> Tlp {
    let requester = rng.random_range(0..0x1_0000);
    let tag = rng.random_range(0..256);
    let registers = chance(rng, 40);
    let (base, len) = if registers {
        (cfg.bar0, 4 << rng.random_range(0..2))
    } else {
        (cfg.bar2, rng.random_range(1..=128))
    };
    let room = if registers { 0x1_0000 } else { 0x4000 };
    let mut offset = rng.random_range(0..room) & if registers { !7 } else { !0 };
    if offset % 4096 + len > 4096 {
        offset -= len;
    }
    if chance(rng, 50) {
        Tlp::read(requester, tag, base + offset, len as usize)
    } else {
        let bytes: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        Tlp::write(requester, base + offset, &bytes).poke(1, 8, 8, tag)
    }
}

/// A completion as it should be, for a request that waits. Its data is wrong: it must not get anywhere.
fn reply(t: &Bench, rng: &mut TestRng) -> Option<Tlp> {
    let all: Vec<_> = t.host.pending().collect();
    if all.is_empty() {
        return None;
    }
    let (tag, at, left, cas) = all[rng.random_range(0..all.len())];
    let lower = if cas { 0 } else { at };
    let (_, _, _, dws) = enables(lower, left);
    let most = 32 << t.cfg.mps;
    let data = payload(rng, dws.min(most));
    let cfg = &t.cfg;
    Some(Tlp::completion(
        cfg.rc_id, cfg.bdf, tag, 0, left, lower, data,
    ))
}

fn misframed(tlp: &Tlp, rng: &mut TestRng) -> Vec<Beat> {
    let mut all = beats(tlp);
    let last = all.len() - 1;
    match rng.random_range(0..6) {
        0 if last > 0 => {
            all.truncate(rng.random_range(1..=last));
            let last = all.len() - 1;
            all[last].eop = chance(rng, 50);
        }
        1 => all[last].eop = false,
        2 if last > 0 => {
            all.remove(0);
        }
        3 if last > 0 => {
            let again = rng.random_range(1..=last);
            all[again].sop = true;
            all[again].header = tlp.header;
        }
        4 if last > 0 => {
            let early = rng.random_range(0..last);
            all[early].eop = true;
        }
        _ => {
            all[last].eop = false;
            for _ in 0..rng.random_range(1..5) {
                all.push(Beat {
                    sop: false,
                    eop: false,
                    header: rng.random(),
                    data: rng.random(),
                });
            }
            let last = all.len() - 1;
            all[last].eop = chance(rng, 80);
        }
    }
    all
}

fn malformed(cfg: &Config, rng: &mut TestRng) -> Tlp {
    let tag = rng.random_range(0..256);
    let page = cfg.bar2 + 4096 * rng.random_range(0..4u64);
    let with_data = chance(rng, 50);
    let data = |rng: &mut TestRng, dws| {
        if with_data {
            payload(rng, dws)
        } else {
            Vec::new()
        }
    };
    let most = 32usize << cfg.mps;
    let (fbe, lbe, addr, dws) = match rng.random_range(0..6) {
        0 => (
            rng.random_range(0..16),
            rng.random_range(1..16),
            page + 64,
            1,
        ),
        1 => (0, rng.random_range(0..16), page + 8, rng.random_range(2..9)),
        2 => (rng.random_range(0..16), 0, page + 8, rng.random_range(2..9)),
        // Across 4 KiB, by a little or by a lot.
        3 => {
            let dws = rng.random_range(2..=most.min(40));
            let over = rng.random_range(1..dws as u64);
            (0xf, 0xf, page + 4096 - 4 * (dws as u64 - over), dws)
        }
        // More than Max_Payload_Size.
        4 if most < 1024 => {
            let dws = rng.random_range(most + 1..=(most * 2).min(1024));
            let tlp = Tlp::request(MEM, 8, tag, 0xf, 0xf, page, dws, payload(rng, dws));
            return tlp;
        }
        // Length says another number of DWs.
        _ => {
            let dws = rng.random_range(2..20);
            let tlp = Tlp::request(MEM, 8, tag, 0xf, 0xf, page, dws, payload(rng, dws));
            return tlp.poke(0, 0, 10, rng.random_range(0..40));
        }
    };
    let data = data(rng, dws);
    Tlp::request(MEM, 8, tag, fbe, lbe, addr, dws, data)
}

fn unsupported(cfg: &Config, rng: &mut TestRng) -> Tlp {
    let requester = rng.random_range(0..0x1_0000);
    let tag = rng.random_range(0..256);
    let near = [cfg.bar0, cfg.bar2][rng.random_range(0..2)] + (rng.random_range(0..0x4000u64) & !7);
    let some = |rng: &mut TestRng, dws| {
        if chance(rng, 50) {
            payload(rng, dws)
        } else {
            Vec::new()
        }
    };
    match rng.random_range(0..9) {
        0 => {
            let data = some(rng, 1);
            Tlp::request(IO, requester, tag, 0xf, 0, near & 0xffff_fffc, 1, data)
        }
        1 => {
            let kind = [CFG0, CFG1][rng.random_range(0..2)];
            let data = some(rng, 1);
            let addr = rng.random_range(0..0x1_0000u64) & !3;
            Tlp::request(kind, requester, tag, 0xf, 0, addr, 1, data)
        }
        2 => {
            let kind = [FETCH_ADD, SWAP, CAS][rng.random_range(0..3)];
            let dws = rng.random_range(1..9);
            let data = payload(rng, dws);
            Tlp::request(kind, requester, tag, 0xf, 0xf, near, dws, data)
        }
        3 => Tlp::request(MEM_LOCKED, requester, tag, 0xf, 0, near, 1, Vec::new()),
        // Messages of every routing, with data and without.
        4 => {
            let (route, dws) = (rng.random_range(0..8), rng.random_range(0..9));
            let data = payload(rng, dws);
            let tlp = Tlp::request(0b10000 | route, requester, tag, 0xf, 0, near, dws, data);
            tlp.poke(0, 29, 1, 1)
        }
        // Beside the windows, or far away.
        5 | 6 => {
            let ends = [
                cfg.bar2 + cfg.bar2_size,
                cfg.bar2 - 4096,
                cfg.bar0 + 0x1_0000,
                cfg.bar0 - 4096,
                cfg.bar0 ^ 1 << 40,
                cfg.bar2 ^ 1 << 63,
                0,
            ];
            let addr = ends[rng.random_range(0..ends.len())] + (rng.random_range(0..4000) & !3);
            let dws = rng
                .random_range(1..20)
                .min((4096 - addr as usize % 4096) / 4);
            let (_, lbe, _, _) = enables(addr, dws * 4);
            let data = some(rng, dws);
            Tlp::request(MEM, requester, tag, 0xf, lbe, addr, dws, data)
        }
        // A register by a width that it does not have.
        7 => {
            let dws = rng.random_range(2..9);
            let addr = cfg.bar0 + (rng.random_range(0..4000u64) & !3) + 4;
            let dws = if addr.is_multiple_of(8) { dws + 1 } else { dws };
            let data = some(rng, dws);
            Tlp::request(MEM, requester, tag, 0xf, 0xf, addr, dws, data)
        }
        _ => request(cfg, rng).poke(0, 14, 1, 1),
    }
}

fn stray(cfg: &Config, rng: &mut TestRng) -> Tlp {
    let (mut requester, mut tag) = (cfg.bdf, rng.random_range(0..cfg.tags));
    let status = [0, 0, UR, CA, 2, 7][rng.random_range(0..6)];
    let dws = if status == 0 {
        rng.random_range(0..20)
    } else {
        0
    };
    let mut high = 0;
    match rng.random_range(0..4) {
        0 => requester = rng.random_range(0..0x1_0000),
        1 if cfg.tags < 256 => tag = rng.random_range(cfg.tags..256),
        2 => high = 1 << rng.random_range(0..2),
        // Idle, most of the time.
        _ => {}
    }
    let count = rng.random_range(0..4096);
    let lower = rng.random_range(0..128);
    let data = payload(rng, dws);
    let tlp = Tlp::completion(cfg.rc_id, requester, tag, status, count, lower, data);
    tlp.poke(0, 19, 1, high & 1).poke(0, 23, 1, high >> 1)
}

fn mistaken(t: &Bench, rng: &mut TestRng) -> Option<Tlp> {
    let mut tlp = reply(t, rng)?;
    let count = tlp.byte_count();
    match rng.random_range(0..6) {
        0 => tlp = tlp.poke(1, 0, 12, (count as u32 + rng.random_range(1..300)) & 0xfff),
        1 => tlp = tlp.poke(1, 0, 12, rng.random_range(0..4096)),
        2 => tlp = tlp.poke(2, 0, 7, rng.random_range(0..128)),
        // Another length.
        3 | 4 => {
            let dws = rng.random_range(1..80);
            tlp = tlp.poke(0, 0, 10, dws);
            fit(&mut tlp, rng);
        }
        // Without its data.
        _ => {
            tlp = tlp.poke(0, 30, 1, 0);
            tlp.data.clear();
        }
    }
    if chance(rng, 20) {
        tlp = tlp.poke(0, 14, 1, 1);
    }
    Some(tlp)
}
