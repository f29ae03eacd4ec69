//! The report in a real browser (`tools/pictures.py`), on machines that have one: `make test` sees to that.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::{folder, hmmu, said};

/// What `pictures.py` ends with where there is no browser.
const NO_BROWSER: i32 = 3;

fn check(page: &Path) -> Output {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/pictures.py");
    let mut python = Command::new("python3");
    let python = python.arg(tool).arg("check").arg(page);
    python.output().expect("python3 runs")
}

#[test]
fn every_part_of_the_report_is_shown_and_fits() {
    let folder = folder("browser-report");
    let args = ["graph", "--backend", "model", "--report", "r.html"];
    let output = hmmu(&folder, &args);
    assert!(output.status.success(), "{}", said(&output));
    let output = check(&folder.join("r.html"));
    if output.status.code() == Some(NO_BROWSER) {
        println!("not run: {}", said(&output));
        return;
    }
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("r.html: fits"), "{}", said(&output));

    // What is cut off or too wide is noticed.
    let page = std::fs::read_to_string(folder.join("r.html")).expect("the page");
    for (name, from, to, problem) in [
        (
            "wide.html",
            "<main>",
            "<main><p style=\"width:3000px\">x</p>",
            "wider than",
        ),
        (
            "gone.html",
            "id=\"residency\"",
            "id=\"other\"",
            "no part residency",
        ),
        (
            "flat.html",
            "svg { display: block;",
            "svg { display: none;",
            "a picture of no size",
        ),
    ] {
        assert!(page.contains(from), "{from}");
        std::fs::write(folder.join(name), page.replace(from, to)).expect("a page");
        let output = check(&folder.join(name));
        assert_eq!(output.status.code(), Some(1), "{name}: {}", said(&output));
        assert!(said(&output).contains(problem), "{name}: {}", said(&output));
    }
}
