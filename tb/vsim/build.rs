//! Verilates each block of blocks.txt, or with the feature `blocks` off only `mmu_bench`. `HMMU_BLOCKS=a,b` in the
//! environment limits them; `HMMU_COMPACT=1` builds those that have a form for FPGAs (`Compact`) in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hmmu_verilate::{Model, checking, compiled, locate, repo_root};

struct Entry {
    name: String,
    files: Vec<String>,
    args: Vec<String>,
}

fn main() {
    if let Err(message) = build() {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let repo = repo_root();
    let rtl = repo.join("rtl");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let list = repo.join("tb/vsim/blocks.txt");
    for path in [&list, &repo.join("tb/vsim/cpp")] {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    println!("cargo:rerun-if-env-changed=HMMU_BLOCKS");
    println!("cargo:rerun-if-env-changed=HMMU_COMPACT");
    let compact = std::env::var_os("HMMU_COMPACT").is_some();
    println!("cargo:rerun-if-env-changed=VERILATOR_ROOT");
    let verilator = locate(&repo)?;
    let all = std::env::var_os("CARGO_FEATURE_BLOCKS").is_some();
    let chosen = if all {
        std::env::var("HMMU_BLOCKS").ok()
    } else {
        Some("mmu_bench".to_string())
    };
    let text = std::fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let mut built = Vec::new();
    let cpp = repo.join("tb/vsim/cpp");
    let entries = parse(&text)?;
    let names: Vec<String> = entries.iter().map(|e| e.name.clone()).collect();
    for entry in entries {
        if chosen
            .as_ref()
            .is_some_and(|c| !c.split(',').any(|n| n == entry.name))
        {
            continue;
        }
        let mut sources = vec![
            rtl.join("lint.vlt"),
            rtl.join("gen/hmmu_regs_pkg.sv"),
            rtl.join("hmmu_pkg.sv"),
        ];
        sources.extend(entry.files.iter().map(|f| rtl.join(f)));
        for source in &sources {
            println!("cargo:rerun-if-changed={}", source.display());
        }
        let top = entry.files.last().map_or("", String::as_str);
        let top = Path::new(top)
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default();
        let prefix = format!("Vblk_{}", entry.name);
        let mut args = vec!["-Wno-UNUSEDPARAM".to_string()];
        args.extend(entry.args);
        let both = names.contains(&format!("{}_compact", entry.name));
        if compact && !both && !entry.name.ends_with("_compact") && has_form(sources.last())? {
            args.push("-GCompact=1".to_string());
        }
        let model = Model {
            prefix: prefix.clone(),
            top: top.to_string(),
            sources,
            args,
            opt_level: 1,
            trace: false,
            profile: None,
            includes: vec![cpp.clone()],
        };
        if checking() {
            model.lint(&verilator)?;
            continue;
        }
        model.build(&verilator, &out, |dir| wrapper(dir, &prefix, &entry.name))?;
        built.push(entry.name);
    }
    if checking() {
        return Ok(());
    }
    compiled(&verilator, &out, false, &[])?;
    let factory = out.join("factory.cpp");
    std::fs::write(&factory, factory_text(&built)).map_err(|e| format!("factory.cpp: {e}"))?;
    cxx_build::bridge("src/ffi.rs")
        .file(cpp.join("block.cpp"))
        .file(&factory)
        .include(&cpp)
        .include(verilator.root.join("include"))
        .std("c++17")
        .warnings(false)
        .try_compile("hmmu_blocks")
        .map_err(|e| e.to_string())
}

/// Does a block have a form for FPGAs? (Some are in the list in both forms.)
fn has_form(top: Option<&PathBuf>) -> Result<bool, String> {
    let Some(top) = top else { return Ok(false) };
    let text = std::fs::read_to_string(top).map_err(|e| format!("{}: {e}", top.display()))?;
    Ok(text
        .lines()
        .any(|l| l.contains("parameter bit") && l.contains("Compact")))
}

fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (name, rest) = line.split_once(':').ok_or(format!(
            "blocks.txt:{}: expected `name: file.sv ...`",
            number + 1
        ))?;
        let (args, files): (Vec<String>, Vec<String>) = rest
            .split_whitespace()
            .map(str::to_string)
            .partition(|w| w.starts_with('-'));
        entries.push(Entry {
            name: name.trim().to_string(),
            files,
            args,
        });
    }
    Ok(entries)
}

/// Reads the ports from the generated header and writes the class that reaches them by name.
fn wrapper(dir: &Path, prefix: &str, name: &str) -> Result<String, String> {
    let header = dir.join(format!("{prefix}.h"));
    let text =
        std::fs::read_to_string(&header).map_err(|e| format!("{}: {e}", header.display()))?;
    let mut ports = String::new();
    for line in text.lines() {
        let line = line.trim();
        let (input, rest) = if let Some(rest) = line.strip_prefix("VL_IN") {
            (true, rest)
        } else if let Some(rest) = line.strip_prefix("VL_OUT") {
            (false, rest)
        } else {
            continue;
        };
        let Some(inside) = rest
            .split_once('(')
            .and_then(|(_, r)| r.split_once(')'))
            .map(|(i, _)| i)
        else {
            continue;
        };
        let fields: Vec<&str> = inside.split(',').map(str::trim).collect();
        let [port, msb, lsb, ..] = fields.as_slice() else {
            continue;
        };
        let number = |s: &str| {
            s.parse::<u32>()
                .map_err(|_| format!("{name}: port line not understood: {line}"))
        };
        let width = number(msb)? - number(lsb)? + 1;
        let port = port.trim_start_matches('&');
        let _ = writeln!(
            ports,
            "        add(\"{port}\", &model.{port}, {width}, {input});"
        );
    }
    Ok(format!(
        "// Generated by build.rs.\n#include \"{prefix}.h\"\n#include \"block.h\"\nnamespace {{\n\
         struct Impl final : hmmu::Block {{\n    {prefix} model;\n    Impl() : model(&context, \"{name}\") {{\n{ports}    }}\n\
         ~Impl() override {{ Verilated::threadContextp(&context); model.final(); }}\n\
         void eval_model() override {{ model.eval(); }}\n}};\n}}\n\
         namespace hmmu {{ std::unique_ptr<Block> make_{name}() {{ return std::make_unique<Impl>(); }} }}\n"
    ))
}

fn factory_text(names: &[String]) -> String {
    let mut text =
        String::from("// Generated by build.rs.\n#include \"block.h\"\nnamespace hmmu {\n");
    for name in names {
        let _ = writeln!(text, "std::unique_ptr<Block> make_{name}();");
    }
    text.push_str("std::unique_ptr<Block> make_block(const std::string& name) {\n");
    for name in names {
        let _ = writeln!(text, "    if (name == \"{name}\") return make_{name}();");
    }
    text.push_str("    return nullptr;\n}\n}\n");
    text
}
