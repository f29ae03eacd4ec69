//! Random programs against plain memory, a short version: `hmmu fuzz` runs more of them.

use hmmu::fuzz::{Failure, Op, PAGE, Program, script, shrink};
use hmmu::machine::Backend;

fn passes(seed: u64, length: usize, backend: Backend) {
    let program = Program::generate(seed, length);
    if let Err(failure) = program.run(backend) {
        let shrunk = shrink(program, failure, 400, |program| program.run(backend).err());
        panic!("{}{}", shrunk.program, shrunk.failure);
    }
}

#[test]
fn the_model_keeps_to_plain_memory() {
    for seed in 0..16 {
        passes(seed, 100, Backend::Model);
    }
}

#[test]
fn a_seed_makes_one_program_and_one_run() {
    let (one, other) = (Program::generate(7, 60), Program::generate(7, 60));
    assert_eq!(one, other);
    assert_ne!(one, Program::generate(8, 60));
    let record = one.run(Backend::Model).expect("no difference");
    assert_eq!(Ok(record), other.run(Backend::Model));
}

/// Fails when a store comes after a fork of the process, like a copy-on-write that forgets to copy.
fn fake(program: &Program) -> Option<Failure> {
    let ops = &program.lanes[0];
    let fork = ops.iter().position(|op| matches!(op, Op::Fork { .. }))?;
    let store = ops[fork..]
        .iter()
        .position(|op| matches!(op, Op::Fill { len, .. } if *len >= PAGE))?;
    Some(Failure {
        at: Some((0, fork + store)),
        text: "made up".into(),
    })
}

#[test]
fn a_failing_program_shrinks_to_what_matters() {
    let program = (0..)
        .map(|seed| Program::generate(seed, 400))
        .find(|program| program.lanes.len() == 1 && fake(program).is_some())
        .expect("some program has both");
    let failure = fake(&program).expect("it fails");
    let shrunk = shrink(program, failure, 2000, fake);
    let [fork, fill] = shrunk.program.lanes[0].as_slice() else {
        panic!("not shrunk: {}", shrunk.program);
    };
    assert!(matches!(fork, Op::Fork { .. }));
    assert!(matches!(fill, Op::Fill { len, first, .. } if *len == PAGE && *first <= 1));
    assert_eq!(shrunk.failure.at, Some((0, 1)));
}

#[test]
fn programs_become_scripts_that_run() {
    let programs = (0..40).map(|seed| Program::generate(seed, 40));
    let mut ran = 0;
    for program in programs.filter(|program| program.lanes.len() == 1).take(6) {
        let text = script(&program).expect("one thread");
        let file = std::path::Path::new("fuzz.rhai");
        let config = program.shape.machine(Backend::Model, program.seed);
        let result = hmmu::script::run_text(file, &text, &config, &hmmu::world::Outputs::default());
        assert_eq!(result.error, None, "{text}");
        ran += 1;
    }
    assert_eq!(ran, 6);
}

#[cfg(feature = "rtl")]
mod rtl {
    use hmmu::fuzz::compare;

    use super::*;

    #[test]
    fn the_verilated_device_keeps_to_plain_memory() {
        for seed in 100..103 {
            passes(seed, 60, Backend::Rtl);
        }
    }

    #[test]
    fn both_devices_do_the_same() {
        for seed in 0..3 {
            let program = Program::comparable(seed, 40);
            if let Err(difference) = compare(&program, Backend::Model, Backend::Rtl) {
                panic!("{program}{difference}");
            }
        }
    }
}
