//! Registers.

use crate::rig::Rig;
use hmmu_regs::*;

#[test]
fn identification() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.device.read_register(reg::ID).to_le_bytes()[..4],
        *b"HMMU"
    );
    assert_eq!(
        rig.device.read_register(reg::ID) >> 32 & 0xff,
        FORMAT_VERSION
    );
    assert_eq!(
        rig.device.read_register(reg::CAPS).to_le_bytes(),
        crate::caps()
    );
    assert_eq!(rig.device.read_register(reg::VRAM_SIZE), 16 << 20);
}

#[test]
fn byte_enables_are_honoured() {
    let mut rig = Rig::new();
    rig.device
        .write_register(reg::COPY_BASE, 0x1122_3344_5566_7788);
    rig.device
        .write_register_bytes(reg::COPY_BASE, 0xaabb_ccdd_eeff_0011, 0xf0);
    assert_eq!(
        rig.device.read_register(reg::COPY_BASE),
        0xaabb_ccdd_5566_7788
    );
    rig.device.write_register_bytes(reg::COPY_BASE, 0, 0x01);
    assert_eq!(
        rig.device.read_register(reg::COPY_BASE),
        0xaabb_ccdd_5566_7700
    );
    rig.device.write_register_bytes(MSIX_TABLE, 0, 0xf0);
    assert_eq!(rig.device.read_register(MSIX_TABLE), crate::rig::MSI_ADDR);
}

#[test]
fn read_only_registers_and_holes_ignore_writes() {
    let mut rig = Rig::new();
    for offset in [
        reg::ID,
        reg::CAPS,
        reg::VRAM_SIZE,
        reg::CTRL_CONS,
        reg::FAULT_PROD,
        reg::WARP_STATE,
        0x58,
        0x7ff8,
        0xfff8,
    ] {
        let before = rig.device.read_register(offset);
        rig.device.write_register(offset, u64::MAX);
        assert_eq!(rig.device.read_register(offset), before, "{offset:#x}");
    }
    assert_eq!(rig.device.read_register(0x7ff8), 0);
}

#[test]
fn counters_are_read_as_of_the_snapshot() {
    let mut rig = Rig::new();
    let at = reg::COUNTER + 8 * Counter::Cycles as u64;
    assert_eq!(rig.device.read_register(at), 0);
    let before = rig.device.time();
    rig.device.write_register(reg::SNAPSHOT, 1);
    let after = rig.device.time();
    let shadow = rig.device.read_register(at);
    assert!((before..=after).contains(&shadow));
    rig.tick(10);
    assert_eq!(rig.device.read_register(at), shadow);
}

#[test]
fn status_tells_what_is_idle() {
    let mut rig = Rig::new();
    assert_eq!(rig.device.read_register(reg::STATUS), 0b111);
    rig.control_start(CtrlOp::Nop, 0, 0, 0, 0, 0);
    assert_eq!(rig.device.read_register(reg::STATUS), 0b110);
    rig.tick(1000);
    assert_eq!(rig.device.read_register(reg::STATUS), 0b111);
}

#[test]
fn masked_vectors_stay_pending_until_unmasked() {
    let mut rig = Rig::new();
    let control = MSIX_TABLE + 16 * Vector::Ctrl as u64 + 8;
    rig.device.write_register(control, 1 << 32);
    let entry = Rig::control_entry(CtrlOp::Nop, 0, 0, 0, 0, 0).with_irq(1);
    rig.push(reg::CTRL_BASE, entry.0);
    rig.tick(1000);
    assert_eq!((rig.irqs.len(), rig.device.read_register(MSIX_PBA)), (0, 1));
    rig.device.write_register(control, 0);
    rig.tick(1);
    assert_eq!(
        (rig.irqs.as_slice(), rig.device.read_register(MSIX_PBA)),
        ([0].as_slice(), 0)
    );
}
