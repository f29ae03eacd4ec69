//! Script calls that cannot be done: the errno, and a state in which everything goes on.

use std::path::Path;

use hmmu::machine::{Backend, MachineConfig};
use hmmu::script::run_text;
use hmmu::world::Outputs;

/// Runs lines of calls that must fail, after `let`s that they need, each `errno: call`.
fn refused(before: &str, calls: &[(&str, &str)]) {
    let mut text = format!("machine(#{{ ram: 4 * MIB, vram: 1 * MIB, devices: 2 }});\n{before}\n");
    for (errno, call) in calls {
        text.push_str(&format!("expect_error(\"{errno}\", || {call});\n"));
    }
    let config = MachineConfig::new(Backend::Model, 1);
    let result = run_text(Path::new("bad.rhai"), &text, &config, &Outputs::default());
    assert!(result.passed(), "{text}\n{:?}", result.error);
}

const PROCESS: &str = "let p = process(); let a = p.mmap(4 * PAGE, \"rw\"); p.fill(a, 4 * PAGE, 1); \
                       let d = p.open(0); let f = file(2 * PAGE);";

#[test]
fn ranges_and_names_that_cannot_be() {
    refused(
        PROCESS,
        &[
            ("EINVAL", "p.mmap(PAGE, \"rw\", #{ file: 7 })"),
            ("EINVAL", "p.mmap(PAGE, \"rw\", #{ offset: PAGE })"),
            ("EINVAL", "p.mmap(PAGE, \"rw\", #{ file: f, offset: 100 })"),
            ("EINVAL", "p.mmap(PAGE, \"rw\", #{ file: f, offset: -1 })"),
            (
                "EINVAL",
                "p.mmap(HUGE, \"rw\", #{ file: f, hugetlb: true })",
            ),
            ("EINVAL", "p.mmap(HUGE, \"rw\", #{ hugetlb: 1 })"),
            ("ENOMEM", "p.mmap(64 * HUGE, \"rw\", #{ hugetlb: true })"),
            ("EINVAL", "p.madvise(a, PAGE, \"collapse\")"),
            ("EINVAL", "p.madvise(a, PAGE, \"shred\")"),
            ("EINVAL", "p.madvise(a + 1, PAGE, \"free\")"),
            ("ENOMEM", "p.madvise(a, 64 * PAGE, \"hugepage\")"),
            ("EINVAL", "p.swap_out(a + 1, PAGE)"),
            ("ENOMEM", "p.swap_out(a, 64 * PAGE)"),
            ("EINVAL", "p.swap_out(a, -1)"),
            ("EFAULT", "p.poison(0)"),
            ("EINVAL", "p.poison(-1)"),
            ("ENOMEM", "p.mlock(a, 64 * PAGE)"),
            ("ENOMEM", "p.munlock(0x1000, PAGE)"),
            ("EINVAL", "p.pin(a, PAGE, #{ short: true })"),
            ("EFAULT", "p.pin(0x1000, PAGE)"),
            ("EINVAL", "p.set_memory_limit(-1)"),
            ("EINVAL", "p.userfault(a + 1, PAGE)"),
            ("EINVAL", "p.userfault(0x1000, PAGE)"),
            ("EINVAL", "file(-1)"),
            ("EINVAL", "f.fill(4, 8, 1)"),
            ("EINVAL", "f.check(0, -8, 1)"),
            ("FAILED", "f.check(0, 3 * PAGE, 0)"),
            ("FAILED", "f.check(0, 8, 1)"),
            ("EINVAL", "f.truncate(-1)"),
            ("EINVAL", "d.exclusive(a + 1, PAGE)"),
            ("EINVAL", "d.exclusive(a, 0)"),
            ("EFAULT", "d.exclusive(0x10000, PAGE)"),
            ("ENODEV", "p.open(2)"),
            ("ENODEV", "p.open(-1)"),
            ("EINVAL", "reclaim(-1)"),
            ("EINVAL", "d.inject(#{ link: \"snow\" })"),
            ("EINVAL", "d.inject(#{ link: 3 })"),
            ("EINVAL", "d.inject(#{ alloc: -1 })"),
            ("EINVAL", "d.inject(#{ alloc: \"all\" })"),
            ("EINVAL", "d.inject(#{ hang: 1 })"),
            ("EINVAL", "d.inject(#{ flood: true })"),
            ("EINVAL", "machine(#{ devices: 2 })"),
        ],
    );
}

/// The error of a call that fails, uncaught.
fn message(call: &str) -> String {
    let text = format!("{PROCESS}\n{call};\n");
    let config = MachineConfig::new(Backend::Model, 1);
    let result = run_text(Path::new("bad.rhai"), &text, &config, &Outputs::default());
    result.error.unwrap_or_else(|| panic!("{call}: no error"))
}

#[test]
fn errors_at_tlps_that_cannot_be() {
    let good = "to: \"device\", error: \"drop\"";
    for (plan, pieces) in [
        ("3", &["tlp: expected a map, got 3"][..]),
        ("#{}", &["at least `to` and `error`"]),
        ("#{ to: \"host\" }", &["at least `to` and `error`"]),
        ("#{ error: \"drop\" }", &["at least `to` and `error`"]),
        ("#{ to: \"mars\" }", &["to:", "device", "host", "got mars"]),
        ("#{ to: 1 }", &["to:", "got 1"]),
        (
            "#{ to: \"host\", error: \"smoke\" }",
            &["error:", "retrain", "remove", "got smoke"],
        ),
        (
            &format!("#{{ {good}, kind: \"letter\" }}"),
            &["kind:", "interrupt", "got letter"],
        ),
        (&format!("#{{ {good}, n: -1 }}"), &["-1"]),
        (
            &format!("#{{ {good}, n: \"first\" }}"),
            &["n: expected an integer, got string"],
        ),
        (&format!("#{{ {good}, cycles: -5 }}"), &["-5"]),
        (&format!("#{{ {good}, when: 5 }}"), &["unknown option when"]),
        (
            &format!("#{{ {good}, kind: \"write\" }}"),
            &["error drop cannot happen to kind write"],
        ),
        (
            &format!("#{{ {good} }}"),
            &["the functional model has no TLPs", "--backend rtl"],
        ),
    ] {
        let error = message(&format!("d.inject(#{{ tlp: {plan} }})"));
        for piece in ["bad.rhai:2", "d.inject", "EINVAL"].iter().chain(pieces) {
            assert!(error.contains(piece), "{plan}: no {piece:?} in {error}");
        }
    }
}

#[test]
fn links_that_cannot_be() {
    let config = MachineConfig::new(Backend::Model, 1);
    for (options, pieces) in [
        ("mps: 64", &["mps of 64 bytes", "128..=4096"][..]),
        ("mps: 192", &["mps of 192 bytes", "power of two"]),
        ("mps: 8192", &["mps of 8192 bytes"]),
        ("mrrs: 0", &["mrrs of 0 bytes"]),
        ("mrrs: 8192", &["mrrs of 8192 bytes", "128..=4096"]),
        ("rcb: 256", &["rcb of 256 bytes", "64..=128"]),
        ("rcb: -64", &["-64"]),
        ("link: \"gen9x3\"", &["gen9x3", "genGxL"]),
        ("link: 8", &["genGxL"]),
        ("link_latency: 2000000", &["link_latency of 2000000 ns"]),
        ("link_jitter: 1000001", &["link_jitter of 1000001 ns"]),
        (
            "link_jitter: \"much\"",
            &["link_jitter: expected an integer"],
        ),
        ("lanes: 8", &["unknown option lanes"]),
    ] {
        let text = format!("machine(#{{ {options} }});\nprocess();\n");
        let result = run_text(Path::new("m.rhai"), &text, &config, &Outputs::default());
        let error = result
            .error
            .unwrap_or_else(|| panic!("{options}: no error"));
        for piece in ["m.rhai:1", "machine"].iter().chain(pieces) {
            assert!(error.contains(piece), "{options}: no {piece:?} in {error}");
        }
    }
}

#[test]
fn a_reset_on_the_model() {
    // A device that works is reset: its contexts are closed, its memory is left alone.
    let text = format!(
        "{PROCESS}
        assert_eq(d.migrate_to_device(a, 2 * PAGE), 2);
        let job = d.launch(\"spin\", [0]);
        d.reset();
        expect_error(\"EIO\", || job.wait());
        for failed in [|| d.load(a), || d.migrate_to_device(a, PAGE), || d.snapshot(a, PAGE)] {{
            expect_error(\"EBADF\", failed);
        }}
        let d = p.open(0);
        d.check(a, 4 * PAGE, 1);
        d.reset();
        d.reset();
        let d = p.open(0);
        p.check(a, 4 * PAGE, 1);
        d.inject(#{{ hang: true }});
        expect_error(\"EIO\", || d.load(a));
        expect_error(\"EIO\", || d.reset());
        p.check(a + 2 * PAGE, 2 * PAGE, 1 + 2 * PAGE / 8);"
    );
    let config = MachineConfig::new(Backend::Model, 1);
    let result = run_text(Path::new("r.rhai"), &text, &config, &Outputs::default());
    assert!(result.passed(), "{:?}", result.error);
}

#[test]
fn a_process_that_has_ended() {
    let before = format!("{PROCESS} let u = p.userfault(a, PAGE); p.exit();");
    refused(
        &before,
        &[
            ("ESRCH", "p.mmap(PAGE, \"rw\", #{ file: f })"),
            ("ESRCH", "p.madvise(a, PAGE, \"free\")"),
            ("ESRCH", "p.swap_out(a, PAGE)"),
            ("ESRCH", "p.poison(a)"),
            ("ESRCH", "p.mlock(a, PAGE)"),
            ("ESRCH", "p.clear_soft_dirty()"),
            ("ESRCH", "p.pin(a, PAGE, #{ longterm: false })"),
            ("ESRCH", "p.userfault(a, PAGE)"),
            ("ESRCH", "u.wait()"),
            ("ESRCH", "u.zero(a)"),
            ("ESRCH", "p.open(1)"),
            ("EBADF", "d.exclusive(a, PAGE)"),
            ("EBADF", "d.is_exclusive(a)"),
        ],
    );
}

#[test]
fn a_device_that_was_closed() {
    let before = format!("{PROCESS} let e = p.open(1); d.close();");
    refused(
        &before,
        &[
            ("EBADF", "d.exclusive(a, PAGE)"),
            ("EBADF", "d.is_exclusive(a)"),
            ("EBADF", "d.load(a)"),
            ("EBADF", "d.migrate_to_device(a, PAGE)"),
            ("EBADF", "d.snapshot(a, PAGE)"),
        ],
    );
}

#[test]
fn exhausted_memories() {
    // Device memory: what does not fit stays in system memory, and works.
    let text = "machine(#{ ram: 4 * MIB, vram: 64 * KIB });
        let p = process();
        let a = p.mmap(32 * PAGE, \"rw\");
        p.fill(a, 32 * PAGE, 1);
        let d = p.open(0);
        expect_error(\"ENOENT\", || d.migrate_to_device(a, 32 * PAGE));
        assert(d.snapshot(a, 32 * PAGE).some(|page| page == \"rw dev\"));
        assert(d.snapshot(a, 32 * PAGE).some(|page| page == \"rw\" || page == \"none\"));
        d.check(a, 32 * PAGE, 1);
        // System memory: swap space takes no device's pages, the process is told.
        let big = p.mmap(8 * MIB, \"rw\");
        expect_error(\"ENOMEM\", || p.fill(big, 8 * MIB, 1));
        expect_error(\"EFAULT\", || d.fill(big + 4 * MIB, MIB, 1));
        p.munmap(big, 8 * MIB);
        p.check(a, 32 * PAGE, 1);
        let f = file(8 * MIB);
        f.fill(0, PAGE, 1);";
    let config = MachineConfig::new(Backend::Model, 1);
    let result = run_text(Path::new("full.rhai"), text, &config, &Outputs::default());
    assert!(result.passed(), "{:?}", result.error);
}

#[test]
fn a_broken_rule_names_the_call() {
    // The oracle's and the rules' failures are the run's, even if the script catches them.
    let text = "let p = process();\nlet a = p.mmap(PAGE, \"rw\");\n\
                try { p.check(a, PAGE, 1); } catch (e) { assert_eq(e.errno, \"FAILED\"); }\n\
                p.check(a, PAGE, 1);\n";
    let config = MachineConfig::new(Backend::Model, 1);
    let result = run_text(Path::new("c.rhai"), text, &config, &Outputs::default());
    let error = result.error.expect("the check fails");
    assert!(error.contains("c.rhai:4: p.check"), "{error}");
    assert!(error.contains("seed 1"), "{error}");
}
