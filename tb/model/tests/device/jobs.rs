//! Jobs: launch ABI, slots, results, kill and stop.

use crate::rig::{CODE, Rig};
use hmmu_model::rv64::{csr, enc::*};
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;
const SPIN: [u32; 1] = [jal(0, 0)];

#[test]
pub fn threads_start_as_the_launch_entry_says() {
    let mut rig = Rig::new();
    // Stores a1, a2, sp, the three CSRs and the sum of all other registers to arg + 64 * index.
    let mut program = vec![
        slli(5, 11, 6),
        add(5, 5, 10),
        sd(11, 5, 0),
        sd(12, 5, 8),
        sd(2, 5, 16),
    ];
    program.extend([
        csrr(6, csr::THREAD),
        sd(6, 5, 24),
        csrr(6, csr::THREADS),
        sd(6, 5, 32),
    ]);
    program.extend([csrr(6, csr::PLACE), sd(6, 5, 40), addi(6, 0, 0)]);
    program.extend(
        (1..32)
            .filter(|reg| ![2, 5, 6, 10, 11, 12].contains(reg))
            .map(|reg| or(6, 6, reg)),
    );
    program.extend([sd(6, 5, 48), addi(10, 11, 5), ECALL]);
    rig.load(0, &program);
    let page = rig.map_ram(0, DATA, "rw");
    let (entry, fence) = rig.launch_entry(0, DATA, 20);
    rig.push(
        reg::LAUNCH_BASE,
        entry.with_stack_base(0x1000).with_stack_size(0x100).0,
    );
    let end = rig.completion(fence);
    assert_eq!((end.status(), end.result()), (0, 5), "the smallest result");
    let warps = rig.warps();
    let mut places = Vec::new();
    for thread in 0..20 {
        let word = |k: u64| rig.ram.read64(page + 64 * thread + 8 * k);
        let place = word(5);
        assert!(place < warps);
        places.push(place);
        assert_eq!(
            [word(0), word(1), word(2)],
            [thread, 20, 0x1000 + (place + 1) * 0x100]
        );
        assert_eq!([word(3), word(4), word(6)], [thread, 20, 0]);
    }
    assert_eq!(
        (rig.count(Counter::Jobs), rig.count(Counter::Threads)),
        (1, 20)
    );
}

#[test]
fn results_are_compared_unsigned() {
    let mut rig = Rig::new();
    rig.load(0, &[addi(10, 11, -1), ECALL]);
    let fence = rig.launch(0, 0, 3);
    assert_eq!(rig.completion(fence).result(), 0);
    let fence = rig.launch(0, 0, 1);
    assert_eq!(rig.completion(fence).result(), u64::MAX);
}

#[test]
fn a_job_runs_in_each_slot_and_the_next_waits_for_one() {
    let slots = u64::from(crate::caps()[7]);
    let mut rig = Rig::new();
    // Spins until *a0 is set.
    rig.load(0, &[ld(5, 10, 0), beq(5, 0, -4), ECALL]);
    let page = rig.map_ram(0, DATA, "r");
    let fences: Vec<_> = (0..=slots)
        .map(|job| rig.launch(0, DATA + 8 * job, 1))
        .collect();
    rig.tick(5000);
    assert_eq!(rig.device.read_register(reg::LAUNCH_CONS), slots);
    assert_eq!(rig.device.read_register(reg::STATUS) >> 2 & 1, 0);
    let first = slots / 2;
    rig.ram.write64(page + 8 * first, 1);
    rig.completion(fences[first as usize]);
    rig.tick(1000);
    assert_eq!(rig.device.read_register(reg::LAUNCH_CONS), slots + 1);
    for job in 0..=slots {
        rig.ram.write64(page + 8 * job, 1);
    }
    for fence in fences {
        assert_eq!(rig.completion(fence).status(), 0);
    }
}

#[test]
fn a_job_is_killed_even_when_all_its_warps_are_parked() {
    let mut rig = Rig::new();
    rig.load(0, &[ld(10, 10, 0), ECALL]);
    let threads = rig.warps() + 12;
    let fence = rig.launch(0, DATA, threads);
    rig.fault();
    rig.control(CtrlOp::KillJob, 0, 0, 0, fence.1 + 1000, 0);
    rig.tick(1000);
    assert!(!rig.done(fence), "another job's kill does nothing");
    rig.control(CtrlOp::KillJob, 0, 0, 0, fence.1, 0);
    for state in rig.warp_states() {
        assert_eq!(state, WarpState::Idle as u64);
    }
    assert!(
        rig.done(fence),
        "the completion precedes the fence of the kill"
    );
    assert_eq!(rig.completion(fence).status(), JobStatus::Killed as u64);
    // The warps serve the next job, and the old fault can be replayed without harm.
    rig.map_ram(0, DATA, "r");
    rig.replay(0, DATA);
    let fence = rig.launch(0, DATA, threads);
    assert_eq!(rig.completion(fence).status(), 0);
}

#[test]
fn threads_spread_over_all_units() {
    let mut rig = Rig::new();
    // Each spins until *a0 is set, and tells its place.
    rig.load(
        0,
        &[ld(5, 10, 0), beq(5, 0, -4), csrr(10, csr::PLACE), ECALL],
    );
    let page = rig.map_ram(0, DATA, "r");
    let warps = rig.warps();
    let units = rig.device.read_register(reg::CAPS) & 0xff;
    for each in 1..=warps / units {
        let fence = rig.launch(0, DATA, each * units);
        rig.tick(3000);
        let states = rig.warp_states();
        for unit in states.chunks((warps / units) as usize) {
            let busy = unit.iter().filter(|s| **s != WarpState::Idle as u64);
            assert_eq!(busy.count() as u64, each, "{states:?}");
        }
        rig.ram.write64(page, 1);
        assert_eq!(rig.completion(fence).result(), 0, "the lowest place");
        rig.ram.write64(page, 0);
    }
}

#[test]
fn counters_add_up_over_all_units() {
    let mut rig = Rig::new();
    // Every thread counts down from 20, loading and storing its own word.
    rig.load(
        0,
        &[
            slli(5, 11, 3),
            add(5, 5, 10),
            addi(6, 0, 20),
            ld(7, 5, 0), // each round starts here
            addi(7, 7, 1),
            sd(7, 5, 0),
            addi(6, 6, -1),
            bne(6, 0, -16),
            addi(10, 7, 0),
            ECALL,
        ],
    );
    let page = rig.map_ram(0, DATA, "rw");
    let threads = 3 * rig.warps();
    let names = [
        Counter::Instructions,
        Counter::CuLoads,
        Counter::CuStores,
        Counter::Threads,
    ];
    let before = names.map(|name| rig.count(name));
    let fence = rig.launch(0, DATA, threads);
    assert_eq!(rig.completion(fence).result(), 20);
    let after = names.map(|name| rig.count(name));
    let each = [3 + 20 * 5 + 1, 20, 20, 1];
    for k in 0..4 {
        assert_eq!(after[k] - before[k], each[k] * threads, "{:?}", names[k]);
    }
    for thread in 0..threads {
        assert_eq!(rig.ram.read64(page + 8 * thread), 20);
    }
}

#[test]
fn a_kill_takes_its_job_and_leaves_the_others() {
    let mut rig = Rig::new();
    rig.load(0, &[bne(10, 0, 8), jal(0, 0), ECALL]);
    let endless = rig.launch(0, 0, 3);
    let short = rig.launch(0, 1, 100);
    assert_eq!(rig.completion(short).status(), 0);
    rig.control(CtrlOp::KillJob, 0, 0, 0, endless.1, 0);
    assert_eq!(rig.completion(endless).status(), JobStatus::Killed as u64);
}

#[test]
fn stop_ends_a_context_at_any_moment() {
    for offset in (0..200).step_by(crate::STEP) {
        let mut rig = Rig::new();
        // Loads one page after the other, faults included.
        let program = [
            addi(7, 0, 1),
            slli(7, 7, 12),
            ld(5, 10, 0),
            sd(5, 10, 0),
            add(10, 10, 7),
            jal(0, -12),
        ];
        rig.load(0, &program);
        rig.load(1, &SPIN);
        rig.map_ram(0, DATA, "rw");
        let fence = rig.launch(0, DATA, 3);
        let other = rig.launch(1, DATA, 1);
        rig.tick(offset * 7);
        rig.control(CtrlOp::Stop, 0, 0, 0, 0, 0);
        let end = rig.completion(fence);
        // Taken from the ring after the stop, it meets a context that is off.
        let after =
            end.status() == JobStatus::BadAddress as u64 && end.info() == CODE & 0xffff_ffff_ffff;
        assert!(
            end.status() == JobStatus::Stopped as u64 || after,
            "offset {offset}: {end:?}"
        );
        let (faults, walks) = (rig.count(Counter::Faults), rig.count(Counter::Walks));
        rig.tick(3000);
        assert_eq!(rig.count(Counter::Faults), faults, "offset {offset}");
        assert!(
            rig.count(Counter::Walks) <= walks + 1,
            "offset {offset}: only the other context's"
        );
        assert!(!rig.done(other));
        // The context can be set up again.
        let root = rig.roots[0].0;
        rig.control(CtrlOp::CtxSet, 0, 0, 0, root, CtxMode::Translate as u64);
        let fence = rig.launch(0, DATA + 4096, 1);
        rig.until("a fault of the new job", |rig| {
            rig.count(Counter::Faults) > faults
        });
        assert!(!rig.done(fence));
    }
}

#[test]
fn written_code_runs_after_fence_i_and_not_before() {
    for fence in [false, true] {
        let mut rig = Rig::new();
        // Runs the word at `patch` (+4), then overwrites it with `addi a0, zero, 2` from arg and runs it again.
        let patch = 12;
        let program = [
            addi(9, 0, 2),
            lw(5, 10, 0),
            auipc(6, 0),
            addi(8, 0, 1), // the patched word
            addi(9, 9, -1),
            sw(5, 6, 4),
            if fence { FENCE_I } else { FENCE },
            bne(9, 0, -16),
            addi(10, 8, 0),
            ECALL,
        ];
        assert_eq!(program[patch / 4], addi(8, 0, 1));
        rig.load(0, &program);
        let page = rig.pte(0, CODE).with_w(1);
        let at = rig.pte_at(0, CODE, 0);
        rig.phys_write64(at, page.0[0]);
        let arg = rig.map_ram(0, DATA, "r");
        rig.ram.write64(arg, u64::from(addi(8, 0, 2)));
        let done = rig.launch(0, DATA, 1);
        assert_eq!(rig.completion(done).result(), if fence { 2 } else { 1 });
    }
}

#[test]
fn bypass_reaches_memory_without_tables() {
    let mut rig = Rig::new();
    rig.control(CtrlOp::CtxSet, 2, 0, 0, 0, CtxMode::Bypass as u64);
    let (code, data) = (rig.vram_page(), rig.ram_page());
    rig.device.vram_write(
        hmmu_model::VramAddr(code),
        &bytes(&[ld(5, 10, 0), amoadd_d(0, 10, 5), addi(10, 5, 0), ECALL]),
    );
    rig.ram.write64(data, 21);
    let (entry, fence) = rig.launch_entry(2, data, 1);
    // Bit 47 means VRAM; the address must still be canonical.
    rig.push(
        reg::LAUNCH_BASE,
        entry.with_entry(0xffff_8000_0000_0000 | code).0,
    );
    let end = rig.completion(fence);
    assert_eq!(
        (end.status(), end.result(), rig.ram.read64(data)),
        (0, 21, 42)
    );
    assert_eq!(rig.count(Counter::Walks), 0);
}
