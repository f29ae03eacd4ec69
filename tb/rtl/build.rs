//! Verilates the whole device (rtl/files.f and the simulation wrapper). `HMMU_RTL="NumCu=1 Warps=4"` in the
//! environment builds one of another size: parameters of hmmu_sim_top. `HMMU_RTL=small` takes those of the
//! configuration rtl/config/small. `HMMU_PROFILE=record:FOLDER|use:FOLDER` is for tools/fast.sh.

use std::path::PathBuf;

use hmmu_verilate::{Model, Profile, checking, compiled, locate, repo_root};

fn main() {
    if let Err(message) = build() {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

/// The lines of a list, without comments.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
}

fn build() -> Result<(), String> {
    let repo = repo_root();
    let rtl = repo.join("rtl");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let cpp = repo.join("tb/rtl/cpp");
    println!("cargo:rerun-if-changed={}", cpp.display());
    println!("cargo:rerun-if-env-changed=VERILATOR_ROOT");
    println!("cargo:rerun-if-env-changed=HMMU_RTL");
    let mut sizes = std::env::var("HMMU_RTL").unwrap_or_default();
    if !sizes.is_empty() && !sizes.contains('=') {
        let config = rtl.join("config").join(sizes.trim());
        println!("cargo:rerun-if-changed={}", config.display());
        let text = std::fs::read_to_string(&config)
            .map_err(|e| format!("HMMU_RTL: {}: {e}", config.display()))?;
        sizes = entries(&text).collect::<Vec<_>>().join(" ");
    }
    let mut args: Vec<String> = sizes
        .split_whitespace()
        .map(|size| format!("-G{size}"))
        .collect();
    if !args.is_empty() {
        // Numbers of warps have as many bits as the largest unit needs.
        args.extend([
            "-Wno-WIDTHTRUNC".to_string(),
            "-Wno-UNUSEDSIGNAL".to_string(),
        ]);
    }
    let verilator = locate(&repo)?;
    let list = rtl.join("files.f");
    println!("cargo:rerun-if-changed={}", list.display());
    let text = std::fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let mut sources = vec![rtl.join("lint.vlt")];
    sources.extend(entries(&text).map(|file| rtl.join(file)));
    sources.extend(["mmu_probe.sv", "hmmu_sim_top.sv"].map(|file| rtl.join(file)));
    for source in &sources {
        println!("cargo:rerun-if-changed={}", source.display());
    }
    // The C headers come with the crates that build the two libraries.
    let includes: Vec<PathBuf> = ["DEP_Z_INCLUDE", "DEP_LZ4_INCLUDE"]
        .iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from)
        .collect();
    let model = Model {
        prefix: "Vhmmu_sim_top".to_string(),
        top: "hmmu_sim_top".to_string(),
        sources,
        args,
        opt_level: 2,
        trace: true,
        profile: Profile::from_env()?,
        includes: includes.clone(),
    };
    if checking() {
        return model.lint(&verilator);
    }
    let dir = model.build(&verilator, &out, |_| {
        Ok("// Nothing beside the model.\n".to_string())
    })?;
    compiled(&verilator, &out, true, &includes)?;
    cxx_build::bridge("src/ffi.rs")
        .file(cpp.join("sim.cpp"))
        .include(&cpp)
        .include(&dir)
        .includes(&includes)
        .include(verilator.root.join("include"))
        .include(verilator.root.join("include/vltstd"))
        .define("VM_TRACE", "1")
        .define("VM_TRACE_FST", "1")
        .std("c++17")
        .warnings(false)
        .opt_level(2)
        .try_compile("hmmu_device")
        .map_err(|e| e.to_string())
}
