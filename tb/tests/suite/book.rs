//! Runs the book, the commands and scripts of docs/, and follows its links.
//!
//! A fenced block is run by its language: `console` (lines that begin with `$ ` are commands, the rest is what they
//! print), `rhai` (a script, which must pass), `rust` (must include a part of a crate's examples, which have tests of
//! their own). Comments before a block change that:
//!
//! - `<!-- file NAME -->`: the block becomes a file in the page's folder and is run by a later command,
//! - `<!-- status N -->`: the commands end with this status (0 if not told),
//! - `<!-- rtl -->`: only for builds with the verilated device,
//! - `<!-- needs PROGRAM -->`: only where this program is,
//! - `<!-- not run: REASON -->`.
//!
//! Output is compared line by line but for spaces and numbers, which change with each version; `...` stands for any
//! lines, and so does the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{folder, said};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of docs/, without the decisions.
fn pages() -> Vec<PathBuf> {
    markdown(&root().join("docs"))
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut pages: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    pages.sort();
    pages
}

/// A block of code and the comments before it.
#[derive(Debug, Default)]
struct Block {
    language: String,
    text: String,
    marks: Vec<String>,
}

impl Block {
    fn mark(&self, name: &str) -> Option<&str> {
        let found = |mark: &String| mark.strip_prefix(name).is_some();
        self.marks
            .iter()
            .find(|mark| found(mark))
            .map(|mark| mark[name.len()..].trim())
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut marks = Vec::new();
    let mut open: Option<Block> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => info.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                open = Some(Block {
                    language,
                    marks: std::mem::take(&mut marks),
                    text: String::new(),
                });
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            Event::Text(text) => match &mut open {
                Some(block) => block.text.push_str(&text),
                None => marks.clear(),
            },
            Event::Html(html) => {
                let comment = html
                    .trim()
                    .strip_prefix("<!--")
                    .and_then(|rest| rest.strip_suffix("-->"));
                marks.extend(comment.map(|mark| mark.trim().to_string()));
            }
            _ => {}
        }
    }
    blocks
}

/// A command and the lines that it is shown to print.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    command: String,
    output: Vec<String>,
}

fn commands(text: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(Shown {
                command: command.to_string(),
                output: Vec::new(),
            });
        } else if let Some(shown) = commands.last_mut() {
            shown.output.push(line.to_string());
        } else {
            panic!("a console block that begins with no command: {line}");
        }
    }
    commands
}

/// A line without what changes from version to version: numbers become `#`, spaces one.
fn bare(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        // Once a number has begun, its digits, letters and points belong to it: 0x7f00, 1.12, 0w52.
        let mut inside = false;
        for c in word.chars() {
            let digit = c.is_ascii_digit();
            if digit && !inside {
                out.push('#');
            }
            inside = digit || inside && (c.is_ascii_alphanumeric() || c == '.');
            if !inside {
                out.push(c);
            }
        }
    }
    out
}

/// Does the output have these lines, in this order, with nothing between them but where `...` stands?
fn prints(output: &str, shown: &[String]) -> Result<(), String> {
    let have: Vec<String> = output.lines().map(bare).collect();
    let mut at = 0;
    let mut skip = false;
    for line in shown {
        if line.trim() == "..." {
            skip = true;
            continue;
        }
        let want = bare(line);
        let found = if skip {
            have[at..].iter().position(|line| *line == want)
        } else {
            (have.get(at) == Some(&want)).then_some(0)
        };
        match found {
            Some(further) => at += further + 1,
            None => return Err(format!("no line {line:?} in its place in:\n{output}")),
        }
        skip = false;
    }
    Ok(())
}

fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// What became of the blocks.
#[derive(Debug, Default)]
struct Tally {
    commands: u32,
    scripts: u32,
    includes: u32,
    left_out: Vec<String>,
}

/// One page and the folder that its commands run in, which looks like a checkout from inside.
struct Page {
    name: String,
    folder: PathBuf,
}

impl Page {
    fn new(path: &Path) -> Self {
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .to_string();
        let folder = folder(&format!("book-{name}"));
        std::os::unix::fs::symlink(
            root().join("tb").canonicalize().expect("tb"),
            folder.join("tb"),
        )
        .expect("a link");
        Self { name, folder }
    }

    fn shell(&self, command: &str) -> std::process::Output {
        let hmmu = Path::new(env!("CARGO_BIN_EXE_hmmu"));
        let mut path = vec![hmmu.parent().expect("a folder").to_path_buf()];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        // Both streams as a terminal shows them.
        Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(&self.folder)
            .env("PATH", std::env::join_paths(path).expect("a path"))
            .output()
            .expect("sh runs")
    }

    fn run(&self, block: &Block, tally: &mut Tally) {
        let name = &self.name;
        let is_run = ["console", "rhai", "rust"].contains(&block.language.as_str());
        if let Some(reason) = block.mark("not run:") {
            assert!(!reason.is_empty(), "{name}: no reason");
            tally.left_out.push(format!("{name}: {reason}"));
            return;
        }
        if let Some(file) = block.mark("file ") {
            std::fs::write(self.folder.join(file), &block.text).expect("a file");
            return;
        }
        if !is_run {
            let command = block.text.lines().find(|line| {
                let line = line.trim_start().trim_start_matches("$ ");
                ["hmmu ", "make ", "cargo "]
                    .iter()
                    .any(|program| line.starts_with(program))
            });
            assert!(command.is_none(), "{name}: nobody runs {command:?}");
            return;
        }
        if block.mark("rtl").is_some() && !cfg!(feature = "rtl") {
            tally.left_out.push(format!("{name}: no verilated device"));
            return;
        }
        if let Some(program) = block.mark("needs ").filter(|program| !is_program(program)) {
            tally.left_out.push(format!("{name}: no {program}"));
            return;
        }
        let status: i32 = block
            .mark("status ")
            .map_or(0, |status| status.parse().expect("a status"));
        match block.language.as_str() {
            "console" => {
                for shown in commands(&block.text) {
                    let output = self.shell(&shown.command);
                    let text = said(&output);
                    let what = format!("{name}: {}", shown.command);
                    assert_eq!(output.status.code(), Some(status), "{what}\n{text}");
                    if let Err(problem) = prints(&text, &shown.output) {
                        panic!("{what}: {problem}");
                    }
                    tally.commands += 1;
                }
            }
            "rhai" => {
                std::fs::write(self.folder.join("block.rhai"), &block.text).expect("a file");
                let output = self.shell("hmmu run block.rhai --backend model");
                assert_eq!(
                    output.status.code(),
                    Some(status),
                    "{name}: {}\n{}",
                    block.text,
                    said(&output)
                );
                tally.scripts += 1;
            }
            _ => {
                let text = block.text.trim();
                let path = text
                    .strip_prefix("{{#include ../")
                    .and_then(|rest| rest.strip_suffix("}}"))
                    .unwrap_or_else(|| panic!("{name}: nobody compiles {text}"));
                let (file, anchor) = path.split_once(':').unwrap_or((path, ""));
                assert!(file.contains("/examples/"), "{name}: {file} is no example");
                let source = read(&root().join(file));
                assert!(
                    anchor.is_empty() || source.contains(&format!("ANCHOR: {anchor}\n")),
                    "{name}: {file} has no {anchor}"
                );
                tally.includes += 1;
            }
        }
    }
}

#[test]
fn what_the_book_shows_is_what_happens() {
    let mut tally = Tally::default();
    for path in pages() {
        let blocks = blocks(&read(&path));
        if blocks.is_empty() {
            continue;
        }
        let page = Page::new(&path);
        for (at, block) in blocks.iter().enumerate() {
            if let Some(file) = block.mark("file ") {
                let used = blocks[at..].iter().any(|later| {
                    later.language == "console" && later.text.contains(&format!(" {file}"))
                });
                assert!(used, "{}: nobody uses {file}", page.name);
            }
            page.run(block, &mut tally);
        }
    }
    println!(
        "{} commands, {} scripts, {} parts of examples; not run: {:#?}",
        tally.commands, tally.scripts, tally.includes, tally.left_out
    );
    assert!(tally.commands >= 10, "{tally:?}");
    // Each is listed with its reason: who adds one thinks about it.
    let excused = tally
        .left_out
        .iter()
        .filter(|reason| !reason.contains(": no "))
        .count();
    assert!(excused <= 12, "{:#?}", tally.left_out);
}

/// The names of a page's headings, as mdBook and GitHub make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let name: String = heading
                    .take()
                    .unwrap_or_default()
                    .to_lowercase()
                    .chars()
                    .filter_map(|c| match c {
                        ' ' => Some('-'),
                        c if c.is_alphanumeric() || "-_".contains(c) => Some(c),
                        _ => None,
                    })
                    .collect();
                anchors.insert(name);
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    anchors
}

fn links(text: &str) -> Vec<String> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url.to_string())
            }
            _ => None,
        })
        .filter(|link| !link.contains("://"))
        .collect()
}

/// Checks the links of pages. Within the book they may lead to the book only.
fn check_links(pages: &[PathBuf], book: Option<&Path>) {
    for page in pages {
        let text = read(page);
        for link in links(&text) {
            let what = format!("{}: {link}", page.display());
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.parent().expect("a folder").join(file)
            };
            let target = target.canonicalize();
            let target = target.unwrap_or_else(|error| panic!("{what}: {error}"));
            if let Some(book) = book {
                assert!(
                    target.is_file() && target.starts_with(book),
                    "{what}: not in the book"
                );
            }
            if !anchor.is_empty() {
                assert!(
                    anchors(&read(&target)).contains(anchor),
                    "{what}: no such heading"
                );
            }
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let docs = root().join("docs").canonicalize().expect("docs");
    check_links(&pages(), Some(&docs));
    check_links(&markdown(&docs.join("decisions")), Some(&docs));
    check_links(
        &[root().join("README.md"), root().join("fpga/README.md")],
        None,
    );
}

#[test]
fn every_page_is_in_the_summary() {
    let docs = root().join("docs");
    let listed: BTreeSet<String> = links(&read(&docs.join("SUMMARY.md"))).into_iter().collect();
    for page in pages() {
        let name = page
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .to_string();
        assert!(
            name == "SUMMARY.md" || listed.contains(&name),
            "docs/{name} is not in docs/SUMMARY.md"
        );
    }
}

#[test]
fn output_is_compared_but_for_numbers() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_string).collect() };
    let output = "a.rhai: passed (5067 cycles)\nrate   1.5 at 0x7f00\nend\n";
    for shown in [
        "a.rhai: passed (9 cycles)\nrate 99.25 at 0x1\nend",
        "...\nend",
        "a.rhai: passed (1 cycles)\n...",
        "a.rhai: passed (1 cycles)",
        "",
    ] {
        assert_eq!(prints(output, &lines(shown)), Ok(()), "{shown}");
    }
    for shown in [
        "a.rhai: FAILED (5067 cycles)",
        "end",
        "...\nend\nrate 1.5 at 0x7f00",
        "a.rhai: passed (5067 cycles)\nend",
    ] {
        assert!(prints(output, &lines(shown)).is_err(), "{shown}");
    }
    let block = &blocks("text\n\n<!-- status 1 -->\n<!-- rtl -->\n```console\n$ x\ny\n```\n")[0];
    assert_eq!(
        (block.mark("status "), block.mark("rtl")),
        (Some("1"), Some(""))
    );
    assert_eq!(
        commands(&block.text),
        [Shown {
            command: "x".into(),
            output: vec!["y".into()]
        }]
    );
}
