//! Makes a page-table entry and a control command as the device reads them, and takes them apart again.
//! `cargo run -p hmmu-regs --example decode`

use hmmu_regs::{CtrlEntry, CtrlOp, Pte};

fn main() {
    // A writable page of system memory at 0x1234_5000, with D set.
    let pte = Pte::default()
        .with_v(1)
        .with_r(1)
        .with_w(1)
        .with_u(1)
        .with_a(1)
        .with_d(1)
        .with_ppn(0x12345);
    let bytes = pte.to_bytes();
    println!("entry    {:#018x}", u64::from_le_bytes(bytes));
    let read = Pte::from_bytes(&bytes);
    assert_eq!((read.ppn(), read.d(), read.x()), (0x12345, 1, 0));

    // The driver revokes it by one byte: A and D stay for the harvest.
    let mut revoked = bytes;
    revoked[7] |= 1 << 4;
    let revoked = Pte::from_bytes(&revoked);
    assert_eq!((revoked.a(), revoked.d()), (1, 1));
    assert_ne!(revoked, pte);

    let entry = CtrlEntry::default().with_op(CtrlOp::Invalidate as u64);
    let op = CtrlOp::from_raw(CtrlEntry::from_bytes(&entry.to_bytes()).op());
    println!("command  {}", op.map_or("unknown", CtrlOp::name));
    assert_eq!(op, Some(CtrlOp::Invalidate));
}
