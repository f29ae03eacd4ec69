//! Where Verilator is.

use std::path::{Path, PathBuf};

/// A Verilator installation.
#[derive(Clone, Debug)]
pub struct Verilator {
    /// The program (`verilator_bin`, which needs no perl).
    pub program: PathBuf,
    /// `VERILATOR_ROOT`: the folder with `include/`.
    pub root: PathBuf,
}

impl Verilator {
    fn at(root: &Path) -> Option<Self> {
        let program = root.join("bin/verilator_bin");
        (program.is_file() && root.join("include/verilated.cpp").is_file()).then(|| Self {
            program,
            root: root.to_path_buf(),
        })
    }
}

/// Finds Verilator: `VERILATOR_ROOT` if it is set, else what `make setup` put into `.tools/`.
///
/// # Errors
/// A message for the user that says where it was looked for and what to do.
pub fn locate(repo: &Path) -> Result<Verilator, String> {
    if let Some(root) = std::env::var_os("VERILATOR_ROOT") {
        let root = PathBuf::from(root);
        return Verilator::at(&root).ok_or(format!(
            "VERILATOR_ROOT is {} but holds no bin/verilator_bin and include/verilated.cpp",
            root.display()
        ));
    }
    let tools = repo.join(".tools/verilator");
    Verilator::at(&tools).ok_or(format!(
        "no Verilator: {} does not exist and VERILATOR_ROOT is not set; run `make setup`",
        tools.display()
    ))
}
