//! The built-in device programs, RV64IMA, assembled at run time.
//!
//! A thread starts with `a0` = address of the arguments (64-bit words), `a1` = its index, `a2` = number of
//! threads; its result goes to `a0` and `ecall` ends it. The job's result is the smallest of its threads'.

mod access;
mod bfs;
mod bulk;
mod flow;
mod gups;
mod hash_join;
mod histogram;
mod stream;
mod stride;
mod transpose;

pub use access::{fetch_add, load, store};
pub use bfs::{bfs_arrays, bfs_nodes, layout};
pub use bulk::{check, fill};
pub use flow::{chase, chases, spin};
pub use gups::{gups, gups_next};
pub use hash_join::{join_build, join_probe};
pub use histogram::histogram;
pub use stream::triad;
pub use stride::{stride, touch};
pub use transpose::transpose;

use dynasmrt::VecAssembler;
use dynasmrt::riscv::RiscvRelocation;
use hmmu_driver::Program;
use thiserror::Error;

/// An assembler for one kernel.
type Asm = VecAssembler<RiscvRelocation>;

/// A kernel that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KernelError {
    /// The assembler refused it.
    #[error("kernel {name} does not assemble: {text}")]
    Assembly {
        /// The kernel.
        name: &'static str,
        /// Why.
        text: String,
    },
    /// No such size.
    #[error("{name} of {size} bytes: expected {expected}")]
    Size {
        /// The kernel.
        name: &'static str,
        /// As asked.
        size: u64,
        /// What there is.
        expected: &'static str,
    },
}

/// Assembles what `emit` writes.
pub(crate) fn assemble(
    name: &'static str,
    emit: impl FnOnce(&mut Asm),
) -> Result<Program, KernelError> {
    let mut ops = Asm::new(0);
    emit(&mut ops);
    let code = ops.finalize().map_err(|error| KernelError::Assembly {
        name,
        text: error.to_string(),
    })?;
    Ok(Program {
        code,
        ..Program::default()
    })
}

/// What a kernel does to its process's memory, as far as it is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Writes the fill pattern: address, bytes, first word.
    Fill(u64, u64, u64),
    /// Writes something in a range: address, bytes.
    Writes(u64, u64),
    /// Adds to the word at an address: the result is the old value.
    FetchAdd(u64, u64),
    /// Reads one word, its result: address, bytes.
    Load(u64, u64),
    /// Writes one word: address, bytes, value.
    Store(u64, u64, u64),
}

/// A kernel that scripts start by name.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, for messages.
    pub args: &'static [&'static str],
    /// Threads that it runs in.
    pub threads: u32,
    /// Makes it.
    pub program: fn() -> Result<Program, KernelError>,
    /// What it does with these arguments.
    pub effect: fn(&[u64]) -> Effect,
}

/// Threads of the kernels that work on ranges: twice the hardware's warps.
pub const BULK_THREADS: u32 = 16;

/// All that scripts can start by name.
pub const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "load",
        args: &["address"],
        threads: 1,
        program: || load(8),
        effect: |a| Effect::Load(a[0], 8),
    },
    Builtin {
        name: "store",
        args: &["address", "value"],
        threads: 1,
        program: || store(8),
        effect: |a| Effect::Store(a[0], 8, a[1]),
    },
    Builtin {
        name: "fetch_add",
        args: &["address", "value"],
        threads: 1,
        program: || fetch_add(8),
        effect: |a| Effect::FetchAdd(a[0], a[1]),
    },
    Builtin {
        name: "fill",
        args: &["address", "bytes", "first"],
        threads: BULK_THREADS,
        program: fill,
        effect: |a| Effect::Fill(a[0], a[1] & !7, a[2]),
    },
    Builtin {
        name: "check",
        args: &["address", "bytes", "first"],
        threads: BULK_THREADS,
        program: check,
        effect: |_| Effect::None,
    },
    Builtin {
        name: "chase",
        args: &["head", "steps"],
        threads: 1,
        program: chase,
        effect: |_| Effect::None,
    },
    Builtin {
        name: "spin",
        args: &["rounds (0: for ever)"],
        threads: 1,
        program: spin,
        effect: |_| Effect::None,
    },
    Builtin {
        name: "count",
        args: &["address", "rounds", "threads' stride (0: one word for all)"],
        threads: 8,
        program: flow::count,
        effect: |a| Effect::Writes(a[0], a[2].saturating_mul(7).saturating_add(8)),
    },
];

/// The built-in kernel of this name.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|kernel| kernel.name == name)
}
