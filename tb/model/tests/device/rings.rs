//! Ring mechanics, fences and completions.

use crate::rig::{CPL_TIMEOUT, LOG2, Rig};
use hmmu_model::LinkError;
use hmmu_model::rv64::enc::ECALL;
use hmmu_regs::*;

#[test]
fn commands_complete_in_order_with_growing_stamps_through_many_wraps() {
    let mut rig = Rig::new();
    let mut last = 0;
    for _ in 0..5 << LOG2 {
        let (at, value) = rig.control_start(CtrlOp::Nop, 0, 0, 0, 0, 0);
        rig.until("fence", |rig| rig.ram.read64(at) == value);
        let stamp = rig.ram.read64(at + 8);
        assert!(stamp > last && stamp <= rig.device.time());
        last = stamp;
    }
    // Two CtxSet of the rig came first.
    assert_eq!(rig.device.read_register(reg::CTRL_CONS), (5 << LOG2) + 2);
}

#[test]
pub fn a_full_batch_behind_one_doorbell_runs() {
    let mut rig = Rig::new();
    let fences: Vec<_> = (0..1 << LOG2)
        .map(|_| rig.control_start(CtrlOp::Nop, 0, 0, 0, 0, 0))
        .collect();
    rig.tick(5000);
    assert!(fences.iter().all(|&fence| rig.done(fence)));
}

#[test]
fn a_fence_is_one_write_and_precedes_its_interrupt() {
    let mut rig = Rig::new();
    let (at, value) = rig.new_fence();
    let entry = Rig::control_entry(CtrlOp::Nop, 0, 0, 0, 0, 0)
        .with_irq(1)
        .with_fence_addr(at)
        .with_fence_value(value);
    rig.ram.take_log();
    rig.push(reg::CTRL_BASE, entry.0);
    rig.until("interrupt", |rig| !rig.irqs.is_empty());
    assert!(rig.done((at, value)));
    assert_eq!(rig.ram.take_log(), [(at, 16)]);
    assert_eq!(rig.irqs, [Vector::Ctrl as u32]);
}

#[test]
fn a_completion_writes_its_value_last_and_then_interrupts() {
    let mut rig = Rig::new();
    rig.load(0, &[ECALL]);
    rig.ram.take_log();
    let (at, _) = rig.launch(0, 77, 1);
    rig.until("interrupt", |rig| rig.irqs.contains(&(Vector::Job as u32)));
    assert_eq!(rig.ram.take_log(), [(at + 16, 16), (at, 16)]);
    assert_eq!(rig.ram.read64(at + 16), 77);
}

#[test]
fn disabled_rings_do_not_fetch() {
    let mut rig = Rig::new();
    rig.device.write_register(reg::CONTROL, 0);
    let fence = rig.control_start(CtrlOp::Nop, 0, 0, 0, 0, 0);
    rig.tick(5000);
    assert!(!rig.done(fence));
    rig.device.write_register(reg::CONTROL, 1);
    rig.tick(5000);
    assert!(rig.done(fence));
}

/// A bad entry stops its ring at that entry and says so; writing the size restarts it.
fn stops_at(register: u64, unit: Client, status_bit: u32, bad: [u64; 8]) {
    let mut rig = Rig::new();
    let before = rig.device.read_register(register + 0x18);
    rig.push(register, bad);
    rig.tick(1000);
    assert_eq!(rig.device.read_register(register + 0x18), before);
    assert_eq!(rig.device.read_register(reg::STATUS) >> status_bit & 1, 1);
    let info = rig.device.read_register(reg::ERROR_INFO);
    assert_eq!(
        (info & 0xff, info >> 8 & 0xff),
        (ErrorCode::BadEntry as u64, unit as u64)
    );
    assert_eq!(rig.irqs, [Vector::Error as u32]);
    // Other rings run on.
    if register != reg::CTRL_BASE {
        rig.control(CtrlOp::Nop, 0, 0, 0, 0, 0);
    }
    rig.device.write_register(reg::ERROR_INFO, 0);
    assert_eq!(rig.device.read_register(reg::ERROR_INFO), 0);
    rig.restart(register);
    assert_eq!(rig.device.read_register(reg::STATUS), 0b111);
    match register {
        reg::CTRL_BASE => rig.control(CtrlOp::Nop, 0, 0, 0, 0, 0),
        reg::COPY_BASE => {
            let fence = rig.copy_start(CopyEntry::default());
            assert_eq!(rig.completion(fence).status(), 0);
        }
        _ => assert_eq!(rig.run(0, 0, &[ECALL]).status(), 0),
    }
}

#[test]
fn bad_entries_stop_their_ring() {
    let control = CtrlEntry::default().with_version(FORMAT_VERSION);
    stops_at(reg::CTRL_BASE, Client::Ctrl, 8, control.with_version(2).0);
    stops_at(reg::CTRL_BASE, Client::Ctrl, 8, control.with_op(99).0);
    stops_at(
        reg::CTRL_BASE,
        Client::Ctrl,
        8,
        control.with_op(CtrlOp::CtxSet as u64).with_arg1(3).0,
    );
    let copy = CopyEntry::default().with_version(FORMAT_VERSION);
    stops_at(reg::COPY_BASE, Client::Copy, 9, copy.with_version(0).0);
    stops_at(reg::COPY_BASE, Client::Copy, 9, copy.with_op(99).0);
    stops_at(
        reg::LAUNCH_BASE,
        Client::Launch,
        10,
        LaunchEntry::default().with_version(7).0,
    );
    let launch = LaunchEntry::default().with_version(FORMAT_VERSION);
    stops_at(
        reg::LAUNCH_BASE,
        Client::Launch,
        10,
        launch.with_threads(0).0,
    );
}

#[test]
fn a_ring_that_cannot_be_read_stops() {
    let mut rig = Rig::new();
    rig.ram.fail(rig.ctrl >> 12, LinkError::Timeout);
    rig.control_start(CtrlOp::Nop, 0, 0, 0, 0, 0);
    rig.tick(2 * CPL_TIMEOUT);
    assert_eq!(rig.device.read_register(reg::STATUS) >> 8 & 1, 1);
    // The link's error came first.
    assert_eq!(
        rig.device.read_register(reg::ERROR_INFO) & 0xff,
        ErrorCode::CplTimeout as u64
    );
}
