//! The kernel's own HMM tests, as scripts: every one in every variant on the functional model, and a part of
//! them on the verilated design (`make conformance` runs all of them on both).

use std::path::PathBuf;

use crate::common::{backends, scenarios};
use hmmu::machine::{Backend, MachineConfig};
use hmmu::script::{Variant, run_variant, variants};
use hmmu::world::Outputs;

/// Names of the kernel's tests, and of the one for user-fault handlers.
const KERNEL_TESTS: [&str; 39] = [
    "open_close",
    "anon_read",
    "anon_read_prot",
    "anon_write",
    "anon_write_prot",
    "anon_write_child",
    "anon_write_child_shared",
    "anon_write_huge",
    "anon_write_hugetlbfs",
    "file_read",
    "file_write",
    "migrate",
    "migrate_file_private",
    "migrate_fault",
    "migrate_release",
    "migrate_shared",
    "migrate_mixed",
    "migrate_multiple",
    "anon_read_multiple",
    "anon_teardown",
    "mixedmap",
    "snapshot",
    "compound",
    "double_map",
    "exclusive",
    "exclusive_mprotect",
    "exclusive_cow",
    "hmm_gup_test",
    "hmm_cow_in_device",
    "migrate_anon_huge_empty",
    "migrate_anon_huge_zero",
    "migrate_anon_huge_free",
    "migrate_anon_huge_fault",
    "migrate_partial_unmap_fault",
    "migrate_remap_fault",
    "migrate_anon_huge_err",
    "migrate_anon_huge_zero_err",
    "benchmark_thp_migration",
    "userfaultfd_read",
];

/// Those that take the verilated design a second or two.
const SHORT: [&str; 9] = [
    "open_close",
    "migrate_mixed",
    "snapshot",
    "double_map",
    "exclusive_mprotect",
    "exclusive_cow",
    "hmm_gup_test",
    "hmm_cow_in_device",
    "mixedmap",
];

fn script(name: &str) -> PathBuf {
    scenarios().join("conformance").join(format!("{name}.rhai"))
}

fn run(backend: Backend, variant: Variant, names: &[&str]) {
    let mut failed = Vec::new();
    for name in names {
        let config = MachineConfig::new(backend, 1);
        let result = run_variant(&script(name), Some(variant), &config, &Outputs::default());
        failed.extend(result.error);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_test_of_the_kernel_is_there_in_both_variants() {
    for name in KERNEL_TESTS {
        let named = variants(&script(name));
        assert_eq!(
            named,
            Ok(vec![Variant::Private, Variant::Coherent]),
            "{name}"
        );
    }
}

#[test]
fn private_memory_on_the_model() {
    run(Backend::Model, Variant::Private, &KERNEL_TESTS);
}

#[test]
fn coherent_memory_on_the_model() {
    run(Backend::Model, Variant::Coherent, &KERNEL_TESTS);
}

#[test]
fn short_ones_on_the_verilated_design() {
    for backend in backends() {
        for variant in [Variant::Private, Variant::Coherent] {
            run(backend, variant, &SHORT);
        }
    }
}
