//! A program as a scenario script.

use std::fmt::Write;

use super::op::{At, BASE, Len, Op};
use super::program::Program;

/// What scripts lack, as functions of theirs.
const FUNCTIONS: &str = "\
fn read(p, a, n) { let i = 0; while i + 8 <= n { p.load(a + i); i += 8; } while i < n { p.load(a + i, 1); i += 1; } }
fn sum(d, a, n, step) { for k in 0..n { d.load(a + k * step); } }
";

/// Writes a program with one thread as a script for `hmmu run`. What each operation gives is not compared there, but the
/// scenario's own oracle follows every byte, and the rules that always hold are checked. None for a program with
/// several threads.
#[must_use]
pub fn script(program: &Program) -> Option<String> {
    let [ops] = program.lanes.as_slice() else {
        return None;
    };
    let shape = &program.shape;
    let mut text = format!(
        "// Made from seed {}.\nmachine(#{{devices: {}, vram: {}, ram: {}}});\n{FUNCTIONS}let B = {BASE:#x};\nlet pins = [];\n",
        program.seed, shape.devices, shape.vram, shape.ram
    );
    let mut names: Vec<String> = Vec::new();
    for op in ops {
        for name in declared(op) {
            if !names.contains(&name) {
                let _ = writeln!(text, "let {name} = ();");
                names.push(name);
            }
        }
        match call(op, &names) {
            Some(call) => {
                let _ = writeln!(
                    text,
                    "try {{ {call} }} catch (e) {{ if e.errno == \"ORACLE\" {{ throw e; }} }}"
                );
            }
            None => {
                let _ = writeln!(text, "// {op}: scripts have no such call");
            }
        }
    }
    Some(text)
}

fn call(op: &Op, names: &[String]) -> Option<String> {
    Some(match *op {
        Op::Spawn { p } => format!("if p{p} == () {{ {op}; }}"),
        Op::Fork { child, .. } => format!("if p{child} == () {{ {op}; }}"),
        Op::Open { p, d } => format!("if p{p}d{d} == () {{ {op}; }}"),
        Op::Close { p, d } => format!("{op}; p{p}d{d} = ();"),
        Op::File { f, .. } => format!("if f{f} == () {{ {op}; }}"),
        Op::Exit { p } => {
            let mine = format!("p{p}d");
            let gone: Vec<String> = names
                .iter()
                .filter(|name| name.starts_with(&mine))
                .map(|name| format!(" {name} = ();"))
                .collect();
            format!("{op}; p{p} = ();{}", gone.concat())
        }
        Op::Pin { p, at, len } => format!("pins.push(p{p}.pin({}, {}));", At(at), Len(len)),
        Op::Unpin { n } => {
            format!("if !pins.is_empty() {{ pins.remove({n} % pins.len()).release(); }}")
        }
        Op::Read { p, at, len } => format!("read(p{p}, {}, {len});", At(at)),
        Op::DevSum {
            p,
            d,
            at,
            words,
            stride,
        } => format!("sum(p{p}d{d}, {}, {words}, {stride});", At(at)),
        Op::Release { d } => format!("{}.release();", any_device(names, d)?),
        Op::FailAlloc { d, n } => {
            format!("{}.inject(#{{alloc: {n}}});", any_device(names, d)?)
        }
        Op::Get { .. }
        | Op::ClearSoft { .. }
        | Op::Reclaim { .. }
        | Op::Merge
        | Op::Lock { .. }
        | Op::Unlock { .. }
        | Op::FileRead { .. } => return None,
        _ => format!("{op};"),
    })
}

/// The variables that an operation needs.
fn declared(op: &Op) -> Vec<String> {
    match *op {
        Op::Spawn { p } => vec![format!("p{p}")],
        Op::File { f, .. } => vec![format!("f{f}")],
        Op::Fork { p, child } => vec![format!("p{p}"), format!("p{child}")],
        Op::Open { p, d } => vec![format!("p{p}"), format!("p{p}d{d}")],
        _ => Vec::new(),
    }
}

fn any_device(names: &[String], d: usize) -> Option<&String> {
    let ending = format!("d{d}");
    names.iter().find(|name| name.ends_with(&ending))
}
