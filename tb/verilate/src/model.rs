//! One verilated model: from SystemVerilog to a static library.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Profile, Verilator};

/// The folder of the repository, from the manifest folder of a crate in it.
///
/// # Panics
/// Outside the repository (a build script's environment is broken).
#[must_use]
pub fn repo_root() -> PathBuf {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    manifest
        .ancestors()
        .find(|dir| dir.join("regs/hmmu.toml").is_file())
        .map(Path::to_path_buf)
        .unwrap_or(manifest)
}

/// Clippy runs this build script, which has a folder of its own then: nothing will be linked, so that a
/// model need not be compiled once more.
#[must_use]
pub fn checking() -> bool {
    std::env::var_os("RUSTC_WORKSPACE_WRAPPER")
        .is_some_and(|wrapper| wrapper.to_string_lossy().contains("clippy"))
}

/// A model to be built.
#[derive(Clone, Debug)]
pub struct Model {
    /// Class name, for example `Vblk_walker`.
    pub prefix: String,
    /// Top module.
    pub top: String,
    /// SystemVerilog files, in order, packages first.
    pub sources: Vec<PathBuf>,
    /// More arguments for Verilator.
    pub args: Vec<String>,
    /// C++ optimisation level.
    pub opt_level: u32,
    /// Builds with FST tracing.
    pub trace: bool,
    /// Records how often each branch is taken, or compiles for what was recorded.
    pub profile: Option<Profile>,
    /// C++ include folders beside Verilator's own.
    pub includes: Vec<PathBuf>,
}

impl Model {
    /// Runs Verilator and compiles the model and `extra` (a C++ file's text that may include
    /// `<prefix>.h`) into one static library in `out`, unless nothing has changed since the last time.
    /// Gives the folder with the generated headers.
    ///
    /// # Errors
    /// Verilator's or the compiler's own message.
    pub fn build(
        &self,
        verilator: &Verilator,
        out: &Path,
        extra: impl Fn(&Path) -> Result<String, String>,
    ) -> Result<PathBuf, String> {
        let dir = out.join(&self.prefix);
        let stamp_file = dir.join("stamp");
        let library = format!("{}_model", self.prefix.to_lowercase());
        let stamp = self.stamp(verilator)?;
        if matches!(self.profile, Some(Profile::Record(_))) {
            println!("cargo:rustc-link-lib=gcov");
        }
        if std::fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp) {
            println!("cargo:rustc-link-search=native={}", dir.display());
            println!("cargo:rustc-link-lib=static={library}");
            return Ok(dir);
        }
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        self.verilate(verilator, &dir)?;
        let wrapper = dir.join(format!("{}_wrapper.cpp", self.prefix));
        std::fs::write(&wrapper, extra(&dir)?)
            .map_err(|e| format!("{}: {e}", wrapper.display()))?;
        // What runs once (Verilator's `__Slow` files) is not worth the compiler's time.
        let (slow, fast): (Vec<PathBuf>, Vec<PathBuf>) = cpp_files(&dir)?
            .into_iter()
            .partition(|file| file.to_string_lossy().ends_with("__Slow.cpp"));
        let objects = self
            .compiler(verilator, 0, &dir, &slow)
            .try_compile_intermediates()
            .map_err(|e| format!("{}: {e}", self.prefix))?;
        let mut build = self.compiler(verilator, self.opt_level, &dir, &fast);
        for object in objects {
            build.object(object);
        }
        if let Some(profile) = &self.profile {
            profile.apply(&mut build)?;
        }
        build
            .try_compile(&library)
            .map_err(|e| format!("{}: {e}", self.prefix))?;
        std::fs::write(&stamp_file, stamp).map_err(|e| format!("{}: {e}", stamp_file.display()))?;
        Ok(dir)
    }

    fn compiler(
        &self,
        verilator: &Verilator,
        opt_level: u32,
        dir: &Path,
        files: &[PathBuf],
    ) -> cc::Build {
        let mut build = compiler(verilator, opt_level);
        build
            .include(dir)
            .includes(&self.includes)
            .out_dir(dir)
            .files(files);
        if self.trace {
            build.define("VM_TRACE", "1").define("VM_TRACE_FST", "1");
        }
        build
    }

    /// Runs Verilator for its messages only: nothing is written and nothing compiled.
    ///
    /// # Errors
    /// Verilator's own message.
    pub fn lint(&self, verilator: &Verilator) -> Result<(), String> {
        let mut command = self.command(verilator);
        command.arg("--lint-only");
        self.run(command, verilator)
    }

    fn verilate(&self, verilator: &Verilator, dir: &Path) -> Result<(), String> {
        let mut command = self.command(verilator);
        command.arg("--cc").arg("--Mdir").arg(dir);
        command.args([
            "-O3",
            "--x-assign",
            "fast",
            "--x-initial",
            "fast",
            "--noassert-case",
        ]);
        if self.trace {
            command.args(["--trace-fst", "--trace-structs"]);
        }
        self.run(command, verilator)
    }

    /// What each run of Verilator has.
    fn command(&self, verilator: &Verilator) -> Command {
        let mut command = Command::new(&verilator.program);
        command
            .env("VERILATOR_ROOT", &verilator.root)
            .args(["--assert", "-Wall", "--prefix", &self.prefix])
            .args(["--top-module", &self.top])
            .args(&self.args);
        command
    }

    fn run(&self, mut command: Command, verilator: &Verilator) -> Result<(), String> {
        command.args(&self.sources);
        let run = command
            .output()
            .map_err(|e| format!("{}: {e}", verilator.program.display()))?;
        if run.status.success() {
            Ok(())
        } else {
            Err(format!(
                "verilator failed for {}:\n{}{}",
                self.top,
                String::from_utf8_lossy(&run.stdout),
                String::from_utf8_lossy(&run.stderr)
            ))
        }
    }

    /// What the library depends on, as text: another text means another library.
    fn stamp(&self, verilator: &Verilator) -> Result<String, String> {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        verilator.root.hash(&mut hasher);
        for source in &self.sources {
            let text = std::fs::read(source).map_err(|e| format!("{}: {e}", source.display()))?;
            text.hash(&mut hasher);
        }
        Ok(format!("{:016x}", hasher.finish()))
    }
}

/// Compiles Verilator's own run-time library into `out`.
///
/// # Errors
/// The compiler's message.
pub fn compiled(
    verilator: &Verilator,
    out: &Path,
    trace: bool,
    includes: &[PathBuf],
) -> Result<(), String> {
    let include = verilator.root.join("include");
    let mut build = compiler(verilator, 2);
    build.includes(includes).out_dir(out);
    let mut files = vec!["verilated.cpp", "verilated_threads.cpp"];
    if trace {
        files.push("verilated_fst_c.cpp");
    }
    for file in files {
        build.file(include.join(file));
    }
    let stop = repo_root().join("tb/verilate/cpp/stop.cpp");
    println!("cargo:rerun-if-changed={}", stop.display());
    build.file(stop);
    build
        .try_compile("hmmu_verilated_rt")
        .map_err(|e| format!("Verilator's run-time library: {e}"))
}

fn compiler(verilator: &Verilator, opt_level: u32) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(opt_level)
        .debug(false)
        .warnings(false)
        .include(verilator.root.join("include"))
        .include(verilator.root.join("include/vltstd"))
        .define("VL_USER_STOP", None)
        .define("VL_USER_FATAL", None)
        .define("VL_USER_FINISH", None)
        .define("VERILATOR", "1");
    build
}

fn cpp_files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "cpp"))
        .collect();
    files.sort();
    Ok(files)
}
