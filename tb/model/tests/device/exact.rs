//! What only the functional device offers, or counts exactly.

use crate::ram::SharedRam;
use crate::rig::Rig;
use hmmu_model::rv64::enc::*;
use hmmu_model::{Device, DeviceConfig, OutOfVram, VramAddr};
use hmmu_regs::*;

fn device() -> Device {
    Device::new(DeviceConfig::default(), Box::new(SharedRam::new()))
}

#[test]
fn time_and_cycles_run_together() {
    let mut rig = Rig::new();
    let start = rig.device.read_register(reg::TIME);
    rig.tick(123);
    assert_eq!(rig.device.read_register(reg::TIME), start + 123);
    assert_eq!(rig.count(Counter::Cycles), start + 123);
}

#[test]
fn the_window_ends_with_vram() {
    let mut device = device();
    let last = VramAddr((16 << 20) - 8);
    let mut back = [0; 8];
    assert_eq!(device.vram_write(last, &[7; 8]), Ok(()));
    assert_eq!(device.vram_read(last, &mut back), Ok(()));
    assert_eq!(back, [7; 8]);
    let beyond = VramAddr(last.0 + 1);
    let refused = OutOfVram {
        addr: beyond,
        len: 8,
    };
    assert_eq!(device.vram_write(beyond, &[1; 8]), Err(refused));
    assert_eq!(device.vram_read(beyond, &mut back), Err(refused));
    assert_eq!(device.vram_read(last, &mut back), Ok(()));
    assert_eq!(back, [7; 8]);
}

#[test]
fn interrupts_stay_pending_while_msix_is_off() {
    let mut device = device();
    device.enable_msix(false);
    device.write_register(MSIX_TABLE + 16 * Vector::Error as u64 + 8, 77);
    device.inject_error(ErrorCode::Malformed, Client::Host, 0);
    device.tick(10);
    assert_eq!(device.take_message(), None);
    assert_eq!(device.read_register(MSIX_PBA), 1 << Vector::Error as u64);
    device.enable_msix(true);
    device.tick(1);
    assert_eq!(device.take_message().map(|message| message.data), Some(77));
    assert_eq!(device.read_register(MSIX_PBA), 0);
}

/// On the RTL most misses of one page meet in a slot of an L1 TLB already, and never become requests that count.
#[test]
fn every_merge_counts() {
    let mut rig = Rig::new();
    rig.load(0, &[ld(5, 10, 0), sd(11, 10, 0), ECALL]);
    rig.launch(0, 0x7f00_0000_0000, 8);
    rig.fault();
    rig.tick(5000);
    assert_eq!(
        rig.count(Counter::FaultMerges) + rig.count(Counter::WalkMerges),
        7 + 7,
        "7 fetches and 7 loads"
    );
}

#[test]
fn link_counters_count_headers_and_payload() {
    let mut rig = Rig::new();
    let page = rig.ram_page();
    let count = |rig: &mut Rig| {
        let counters = [
            Counter::LinkRxBytes,
            Counter::LinkTxBytes,
            Counter::LinkReads,
            Counter::LinkWrites,
        ];
        counters.map(|counter| rig.count(counter))
    };
    let before = count(&mut rig);
    let entry = CopyEntry::default()
        .with_op(CopyOp::Copy as u64)
        .with_src(page)
        .with_len(256);
    let fence = rig.copy_start(entry.with_dst(page + 2048));
    assert_eq!(rig.completion(fence).status(), 0);
    let after = count(&mut rig);
    let spent: Vec<u64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    // Received: a doorbell, an entry, the data. Sent: two read requests, the data, a completion in two parts.
    let received = (16 + 8) + (12 + 64) + (12 + 256);
    let sent = 2 * 12 + (12 + 256) + 2 * (12 + 16);
    assert_eq!(spent, [received, sent, 2, 3]);
}
