//! Input that cannot be used, and checks that fail: one clear message each, the right exit status, no panic.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{folder, hmmu, said};

/// Runs hmmu over one file, expects a status and pieces of the message.
fn expect(name: &str, text: &str, args: &[&str], status: i32, pieces: &[&str]) {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    // Tests run side by side, some with files of one name.
    let folder = folder(&format!("bad-{}", RUNS.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(folder.join(name), text).expect("the input is written");
    let output = hmmu(&folder, args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    for piece in pieces {
        assert!(said.contains(piece), "{args:?}: no {piece:?} in {said}");
    }
}

fn graph(name: &str, text: &str, pieces: &[&str]) {
    expect(
        name,
        text,
        &["graph", "--backend", "model", name],
        2,
        pieces,
    );
}

fn script(text: &str, status: i32, pieces: &[&str]) {
    expect(
        "s.rhai",
        text,
        &["run", "--backend", "model", "s.rhai"],
        status,
        pieces,
    );
}

#[test]
fn graphs_that_are_missing_or_malformed() {
    expect(
        "x",
        "",
        &["graph", "--backend", "model", "none.txt"],
        2,
        &["none.txt", "cannot read"],
    );
    graph("empty.txt", "# nothing\n", &["empty.txt", "no edge"]);
    graph(
        "word.txt",
        "0 1\n1 two\n",
        &["word.txt:2", "expected two vertex numbers", "1 two"],
    );
    graph(
        "three.txt",
        "# c\n0 1 7\n",
        &["three.txt:2", "expected two vertex numbers"],
    );
    graph(
        "minus.txt",
        "0 -1\n",
        &["minus.txt:1", "expected two vertex numbers"],
    );
    graph(
        "large.txt",
        "0 99999999999\n",
        &["large.txt:1", "0..=4294967295"],
    );
    expect(
        "bytes",
        "\u{0}",
        &["graph", "--backend", "model", "."],
        2,
        &["cannot read"],
    );
}

#[test]
fn matrices_that_are_malformed() {
    let head = "%%MatrixMarket matrix coordinate pattern general\n";
    graph(
        "a.mtx",
        "%%MatrixMarket matrix array real general\n",
        &["a.mtx:1", "coordinate"],
    );
    graph(
        "f.mtx",
        "%%MatrixMarket matrix coordinate bits general\n",
        &["f.mtx:1", "field"],
    );
    graph(
        "y.mtx",
        "%%MatrixMarket matrix coordinate real odd\n",
        &["y.mtx:1", "symmetry"],
    );
    graph("none.mtx", head, &["none.mtx", "size line"]);
    graph(
        "size.mtx",
        &format!("{head}3 x 1\n"),
        &["size.mtx:2", "three sizes"],
    );
    graph(
        "square.mtx",
        &format!("{head}% c\n3 4 1\n1 2\n"),
        &["square.mtx:3", "rows as columns"],
    );
    graph(
        "range.mtx",
        &format!("{head}3 3 1\n1 4\n"),
        &["range.mtx:3", "vertices in 1..=3", "1 4"],
    );
    graph(
        "zero.mtx",
        &format!("{head}3 3 1\n0 1\n"),
        &["zero.mtx:3", "vertices in 1..=3"],
    );
    graph(
        "value.mtx",
        &format!("{head}3 3 1\n1 2 5\n"),
        &["value.mtx:3", "row, column and 0 numbers"],
    );
    graph(
        "few.mtx",
        &format!("{head}3 3 2\n1 2\n"),
        &["few.mtx", "promises 2 entries, 1"],
    );
    graph(
        "many.mtx",
        &format!("{head}3 3 1\n1 2\n2 3\n"),
        &["many.mtx:4", "the end after 1"],
    );
}

#[test]
fn options_that_cannot_be_used() {
    let file = "g.txt";
    let run = |args: &[&str], pieces: &[&str]| {
        let mut all = vec!["graph", "--backend", "model", file];
        all.extend(args);
        expect(file, "0 1\n1 2\n", &all, 2, pieces);
    };
    run(&["--root", "7"], &["root 7", "0..=2"]);
    run(&["--vram", "much"], &["much", "expected a size"]);
    run(&["--vram", "1K"], &["vram of 1024 bytes"]);
    run(&["--link", "gen9x3"], &["gen9x3", "genGxL"]);
    run(&["--policy", "none"], &["none", "migrate", "remote"]);
    run(&["--wave", "w.fst"], &["no waves"]);
    run(
        &["--json", "no/such/folder/x.json"],
        &["cannot write", "x.json"],
    );
    run(
        &["--log", "no/such/folder/x.log"],
        &["cannot write", "x.log"],
    );
    run(&["--no-such-flag"], &["--no-such-flag"]);
    expect(
        file,
        "",
        &["graph", "--backend", "fpga"],
        2,
        &["fpga", "model"],
    );
    expect(file, "", &["dance"], 2, &["dance"]);
    expect(file, "", &["run"], 2, &["SCRIPT"]);
}

#[test]
fn scripts_that_cannot_be_used() {
    expect(
        "x",
        "",
        &["run", "--backend", "model", "none.rhai"],
        2,
        &["no script none.rhai"],
    );
    expect(
        "x",
        "",
        &["run", "--backend", "model", "."],
        2,
        &["no *.rhai script"],
    );
    script("let x = ;\n", 2, &["s.rhai:1"]);
    script("let x = 1;\nlet y = \"open;\n", 2, &["s.rhai:2"]);
}

#[test]
fn scripts_that_fail_say_where() {
    let whole = &["s.rhai:2", "cycle ", "seed 1", "0 passed, 1 failed"];
    script("// first\nassert(1 == 2, \"odd\");\n", 1, whole);
    script(
        "\nassert_eq(1, 2);\n",
        1,
        &["s.rhai:2", "assert_eq", "1 is not 2"],
    );
    script("\nassert_eq([1], [1, 2]);\n", 1, &["s.rhai:2", "assert_eq"]);
    script(
        "let p = process();\np.load(64);\n",
        1,
        &["s.rhai:2", "p.load", "SIGSEGV"],
    );
    script(
        "let p = process();\np.dance(64);\n",
        1,
        &["s.rhai:2", "dance"],
    );
    script(
        "let p = process();\nexpect_error(\"EPERM\", || p.load(64));\n",
        1,
        &["s.rhai:2", "SIGSEGV"],
    );
    script(
        "let p = process();\nexpect_error(\"EPERM\", || 1);\n",
        1,
        &["s.rhai:2", "it succeeded"],
    );
    script(
        "fn f(p) {\n  p.load(0)\n}\nf(process());\n",
        1,
        &["s.rhai:2", "p.load", "SIGSEGV"],
    );
    script(
        "let t = start(|| {\n  assert(false);\n});\nt.join();\n",
        1,
        &["s.rhai:2", "assert"],
    );
    script(
        "start(|| {\n  assert(false);\n});\nwait(10);\n",
        1,
        &["s.rhai:2", "assert"],
    );
    script("throw \"enough\";\n", 1, &["s.rhai:1", "enough"]);
    script(
        "let p = process();\nlet a = p.mmap(PAGE, \"rx\");\n",
        1,
        &["s.rhai:2", "p.mmap", "\"rx\""],
    );
    script(
        "let p = process();\np.mmap(PAGE, \"r\", #{up: 1});\n",
        1,
        &["s.rhai:2", "unknown option up"],
    );
    script(
        "process();\nmachine(#{vram: MIB});\n",
        1,
        &["s.rhai:2", "must come before"],
    );
    script(
        "machine(#{vram: 12345});\n",
        1,
        &["s.rhai:1", "vram of 12345"],
    );
}

#[test]
fn addresses_and_lengths_at_the_edge_are_errors_like_others() {
    let fails = |call: &str, errno: &str| {
        let text = format!(
            "let p = process();\nlet d = p.open(0);\nlet a = p.mmap(PAGE, \"rw\");\n{call};\n"
        );
        script(&text, 1, &["s.rhai:4", errno]);
    };
    fails("p.load(-1)", "SIGSEGV");
    fails("p.load(-8)", "SIGSEGV");
    fails("p.store(0x7fffffffffffffff, 1)", "SIGSEGV");
    fails("p.load(a, 3)", "size 3");
    fails("d.load(-8)", "EFAULT");
    fails("d.load(a, 16)", "size 16");
    fails("d.load(a + 1)", "SIGBUS");
    fails("p.fill(a, -1, 0)", "EINVAL");
    fails("p.fill(a, 1 << 60, 0)", "EINVAL");
    fails("p.fill(a + 1, 8, 0)", "multiples of 8");
    fails("p.mmap(0, \"rw\")", "EINVAL");
    fails("p.munmap(a + 1, PAGE)", "EINVAL");
    fails("d.snapshot(a, 5)", "EINVAL");
    fails("d.copy(a, a + 16, 1 << 50)", "EINVAL");
    fails("p.open(1)", "ENODEV");
    fails("wait(-5)", "EINVAL");
    let deep = format!("let x = {}1{};\n", "(".repeat(5000), ")".repeat(5000));
    script(&deep, 2, &["s.rhai:1"]);
    script("fn f(n) { f(n + 1) }\nf(0);\n", 1, &["s.rhai:", "overflow"]);
}

#[test]
fn a_program_that_loops_for_ever_is_reported() {
    let text = "let d = process().open(0);\nlet job = d.launch(\"spin\", [0]);\njob.wait();\n";
    let pieces = &[
        "s.rhai:3",
        "cycle limit of 100000 cycles",
        "warp 0",
        "pc 0x",
        "warps are idle",
    ];
    expect(
        "s.rhai",
        text,
        &[
            "run",
            "--backend",
            "model",
            "--max-cycles",
            "100000",
            "s.rhai",
        ],
        1,
        pieces,
    );
    let pieces = &["cycle limit of 5000 cycles", "warp 0"];
    expect(
        "g.txt",
        "0 1\n",
        &[
            "graph",
            "--backend",
            "model",
            "--max-cycles",
            "5000",
            "g.txt",
        ],
        1,
        pieces,
    );
}

#[cfg(feature = "rtl")]
#[test]
fn waves_that_cannot_be_written() {
    let run = |args: &[&str], pieces: &[&str]| expect("g.txt", "0 1\n", args, 2, pieces);
    run(
        &["graph", "g.txt", "--wave", "no/such/folder/w.fst"],
        &["cannot write", "w.fst"],
    );
    run(
        &["graph", "g.txt", "--wave", "w.txt"],
        &["w.txt", ".fst or .vcd"],
    );
    let text = "let d = process().open(0);\nd.launch(\"spin\", [0]).wait();\n";
    let pieces = &[
        "cycle limit of 50000 cycles",
        "warp 0",
        "pc 0x",
        "31 warps are idle",
    ];
    expect(
        "s.rhai",
        text,
        &["run", "--max-cycles", "50000", "s.rhai"],
        1,
        pieces,
    );
}
