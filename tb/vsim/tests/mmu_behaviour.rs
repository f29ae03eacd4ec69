//! One small test for each thing the address translation promises.

#[path = "common/bench.rs"]
mod bench;
#[path = "common/memport.rs"]
mod memport;
#[path = "common/tables.rs"]
mod tables;
#[path = "common/xlat.rs"]
mod xlat;

use bench::{Bench, Cmd, ask};
use hmmu_regs::{CtxMode, FaultReason, Pte};
use memport::Timing;
use tables::leaf_pte;
use xlat::{Access, Size, VPN_MAX};

/// The page of most tests.
const VPN: u64 = 0x0_1234_5678;
const VRAM: u64 = 1 << 43;
const LIMIT: u64 = 500;

fn bench(latency: u64) -> Bench {
    let mut bench = Bench::new(Timing::fixed(latency), 1);
    bench.context(1);
    bench
}

fn pte(bench: &mut Bench, vpn: u64, level: u32) -> Pte {
    let at = bench.tables.entry(&mut bench.mem, 1, vpn, level);
    Pte([bench.mem.read(at)])
}

fn invalidate(lo: u64, hi: u64) -> Cmd {
    Cmd::Invalidate { ctx: 1, lo, hi }
}

/// The access faults with this reason, once, and its page is told.
fn faults_with(bench: &mut Bench, access: Access, reason: FaultReason) {
    let before = bench.counts["faults"];
    assert_eq!(
        bench.try_access(0, ask(1, VPN, access), 200),
        None,
        "{access:?} must wait"
    );
    let record = bench.next_record(LIMIT);
    assert_eq!(record.reason(), reason as u64);
    assert_eq!(record.access(), access as u64);
    assert_eq!((record.ctx(), record.client()), (1, 0));
    assert_eq!(record.addr(), VPN << 12);
    assert_eq!(record.version(), 1);
    assert_eq!(bench.counts["faults"], before + 1);
}

#[test]
fn a_cold_walk_of_a_small_page_reads_four_entries() {
    let mut bench = bench(5);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "ra"));
    assert_eq!(bench.access(0, ask(1, VPN, Access::Read), LIMIT), Ok(0x77));
    assert_eq!(bench.counts["walk_reads"], 4);
    assert_eq!(bench.counts["walks"], 1);
    assert_eq!(bench.counts["ad_updates"], 0);
    // The second client is served by the L2.
    assert_eq!(bench.access(1, ask(1, VPN, Access::Read), LIMIT), Ok(0x77));
    assert_eq!((bench.counts["walks"], bench.counts["l2_hits"]), (1, 1));
}

#[test]
fn a_large_page_takes_three_reads_and_serves_its_neighbours() {
    let mut bench = bench(5);
    bench.map(1, VPN, Size::Large, leaf_pte(VRAM | 0x400, "rwad"));
    assert_eq!(
        bench.access(0, ask(1, VPN, Access::Read), LIMIT),
        Ok(VRAM | 0x400 | VPN & 511)
    );
    assert_eq!(bench.counts["walk_reads"], 3);
    let last = VPN | 511;
    assert_eq!(
        bench.access(0, ask(1, last, Access::Write), LIMIT),
        Ok(VRAM | 0x5ff)
    );
    assert_eq!(
        bench.access(2, ask(1, VPN & !511, Access::Atomic), LIMIT),
        Ok(VRAM | 0x400)
    );
    assert_eq!(bench.counts["walks"], 1);
}

#[test]
fn a_huge_page_takes_two_reads_and_serves_its_neighbours() {
    let mut bench = bench(5);
    let mask = Size::Huge.mask();
    bench.map(1, VPN, Size::Huge, leaf_pte(VRAM | 3 << 18, "rwad"));
    for (client, vpn) in [(0, VPN), (1, VPN & !mask), (2, VPN | mask)] {
        assert_eq!(
            bench.access(client, ask(1, vpn, Access::Read), LIMIT),
            Ok(VRAM | 3 << 18 | vpn & mask)
        );
    }
    assert_eq!((bench.counts["walk_reads"], bench.counts["walks"]), (2, 1));
}

#[test]
fn a_64_kib_page_serves_its_neighbours_and_is_marked_where_it_was_read() {
    let mut bench = bench(5);
    let first = VPN & !15;
    bench.map(1, VPN, Size::Napot, leaf_pte(VRAM | 0x450, "rw"));
    for (client, vpn) in [(0, first | 5), (1, first), (2, first | 15)] {
        assert_eq!(
            bench.access(client, ask(1, vpn, Access::Read), LIMIT),
            Ok(VRAM | 0x450 | vpn & 15)
        );
    }
    assert_eq!((bench.counts["walk_reads"], bench.counts["walks"]), (4, 1));
    assert_eq!(
        bench.access(2, ask(1, first | 9, Access::Write), LIMIT),
        Ok(VRAM | 0x459)
    );
    assert_eq!(
        bench.access(0, ask(1, first | 2, Access::Write), LIMIT),
        Ok(VRAM | 0x452)
    );
    let marks: Vec<(u64, u64)> = (0..16)
        .map(|i| pte(&mut bench, first | i, 0))
        .map(|pte| (pte.a(), pte.d()))
        .collect();
    for (i, &found) in marks.iter().enumerate() {
        let expected = match i {
            5 => (1, 0),
            9 => (1, 1),
            _ => (0, 0),
        };
        assert_eq!(found, expected, "entry {i}");
    }
    // Beside it nothing is mapped.
    assert_eq!(
        bench.try_access(0, ask(1, first + 16, Access::Read), 100),
        None
    );
}

#[test]
fn the_upper_half_is_translated_too() {
    let mut bench = bench(1);
    bench.map(1, VPN_MAX, Size::Small, leaf_pte(0x99, "rxa"));
    assert_eq!(
        bench.access(1, ask(1, VPN_MAX, Access::Execute), LIMIT),
        Ok(0x99)
    );
    assert_eq!(
        bench.try_access(1, ask(1, VPN_MAX - 1, Access::Execute), 100),
        None
    );
    assert_eq!(
        bench.next_record(LIMIT).addr(),
        (VPN_MAX - 1) << 12 | 0xffff << 48
    );
}

#[test]
fn a_read_sets_a_and_never_d() {
    let mut bench = bench(3);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "rw"));
    assert_eq!(bench.access(0, ask(1, VPN, Access::Read), LIMIT), Ok(0x77));
    let found = pte(&mut bench, VPN, 0);
    assert_eq!((found.a(), found.d()), (1, 0));
    assert_eq!(
        (bench.counts["ad_updates"], bench.counts["d_updates"]),
        (1, 0)
    );
}

#[test]
fn a_store_through_a_clean_entry_sets_d_first() {
    let mut bench = bench(3);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "rwa"));
    assert_eq!(bench.access(0, ask(1, VPN, Access::Read), LIMIT), Ok(0x77));
    // The read's entry is in the L1 and the L2; the store must go past both.
    assert_eq!(bench.access(0, ask(1, VPN, Access::Write), LIMIT), Ok(0x77));
    assert_eq!(pte(&mut bench, VPN, 0).d(), 1);
    assert_eq!((bench.counts["walks"], bench.counts["d_updates"]), (2, 1));
    // Now the L2 allows stores to others.
    assert_eq!(bench.access(2, ask(1, VPN, Access::Write), LIMIT), Ok(0x77));
    assert_eq!(bench.counts["walks"], 2);
}

#[test]
fn a_store_sets_a_and_d_of_a_large_page_in_one_update() {
    let mut bench = bench(3);
    bench.map(1, VPN, Size::Large, leaf_pte(0x200, "rw"));
    assert_eq!(
        bench.access(0, ask(1, VPN, Access::Write), LIMIT),
        Ok(0x200 | VPN & 511)
    );
    let found = pte(&mut bench, VPN, 1);
    assert_eq!((found.a(), found.d()), (1, 1));
    assert_eq!(
        (bench.counts["ad_updates"], bench.counts["d_updates"]),
        (1, 1)
    );
}

#[test]
fn a_lost_update_walks_again_and_keeps_what_the_host_wrote() {
    let mut bench = bench(20);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "rw"));
    let at = bench.tables.entry(&mut bench.mem, 1, VPN, 0);
    bench.lookup(0, ask(1, VPN, Access::Read));
    while bench.port.accepted < 5 {
        bench.step();
    }
    // The swap is under way; another agent changes the entry before it acts.
    let theirs = leaf_pte(0x78, "rw").0[0];
    bench.mem.write(at, theirs);
    bench.idle(200);
    assert_eq!(bench.counts["walk_restarts"], 1);
    assert_eq!(bench.access(0, ask(1, VPN, Access::Read), LIMIT), Ok(0x78));
    assert_eq!(pte(&mut bench, VPN, 0).0[0], theirs | 1 << 6);
}

#[test]
fn a_store_to_a_read_only_page_is_a_protection_fault() {
    let mut bench = bench(3);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "ra"));
    faults_with(&mut bench, Access::Write, FaultReason::Protection);
    let found = pte(&mut bench, VPN, 0);
    assert_eq!(found.d(), 0, "a faulted store never sets D");
}

#[test]
fn a_page_that_is_not_for_users_is_a_protection_fault() {
    let mut bench = bench(3);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "rwad").with_u(0));
    faults_with(&mut bench, Access::Read, FaultReason::Protection);
}

#[test]
fn code_needs_x_and_data_needs_r() {
    let mut bench = bench(3);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "rwad"));
    faults_with(&mut bench, Access::Execute, FaultReason::Protection);
    bench.run_command(Cmd::Cancel {
        ask: ask(1, VPN, Access::Execute),
        code: 20,
    });
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "xad"));
    faults_with(&mut bench, Access::Read, FaultReason::Protection);
}

#[test]
fn a_revoked_entry_is_not_present_and_is_left_alone() {
    for bit in 54..=62 {
        let mut bench = bench(3);
        let revoked = Pte([leaf_pte(0x77, "rw").0[0] | 1 << bit]);
        bench.map(1, VPN, Size::Small, revoked);
        faults_with(&mut bench, Access::Write, FaultReason::NotPresent);
        assert_eq!(pte(&mut bench, VPN, 0), revoked, "bit {bit}");
    }
}

#[test]
fn tables_that_are_not_sv48_are_not_present() {
    let pointer = Pte([0]).with_v(1).with_ppn(5);
    for (level, entry) in [
        // A leaf at the root, leaves that are not aligned, a pointer in a leaf's place.
        (3, leaf_pte(0, "ra")),
        (2, leaf_pte(0x200, "ra")),
        (1, leaf_pte(0x201, "ra")),
        (0, pointer),
        // What is reserved: W without R, A, D or U in a pointer.
        (0, leaf_pte(0x77, "wa")),
        (0, leaf_pte(0x77, "wxa")),
        (2, pointer.with_a(1)),
        (2, pointer.with_d(1)),
        (2, pointer.with_u(1)),
        // N where Svnapot has no size: in a pointer, in larger leaves, with other low bits.
        (1, pointer.with_n(1)),
        (1, leaf_pte(0x400, "ra").with_n(1)),
        (2, leaf_pte(1 << 18, "ra").with_n(1)),
        (0, leaf_pte(0x40, "ra").with_n(1)),
        (0, leaf_pte(0x44, "ra").with_n(1)),
        (0, leaf_pte(0x49, "ra").with_n(1)),
    ] {
        let mut bench = bench(3);
        let at = bench.tables.entry(&mut bench.mem, 1, VPN, level);
        bench.mem.write(at, entry.0[0]);
        faults_with(&mut bench, Access::Read, FaultReason::NotPresent);
    }
}

#[test]
fn atomics_on_system_memory_need_the_entrys_leave() {
    let mut bench = bench(3);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "rwad"));
    faults_with(&mut bench, Access::Atomic, FaultReason::Atomic);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "rwadt"));
    bench.run_command(Cmd::Replay {
        ctx: 1,
        lo: VPN,
        hi: VPN,
    });
    assert_eq!(
        bench.access(0, ask(1, VPN, Access::Atomic), LIMIT),
        Ok(0x77)
    );
    bench.map(1, VPN + 1, Size::Small, leaf_pte(VRAM | 0x78, "rwad"));
    assert_eq!(
        bench.access(0, ask(1, VPN + 1, Access::Atomic), LIMIT),
        Ok(VRAM | 0x78)
    );
}

#[test]
fn a_table_that_cannot_be_read_is_an_access_error() {
    let mut bench = bench(3);
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "ra"));
    let at = bench.tables.entry(&mut bench.mem, 1, VPN, 1);
    bench.mem.broken.push(at);
    faults_with(&mut bench, Access::Read, FaultReason::AccessError);
    bench.mem.broken.clear();
    bench.run_command(Cmd::Replay {
        ctx: 1,
        lo: 0,
        hi: VPN_MAX,
    });
    assert_eq!(bench.access(0, ask(1, VPN, Access::Read), LIMIT), Ok(0x77));
}

#[test]
fn bypass_uses_no_tables() {
    let mut bench = bench(3);
    bench.run_command(Cmd::CtxSet {
        ctx: 3,
        mode: CtxMode::Bypass,
        root: 0,
    });
    assert_eq!(
        bench.access(0, ask(3, 0x12345, Access::Write), LIMIT),
        Ok(0x12345)
    );
    let vram = 1 << 35 | 0x777;
    assert_eq!(
        bench.access(0, ask(3, vram, Access::Atomic), LIMIT),
        Ok(VRAM | 0x777)
    );
    assert_eq!((bench.port.accepted, bench.counts["walks"]), (0, 0));
}

#[test]
fn contexts_with_the_same_addresses_do_not_mix() {
    let mut bench = bench(3);
    bench.context(2);
    bench.map(1, VPN, Size::Small, leaf_pte(0x11, "ra"));
    bench.map(2, VPN, Size::Small, leaf_pte(0x22, "ra"));
    for (ctx, ppn) in [(1, 0x11), (2, 0x22), (1, 0x11), (2, 0x22)] {
        assert_eq!(bench.access(0, ask(ctx, VPN, Access::Read), LIMIT), Ok(ppn));
    }
    // The invalidation of one leaves the other.
    bench.run_command(invalidate(VPN, VPN));
    let walks = bench.counts["walks"];
    assert_eq!(bench.access(0, ask(2, VPN, Access::Read), 3), Ok(0x22));
    assert_eq!(bench.counts["walks"], walks);
    assert_eq!(bench.access(0, ask(1, VPN, Access::Read), LIMIT), Ok(0x11));
    assert_eq!(bench.counts["walks"], walks + 1);
}

#[test]
fn an_invalidation_inside_a_larger_page_drops_the_whole_entry() {
    for size in [Size::Napot, Size::Large, Size::Huge] {
        let mut bench = bench(3);
        let (old, new, mask) = (4 << 18, 6 << 18, size.mask());
        bench.map(1, VPN, size, leaf_pte(old, "rwad"));
        for client in 0..3 {
            let page = bench.access(client, ask(1, VPN, Access::Read), LIMIT);
            assert_eq!(page, Ok(old | VPN & mask), "{size:?}");
        }
        bench.map(1, VPN, size, leaf_pte(new, "rwad"));
        // The last page of it, not the one that was looked up.
        bench.run_command(invalidate(VPN | mask, VPN | mask));
        for client in 0..3 {
            let page = bench.access(client, ask(1, VPN, Access::Read), LIMIT);
            assert_eq!(page, Ok(new | VPN & mask), "{size:?}");
        }
    }
}
