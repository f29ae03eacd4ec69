//! Determinism: the same accesses at the same times give the same run, however time is cut up.

use crate::rig::Rig;
use hmmu_model::rv64::enc::*;
use hmmu_model::{DeviceConfig, Latency};
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;

/// A run with faults, copies and atomics; every memory write and the final counters. The host acts every 500
/// cycles only; `step` is how much time passes in one call between its actions.
fn run(seed: u64, jitter: u64, step: u64) -> (Vec<(u64, usize)>, Vec<u64>) {
    let latency = Latency {
        jitter,
        seed,
        ..Latency::default()
    };
    let mut rig = Rig::with(DeviceConfig {
        latency,
        ..DeviceConfig::default()
    });
    let start = rig.device.time();
    rig.tick(10_000 - start);
    rig.load(
        0,
        &[
            slli(5, 11, 12),
            add(5, 5, 10),
            ld(6, 5, 0),
            sd(11, 5, 8),
            amoadd_d(7, 10, 6),
            ECALL,
        ],
    );
    rig.map_vram(0, DATA, "rw");
    let job = rig.launch(0, DATA, 12);
    let copy = CopyEntry::default()
        .with_op(CopyOp::Copy as u64)
        .with_src(DATA)
        .with_src_va(1);
    let copied = rig.copy_start(copy.with_dst(0x20_0000).with_len(10_000));
    let mut rounds = 0;
    while !rig.done(job) || !rig.done(copied) {
        for _ in 0..500 / step {
            rig.tick(step);
        }
        rounds += 1;
        assert!(rounds < 1000, "it hangs");
        while let Some(record) = rig.take_fault() {
            rig.map_ram(0, record.addr(), "rwa");
            rig.control_start(CtrlOp::Replay, 0, record.addr(), 4096, 0, 0);
            rig.tick(500);
        }
    }
    rig.tick(1000);
    let log = rig.ram.take_log();
    (
        log,
        Counter::ALL
            .iter()
            .map(|&counter| rig.count(counter))
            .collect(),
    )
}

#[test]
fn one_seed_gives_one_run_however_time_is_cut() {
    for (seed, jitter) in [(0, 0), (1, 5), (2, 50)] {
        let whole = run(seed, jitter, 500);
        assert_eq!(run(seed, jitter, 500), whole);
        assert_eq!(
            run(seed, jitter, 1),
            whole,
            "one cycle at a time, seed {seed}"
        );
        assert_eq!(
            run(seed, jitter, 50),
            whole,
            "50 cycles at a time, seed {seed}"
        );
    }
}

#[test]
fn another_seed_gives_another_run() {
    assert_ne!(run(1, 50, 500).1, run(2, 50, 500).1);
}
