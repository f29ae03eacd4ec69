#!/usr/bin/env python3
"""ECP5 figures: the small configuration as a whole, placed and routed, and the default one part by part
(it is larger than an ECP5-85).

Usage: fpga/bench.py [--small] [--blocks NAME,NAME...|all] [--no-route] [--speed 6,7,8]
  --small        the small configuration: cells, place and route
  --blocks NAMES parts of the default configuration, `all` of them: cells, and Fmax of each on its own
  --no-route     cells only
  --speed LIST   speed grades that the small one is placed and routed for (default: 6, the slowest)
Without --small and --blocks: both, with all parts. Runs add to build/bench-fpga.json what they measured, so
it can be filled in several runs; the tables of fpga/README.md go to standard output. Everything takes some
hours of one core, `--small --no-route` a quarter of an hour. Exit status: 0 passed, 1 a run did not pass, 2 the tools are missing.
"""
import argparse
import json
import subprocess
import sys

from flow import OUT, ROOT, lines

# The parts of the default configuration with the parameters that hmmu_top gives them where those are not the
# part's own, and how many of each the device has.
BLOCKS = {"cu": ([], 2), "mmu": (["NumClients=5"], 1), "copy_engine": ([], 1), "pcie_ep": ([], 1),
          "mem_fabric": (["NumClients=12"], 1), "launch_unit": ([], 1), "ctrl_unit": ([], 1),
          "dev_regs": (["NumErrors=5"], 1), "vram_ctrl": ([], 1)}
RESULT = ROOT / "build" / "bench-fpga.json"
KINDS = ["places", "ffs", "brams", "dsps"]
NO_ROOM = 0.97     # of the LUT places: a part beyond it is not placed


def run(script, *arguments):
    status = subprocess.run([sys.executable, ROOT / "fpga" / script, *arguments], cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)


def load(name):
    return json.loads((OUT / f"{name}.json").read_text())


def save(result):
    RESULT.write_text(json.dumps(result, indent=1))


def small(result, route, speeds):
    run("synth.py", "--config", "small")
    entry = {"parameters": lines(ROOT / "rtl" / "config" / "small"), "cells": load("hmmu_top_small"), "routed": {}}
    result["small"] = entry
    save(result)
    for speed in speeds if route else []:
        run("pnr.py", "--config", "small", "--speed", speed)
        entry["routed"][speed] = load("hmmu_top_small_pnr")
        save(result)


def block(result, name, route):
    params, instances = BLOCKS[name]
    given = ["--top", name, *(word for param in params for word in ("--param", param))]
    run("synth.py", *given)
    stem = "_".join([name, *(param.replace("=", "") for param in params)])
    cells = load(stem)[name]
    entry = {"instances": instances, "cells": cells}
    result["default"][name] = entry
    save(result)
    if route and cells["places"] < NO_ROOM * 83640:
        run("pnr.py", *given)
        entry["routed"] = load(f"{stem}_pnr")
        save(result)


def table(result):
    print("\n| default configuration | instances | LUT places each | flip-flops | block RAM | multipliers | Fmax alone, MHz |"
          "\n|---|---|---|---|---|---|---|")
    total = dict.fromkeys(KINDS, 0)
    for name, entry in result["default"].items():
        fmax = f"{entry['routed']['fmax_mhz']:.1f}" if "routed" in entry else "-"
        print(f"| {name} | {entry['instances']} | " + " | ".join(str(entry["cells"][kind]) for kind in KINDS) + f" | {fmax} |")
        for kind in KINDS:
            total[kind] += entry["instances"] * entry["cells"][kind]
    if set(result["default"]) == set(BLOCKS):
        print("| all | | " + " | ".join(str(total[kind]) for kind in KINDS) + " | |")


def main():
    parser = argparse.ArgumentParser(description="ECP5 figures")
    parser.add_argument("--small", action="store_true", help="the small configuration")
    parser.add_argument("--blocks", default="", help="parts of the default configuration, or `all`")
    parser.add_argument("--no-route", action="store_true", help="cells only")
    parser.add_argument("--speed", default="6", help="speed grades for the small configuration")
    args = parser.parse_args()
    everything = not args.small and not args.blocks
    names = [name for name in args.blocks.split(",") if name]
    if everything or names == ["all"]:
        names = list(BLOCKS)
    unknown = [name for name in names if name not in BLOCKS]
    if unknown:
        parser.error(f"no part {unknown[0]}; there are {', '.join(BLOCKS)}")
    result = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    result = {"device": "LFE5U-85F", "small": result.get("small", {}), "default": result.get("default", {})}
    OUT.mkdir(parents=True, exist_ok=True)
    if everything or args.small:
        small(result, not args.no_route, args.speed.split(","))
    for name in names:
        block(result, name, not args.no_route)
    if result["default"]:
        table(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
