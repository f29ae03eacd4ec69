//! Device programs out of ELF files, made here without a compiler.

use crate::common::{folder, hmmu, said};
use hmmu::elf::{ElfError, load};
use hmmu::kernels;

/// The fields of a file that tests change.
struct Elf {
    class: u8,
    order: u8,
    kind: u16,
    machine: u16,
    flags: u32,
    entry: u64,
    /// Type, flags, address, bytes, size in memory.
    segments: Vec<(u32, u32, u64, Vec<u8>, u64)>,
}

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERP: u32 = 3;
const RELRO: u32 = 0x6474_e552;
const READ_EXECUTE: u32 = 5;
const READ_WRITE: u32 = 6;

impl Elf {
    /// A static-pie of this code at 0x1000, which begins with its entry point.
    fn of(code: &[u8]) -> Self {
        Self {
            class: 2,
            order: 1,
            kind: 3,
            machine: 243,
            flags: 0,
            entry: 0x1000,
            segments: vec![(LOAD, READ_EXECUTE, 0x1000, code.to_vec(), code.len() as u64)],
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0x7f, b'E', b'L', b'F', self.class, self.order, 1, 0];
        out.resize(16, 0);
        out.extend(self.kind.to_le_bytes());
        out.extend(self.machine.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        out.extend(self.entry.to_le_bytes());
        out.extend(64_u64.to_le_bytes()); // program headers
        out.extend(0_u64.to_le_bytes());
        out.extend(self.flags.to_le_bytes());
        for half in [64, 56, self.segments.len() as u16, 64, 0, 0] {
            out.extend(half.to_le_bytes());
        }
        let mut offset = (64 + 56 * self.segments.len()) as u64;
        for (kind, flags, addr, data, size) in &self.segments {
            out.extend(kind.to_le_bytes());
            out.extend(flags.to_le_bytes());
            for word in [offset, *addr, *addr, data.len() as u64, *size, 0x1000] {
                out.extend(word.to_le_bytes());
            }
            offset += data.len() as u64;
        }
        for (.., data, _) in &self.segments {
            out.extend(data);
        }
        out
    }
}

fn code() -> Vec<u8> {
    kernels::fill().expect("the kernel assembles").code
}

fn refused(change: impl FnOnce(&mut Elf)) -> ElfError {
    let mut elf = Elf::of(&code());
    change(&mut elf);
    load(&elf.bytes()).expect_err("refused")
}

#[test]
fn segments_become_one_image() {
    let mut elf = Elf::of(&code());
    elf.segments.insert(0, (LOAD, 4, 0x20, vec![1, 2, 3], 8));
    let program = load(&elf.bytes()).expect("a program");
    assert_eq!(program.entry, 0x1000);
    assert_eq!(program.code[0x20..0x24], [1, 2, 3, 0]);
    assert_eq!(program.code[0x1000..], code());
}

/// Adds data at 0x9000, with a relocation of its word at `at`, and the tables that name it.
fn relocated(elf: &mut Elf, kind: u64, at: u64) {
    let table: Vec<u8> = [at, kind, 0x9008]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let tags: Vec<u8> = [7, 0x8000, 8, 24, 0, 0_u64]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    elf.segments.push((LOAD, 4, 0x8000, table, 24));
    elf.segments.push((DYNAMIC, 4, 0x8100, tags, 48));
    elf.segments.push((
        LOAD,
        READ_WRITE,
        0x9000,
        5_u64.to_le_bytes().to_vec(),
        0x1000,
    ));
}

#[test]
fn data_is_writable_and_words_with_addresses_are_known() {
    let mut elf = Elf::of(&code());
    relocated(&mut elf, 3, 0x9010);
    let program = load(&elf.bytes()).expect("a program");
    // The image begins at 0x1000.
    assert_eq!(program.writable, [0x8000]);
    assert_eq!(program.relative, [0x8010]);
    assert_eq!(program.code[0x8000..0x8008], 5_u64.to_le_bytes());
    assert_eq!(program.code[0x8010..0x8018], 0x8008_u64.to_le_bytes());
    // What is read-only once it is relocated stays so.
    elf.segments.push((RELRO, 4, 0x9000, vec![], 0x1000));
    assert!(load(&elf.bytes()).expect("a program").writable.is_empty());
}

#[test]
fn what_cannot_run_is_refused_by_name() {
    assert!(matches!(load(b"#!/bin/sh\n"), Err(ElfError::Malformed(_))));
    assert!(matches!(load(&[]), Err(ElfError::Malformed(_))));
    assert!(matches!(refused(|e| e.class = 1), ElfError::Malformed(_)));
    assert!(matches!(refused(|e| e.order = 2), ElfError::Malformed(_)));
    assert_eq!(refused(|e| e.machine = 62), ElfError::Machine(62));
    assert_eq!(refused(|e| e.flags = 5), ElfError::Flags(5));
    assert_eq!(refused(|e| e.kind = 2), ElfError::Fixed(2));
    assert!(matches!(
        refused(|e| e.segments.clear()),
        ElfError::Image(_)
    ));
    assert!(matches!(refused(|e| e.entry = 0x1002), ElfError::Image(_)));
    assert!(matches!(
        refused(|e| e.entry = 0x900_0000),
        ElfError::Image(_)
    ));
    let interp = (INTERP, 4, 0, b"/lib/ld.so".to_vec(), 10);
    assert_eq!(
        refused(|e| e.segments.push(interp)),
        ElfError::Dynamic("an interpreter")
    );
    let dynamic = |tag: u64| {
        let words = [tag, 24, 0, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|w: &u64| w.to_le_bytes()).collect();
        (DYNAMIC, READ_WRITE, 0x8000, bytes, 32)
    };
    assert_eq!(
        refused(|e| e.segments.push(dynamic(1))),
        ElfError::Dynamic("a shared library")
    );
    assert!(matches!(
        refused(|e| e.segments.push(dynamic(18))),
        ElfError::Dynamic(_)
    ));
    let on_code = (LOAD, READ_WRITE, 0x1800, vec![1; 8], 16);
    assert_eq!(
        refused(|e| e.segments.push(on_code)),
        ElfError::Mixed(0x1000)
    );
    let symbolic = ElfError::Relocation {
        kind: 2,
        at: 0x9000,
    };
    assert_eq!(refused(|e| relocated(e, 2, 0x9000)), symbolic);
    assert!(matches!(
        refused(|e| relocated(e, 3, 0x9ff9)),
        ElfError::Malformed(_)
    ));
    let huge = (LOAD, 4, 0x9000, vec![], 1 << 30);
    assert!(matches!(
        refused(|e| e.segments.push(huge)),
        ElfError::Image(_)
    ));
    let wraps = (LOAD, 4, u64::MAX - 8, vec![], 64);
    assert!(matches!(
        refused(|e| e.segments.push(wraps)),
        ElfError::Image(_)
    ));
    // A file that ends too soon.
    let whole = Elf::of(&code()).bytes();
    for len in 0..whole.len() {
        assert!(load(&whole[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn scripts_run_them() {
    let folder = folder("elf");
    std::fs::write(folder.join("fill.elf"), Elf::of(&code()).bytes()).expect("written");
    std::fs::write(folder.join("text.elf"), "no program").expect("written");
    let script = r#"
let p = process();
let a = p.mmap(4 * PAGE, "rw");
p.store(a, 1);
let d = p.open(0);
d.launch("fill.elf", [a, 4 * PAGE, 9], #{ threads: 8 }).wait();
p.check(a, 4 * PAGE, 9);
d.launch("./fill.elf", [a, PAGE, 5]).wait();
d.check(a, PAGE, 5);
expect_error("ENOENT", || d.launch("none.elf", []));
expect_error("ENOEXEC", || d.launch("text.elf", []));
expect_error("ENOENT", || d.launch("none", []));
expect_error("EINVAL", || d.launch("fill.elf", ["a"]));
expect_error("EINVAL", || d.launch("fill.elf", [], #{ threads: 0 }));
expect_error("EINVAL", || d.launch("spin", [1], #{ threads: 2 }));
expect_error("EFAULT", || d.launch("fill.elf", [0x10000, PAGE, 5]).wait());
"#;
    std::fs::write(folder.join("s.rhai"), script).expect("written");
    let output = hmmu(&folder, &["run", "--backend", "model", "s.rhai"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_command_runs_them() {
    let folder = folder("kernel");
    std::fs::write(folder.join("fill.elf"), Elf::of(&code()).bytes()).expect("written");
    let check = kernels::check().expect("the kernel assembles").code;
    std::fs::write(folder.join("check.elf"), Elf::of(&check).bytes()).expect("written");
    let kernel = |args: &[&str]| hmmu(&folder, &[&["kernel", "--backend", "model"], args].concat());

    // 10 000 bytes from 7 on, by words.
    let filled = kernel(&[
        "fill.elf",
        "zero:10000",
        "10000",
        "7",
        "--threads",
        "8",
        "--save",
        "0=out.bin",
        "--json",
        "fill.json",
    ]);
    assert!(filled.status.success(), "{}", said(&filled));
    let want: Vec<u8> = (7..1257_u64).flat_map(u64::to_le_bytes).collect();
    assert_eq!(std::fs::read(folder.join("out.bin")).expect("saved"), want);
    let json = std::fs::read(folder.join("fill.json")).expect("written");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["threads"], 8);
    assert_eq!(json["stats"]["threads"], 8);
    assert_eq!(json["arguments"][1], 10000);
    assert!(json["cycles"].as_u64().is_some_and(|cycles| cycles > 0));

    // What was saved goes in again; the second file differs in one word.
    let checked = kernel(&[
        "check.elf",
        "file:out.bin",
        "10000",
        "0x7",
        "--threads",
        "8",
    ]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(said(&checked).contains(&format!("result       {} ", u64::MAX)));
    let mut other = want;
    other[5008] ^= 1;
    std::fs::write(folder.join("other.bin"), other).expect("written");
    let checked = kernel(&[
        "check.elf",
        "file:other.bin",
        "10000",
        "7",
        "--json",
        "c.json",
    ]);
    let json = std::fs::read(folder.join("c.json")).expect("written");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let (result, at) = (json["result"].as_u64(), json["arguments"][0].as_u64());
    assert_eq!(result, at.map(|at| at + 5008), "{}", said(&checked));
}

#[test]
fn the_command_says_what_it_cannot_run() {
    let folder = folder("kernel_errors");
    let mut fixed = Elf::of(&code());
    std::fs::write(folder.join("fill.elf"), fixed.bytes()).expect("written");
    fixed.kind = 2;
    std::fs::write(folder.join("fixed.elf"), fixed.bytes()).expect("written");
    let refused = |args: &[&str], status: i32, words: &[&str]| {
        let output = hmmu(&folder, &[&["kernel", "--backend", "model"], args].concat());
        let text = said(&output);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{args:?}: {text}");
        }
    };
    refused(&["none.elf"], 2, &["cannot read none.elf"]);
    refused(&["fixed.elf"], 2, &["fixed.elf", "-fpie"]);
    refused(&["fill.elf", "1x"], 2, &["1x", "zero:SIZE"]);
    refused(&["fill.elf", "zero:0"], 2, &["at least one"]);
    refused(&["fill.elf", "zero:8G"], 2, &["bytes of memory"]);
    refused(&["fill.elf", "file:none"], 2, &["cannot read none"]);
    refused(&["fill.elf", "--threads", "0"], 2, &["threads"]);
    refused(
        &["fill.elf", "5", "--save", "0=o"],
        2,
        &["argument 0", "no memory"],
    );
    refused(
        &["fill.elf", "zero:8", "--save", "1=o"],
        2,
        &["argument 1", "no memory"],
    );
    refused(
        &["fill.elf", "zero:8", "--save", "0=none/o"],
        2,
        &["cannot write none/o"],
    );
    refused(&["fill.elf", "--link", "gen9x1"], 2, &["gen9x1"]);
    // The program itself fails: an address that the process does not have.
    refused(
        &["fill.elf", "0x10000", "8", "1"],
        1,
        &["fill.elf", "EFAULT", "0x10000"],
    );
}
