//! What a lane must find: each test does something behind its back.

use std::sync::Arc;

use hmm_core::{PAGE_SIZE, PhysMem, Prot, Va, sync};
use rand::SeedableRng;
use rand_pcg::Pcg32;

use super::Lane;
use crate::fuzz::op::{BASE, Kind, Op, PAGE};
use crate::fuzz::shape::Shape;
use crate::machine::Backend;
use crate::world::{Outputs, World};

const ALL: u64 = 4 * PAGE;

/// A lane with one process that has filled some pages, the first two of them on the device.
fn meddled(meddle: impl FnOnce(&mut Lane) + Send + 'static) -> Result<(), String> {
    let run = sync::run(1, move || {
        let shape = Shape {
            lanes: 1,
            devices: 1,
            tight: false,
            vram: 1 << 20,
            ram: 4 << 20,
            ..Shape::random(&mut Pcg32::seed_from_u64(1))
        };
        let config = shape.machine(Backend::Model, 1);
        let world = World::new(config, &Outputs::default(), Default::default())?;
        let mut lane = Lane::new(&world, &shape);
        let map = Op::Mmap {
            p: 0,
            at: Some(BASE),
            len: ALL,
            prot: Prot::READ_WRITE,
            kind: Kind::Private,
            huge: false,
        };
        let fill = Op::Fill {
            p: 0,
            at: BASE,
            len: ALL,
            first: 77,
        };
        let away = Op::ToDevice {
            p: 0,
            d: 0,
            at: BASE,
            len: 2 * PAGE,
        };
        for op in [Op::Spawn { p: 0 }, Op::Open { p: 0, d: 0 }, map, fill, away] {
            lane.step(&op).expect("nothing is wrong yet");
        }
        meddle(&mut lane);
        let store = Op::DevStore {
            p: 0,
            d: 0,
            at: BASE + 8,
            size: 8,
            value: 5,
        };
        let found = lane.step(&store).and_then(|()| lane.sweep());
        drop(lane);
        let ended = world.end();
        found.and(ended)
    });
    run.expect("no panic")
}

fn found(text: &str, meddle: impl FnOnce(&mut Lane) + Send + 'static) {
    let error = meddled(meddle).expect_err("something is wrong");
    assert!(error.contains(text), "{error}");
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(meddled(|_| {}), Ok(()));
}

#[test]
fn a_changed_byte_is_found() {
    found("plain memory has", |lane| {
        let last = lane.processes[&0].mm.pte(Va(BASE + 3 * PAGE));
        let pfn = last.pfn().expect("it was filled");
        lane.world.machine.memory().write(pfn, 100, &[0xee]);
    });
}

#[test]
fn a_wrong_errno_is_found() {
    found("gave EPERM", |lane| {
        let mm = Arc::clone(&lane.processes[&0].mm);
        mm.mprotect(Va(BASE), PAGE_SIZE, Prot::READ)
            .expect("it is mapped");
    });
}

#[test]
fn a_lost_page_is_found() {
    found("belong to nobody", |lane| {
        lane.world.system.alloc_page().expect("memory");
    });
}
