#!/usr/bin/env python3
"""ECP5 figures: cells of the default and the small configuration, Fmax of the small one placed and
routed as a whole, and of the default one block by block (it is larger than an ECP5-85).

Usage: fpga/bench.py [--skip-blocks]
Writes build/bench-fpga.json and the tables of fpga/README.md to standard output. It takes an hour or
more of one core. Exit status: 0 passed, 1 a run did not pass, 2 the tools are missing.
"""
import argparse
import json
import subprocess
import sys

from flow import OUT, ROOT, lines

# The blocks of the default configuration that are placed and routed on their own, with their parameters:
# those that hmmu_top gives them.
BLOCKS = {"cu": [], "mmu": ["NumClients=5"], "copy_engine": [], "pcie_ep": [], "mem_fabric": ["NumClients=12"],
          "launch_unit": [], "ctrl_unit": [], "dev_regs": ["NumErrors=5"], "vram_ctrl": []}


def run(script, *arguments):
    status = subprocess.run([sys.executable, ROOT / "fpga" / script, *arguments], cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)


def load(name):
    return json.loads((OUT / f"{name}.json").read_text())


def main():
    parser = argparse.ArgumentParser(description="ECP5 figures")
    parser.add_argument("--skip-blocks", action="store_true", help="no place and route of the default configuration's blocks")
    args = parser.parse_args()
    result = {"device": "LFE5U-85F", "configurations": {}, "blocks": {}}
    for config in ("default", "small"):
        run("synth.py", "--config", config)
        name = "hmmu_top" if config == "default" else f"hmmu_top_{config}"
        entry = {"parameters": [] if config == "default" else lines(ROOT / "rtl" / "config" / config),
                 "cells": load(name)}
        if config == "small":
            run("pnr.py", "--config", config)
            entry["routed"] = load(f"{name}_pnr")
        result["configurations"][config] = entry
    for block, params in {} if args.skip_blocks else BLOCKS.items():
        given = ["--top", block, *(word for param in params for word in ("--param", param))]
        run("synth.py", *given)
        run("pnr.py", *given)
        result["blocks"][block] = load("_".join([block, *(param.replace("=", "") for param in params)]) + "_pnr")
    if result["blocks"]:
        print("\n| block | LUT places | flip-flops | block RAM | multipliers | Fmax, MHz |\n|---|---|---|---|---|---|")
        for block, body in result["blocks"].items():
            used = body["used"]
            print(f"| {block} | {used['comb']} | {used['ffs']} | {used['brams']} | {used['dsps']} | {body['fmax_mhz']:.1f} |")
    (ROOT / "build" / "bench-fpga.json").write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
