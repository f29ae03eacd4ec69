//! A process shares memory with a device, moves it there, and the CPU brings it home. On the functional model, with
//! the driver tests' board. `cargo run -p hmmu-driver --example share`

#[path = "../tests/suite/common/mod.rs"]
#[allow(dead_code)] // the tests use more of it
mod common;

use std::error::Error;
use std::sync::Arc;

use common::{Machine, Setup};
use hmm_core::{MmapOptions, PAGE_SIZE, Prot, System};
use hmmu_driver::{Device, Program};
use hmmu_model::rv64::enc::{ECALL, amoadd_d, bytes, ld};

// ANCHOR: body
fn share(system: &Arc<System>, device: &Device) -> Result<(), Box<dyn Error>> {
    // A process with some memory, written by its CPU.
    let mm = system.create_mm();
    let buffer = mm.mmap(4 * PAGE_SIZE, Prot::READ_WRITE, MmapOptions::default())?;
    mm.store(buffer, &41_u64.to_le_bytes())?;

    // The device opens the process: its own table, and a notifier on the address space.
    let context = device.open(&mm)?;

    // t0 and t1 are the arguments; amoadd.d a0, t1, (t0).
    let (t0, t1, a0) = (5, 6, 10);
    let add = Program {
        code: bytes(&[ld(t0, a0, 0), ld(t1, a0, 8), amoadd_d(a0, t0, t1), ECALL]),
        ..Program::default()
    };

    // Nothing was copied or mapped beforehand: the device faults, the driver serves it.
    let job = context.launch(&add, &[buffer.0, 1], 1)?;
    assert_eq!(job.wait()?, 41);

    // The page moves to device memory, and the next job finds it there.
    assert_eq!(context.migrate_to_device(buffer, PAGE_SIZE)?, 1);
    assert_eq!(
        context.snapshot(buffer, PAGE_SIZE)?[0].to_string(),
        "rw dev"
    );
    assert_eq!(context.launch(&add, &[buffer.0, 1], 1)?.wait()?, 42);

    // A CPU load faults, and the page comes home with what the device wrote.
    let mut word = [0; 8];
    mm.load(buffer, &mut word)?;
    assert_eq!(u64::from_le_bytes(word), 43);
    assert_eq!(context.snapshot(buffer, PAGE_SIZE)?[0].to_string(), "rw");

    context.close()?;
    mm.exit();
    Ok(())
}
// ANCHOR_END: body

fn main() {
    common::run(Setup::new(1), |machine: &Machine| {
        share(&machine.sys, &machine.device).expect("memory is shared");
        println!(
            "41 and 42 were read by the device, 43 by the CPU; {} faults",
            machine.stat("faults")
        );
    });
}
