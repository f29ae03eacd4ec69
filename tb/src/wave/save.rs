//! Files beside a wave that open it with useful groups: GTKWave's save file and Surfer's command file.

use std::fmt::Write;
use std::path::Path;

use super::groups::{Group, Shown};

/// A moment to show: name and picoseconds.
pub type Moment = (String, u64);

/// GTKWave's flags of a signal: hexadecimal, to the right; and the value's name where it has one.
const HEX: u64 = 0x22;
const NAMED: u64 = 1 << 32;
/// Its flags of text.
const TEXT: u64 = 0x820;
/// Its flags of a group's beginning and end.
const BEGIN: u64 = 0x80_0200;
const END: u64 = 0x100_0200;
/// Each pixel of the screen is 2 to this power of picoseconds: half a cycle.
const ZOOM: u32 = 11;
/// Pixels to the left of the first mark.
const LEFT: u64 = 400;

/// A save file of GTKWave: `gtkwave WAVE FILE`.
#[must_use]
pub fn gtkwave(wave: &Path, groups: &[Group], start: u64, moments: &[Moment]) -> String {
    let mut text = String::from("[*] hmmu: gtkwave WAVE FILE\n");
    let name = wave.file_name().unwrap_or_default().to_string_lossy();
    let at = |n: usize| moments.get(n).map(|(_, ps)| *ps);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "[dumpfile] \"{name}\"");
    let from = at(0).map_or(start, |ps| ps.saturating_sub(LEFT << ZOOM).max(start));
    let _ = writeln!(text, "[timestart] {from}");
    // The zoom, the cursor, and the markers A to Z; -1 for none.
    let _ = write!(text, "*-{ZOOM}.000000");
    let place = |ps: Option<u64>| ps.map_or("-1".to_string(), |ps| ps.to_string());
    let _ = write!(text, " {}", place(at(0)));
    for n in 0..26 {
        let _ = write!(text, " {}", place(at(n)));
    }
    text.push('\n');
    for ((name, _), letter) in moments.iter().zip('A'..='Z') {
        let _ = writeln!(text, "[markername] {letter}{name}");
    }
    for group in groups {
        let _ = writeln!(text, "@{BEGIN:x}\n-{}", group.title);
        for signal in &group.signals {
            let flags = match signal {
                Shown { text: true, .. } => TEXT,
                Shown { named: true, .. } => HEX | NAMED,
                _ => HEX,
            };
            let _ = writeln!(text, "@{flags:x}\n{}{}", signal.name, signal.range);
        }
        let _ = writeln!(text, "@{END:x}\n-{}", group.title);
    }
    text
}

/// A command file of Surfer: `surfer WAVE --command-file FILE`.
#[must_use]
pub fn surfer(groups: &[Group], moments: &[Moment]) -> String {
    let mut text = String::new();
    for group in groups {
        let _ = writeln!(text, "divider_add {}", group.title);
        let mut arrays: Vec<&str> = Vec::new();
        for signal in &group.signals {
            // All elements of an array by the name of its scope.
            let (scope, name) = signal.name.rsplit_once('.').unwrap_or_default();
            if !name.starts_with('[') {
                let _ = writeln!(text, "variable_add {}", signal.name);
            } else if !arrays.contains(&scope) {
                arrays.push(scope);
                let _ = writeln!(text, "scope_add {scope}");
            }
        }
    }
    for (name, ps) in moments {
        let _ = writeln!(text, "marker_set_at {ps} {name}");
    }
    match moments.first() {
        Some((_, ps)) => {
            let (from, to) = (ps.saturating_sub(LEFT << ZOOM), ps + (LEFT << ZOOM));
            let _ = writeln!(text, "cursor_set {ps}\nzoom_to {from} {to}");
        }
        None => text.push_str("zoom_fit\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        let signal = |name: &str, range: &str, named| Shown {
            name: name.to_string(),
            range: range.to_string(),
            named,
            text: false,
        };
        Group {
            title: "unit_0_warps".to_string(),
            signals: vec![
                signal("top.valid", "", false),
                signal("top.state_q.[0]", "[3:0]", true),
                signal("top.state_q.[1]", "[3:0]", true),
            ],
        }
    }

    #[test]
    fn gtkwave_gets_ranges_flags_and_markers() {
        let text = gtkwave(
            Path::new("a/out.fst"),
            &[group()],
            32_000,
            &[("failure".to_string(), 9_000_000)],
        );
        assert!(text.contains("[dumpfile] \"out.fst\"\n"), "{text}");
        let from = 9_000_000 - 400 * 2048;
        assert!(text.contains(&format!("[timestart] {from}\n")), "{text}");
        assert!(text.contains("*-11.000000 9000000 9000000 -1 -1"), "{text}");
        assert!(text.contains("[markername] Afailure\n"), "{text}");
        assert!(text.contains("@22\ntop.valid\n"), "{text}");
        assert!(
            text.contains("@100000022\ntop.state_q.[1][3:0]\n"),
            "{text}"
        );
        assert!(text.ends_with("@1000200\n-unit_0_warps\n"), "{text}");
    }

    #[test]
    fn surfer_gets_arrays_once_and_the_cursor() {
        let text = surfer(&[group()], &[("failure".to_string(), 9_000_000)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "divider_add unit_0_warps",
                "variable_add top.valid",
                "scope_add top.state_q",
                "marker_set_at 9000000 failure",
                "cursor_set 9000000",
                "zoom_to 8180800 9819200",
            ]
        );
        assert!(surfer(&[group()], &[]).ends_with("zoom_fit\n"));
    }
}
