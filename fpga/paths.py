#!/usr/bin/env python3
"""Longest paths of what fpga/synth.py wrote, estimated before placement: a minute instead of an hour.

Usage: fpga/paths.py [--config NAME] [--top MODULE] [--param NAME=VALUE]... [--cut BLOCK:PORT]... [--limit N]
  --config, --top, --param  as they were given to fpga/synth.py
  --cut BLOCK:PORT          as if a register were at this port of the blocks of this name: what it would bring
  --limit N                 how many paths to show, one for each block where some end (default: 12)
Cells have the delays of an ECP5 of speed grade 6, a wire takes what its fan-out makes likely in a device that
is four fifths full. For each path: the blocks that it leads through, with the cells in each and the time at its end.
"""
import argparse
import collections
import json
import math
import sys

from flow import OUT, ROOT, add_arguments, name_of

LOGIC = {"LUT4", "CCU2C", "TRELLIS_DPR16X4", "MULT18X18D"}   # what a path leads through
CLOCK_TO_Q = {"TRELLIS_FF": 0.52}
MEMORY_READ = 5.6          # block RAM, from its clock
LUT, CARRY, CARRY_STEP, MULTIPLY = 0.24, 0.45, 0.07, 4.0
WIRE, WIRE_FANOUT = 1.2, 0.2     # so that the sum comes to what nextpnr says after placement


def delay(kind, pin, output):
    """Through a cell, in ns; None: no path."""
    if kind == "CCU2C" and pin == "CIN":
        return CARRY_STEP if output == "COUT" else CARRY
    if kind == "TRELLIS_DPR16X4":
        return LUT if pin.startswith("RAD") else None
    if kind == "MULT18X18D":
        return MULTIPLY if pin[0] in "AB" else None
    return CARRY if kind == "CCU2C" else LUT


class Netlist:
    """A flattened netlist: cells as (kind, path, inputs, outputs), pins as (name, net)."""

    def __init__(self, modules, top, cuts):
        self.modules, self.cuts, self.nets, self.cells = modules, cuts, 0, []
        self.add(top, "", {})
        self.fanout = collections.Counter(net for _, _, inputs, _ in self.cells for _, net in inputs)

    def net(self):
        self.nets += 1
        return self.nets

    def add(self, module, path, bound):
        known = dict(bound)
        for name, cell in self.modules[module]["cells"].items():
            pins = []
            for port, bits in cell["connections"].items():
                for i, bit in enumerate(bits):
                    if not isinstance(bit, str):
                        pins.append((port, i, len(bits), known.setdefault(bit, self.net())))
            kind = cell["type"]
            if kind not in self.modules or "blackbox" in self.modules[kind]["attributes"]:
                sides = {"input": [], "output": []}
                for port, i, width, net in pins:
                    sides[cell["port_directions"][port]].append((port if width == 1 else f"{port}{i}", net))
                self.cells.append((kind, f"{path}{name}", sides["input"], sides["output"]))
                continue
            inside = {}
            for port, i, _, net in pins:
                body = self.modules[kind]["ports"][port]
                if isinstance(body["bits"][i], str):
                    continue
                if (kind.split("$")[0], port) in self.cuts:
                    outer, net = net, self.net()
                    source, sink = (net, outer) if body["direction"] == "output" else (outer, net)
                    self.cells.append(("TRELLIS_FF", f"{path}{name}.cut_{port}", [("DI", source)], [("Q", sink)]))
                inside[body["bits"][i]] = net
            self.add(kind, f"{path}{name}.", inside)

    def wire(self, kind, pin, net):
        if kind == "CCU2C" and pin == "CIN":
            return 0.0
        return WIRE + WIRE_FANOUT * math.log2(self.fanout[net])


def arrivals(netlist):
    """When each net is there, and the net before it on its latest path with the cell between."""
    at, before = {}, {}
    driven = {net for kind, _, _, outputs in netlist.cells if kind in LOGIC for _, net in outputs}
    waits, readers, ready = {}, collections.defaultdict(list), collections.deque()
    for i, (kind, _, inputs, outputs) in enumerate(netlist.cells):
        if kind not in LOGIC:
            for _, net in outputs:
                at[net], before[net] = CLOCK_TO_Q.get(kind, MEMORY_READ), (i, None)
            continue
        late = [net for pin, net in inputs if delay(kind, pin, "") is not None and net in driven]
        waits[i] = len(late)
        for net in late:
            readers[net].append(i)
        if not late:
            ready.append(i)
    while ready:
        i = ready.popleft()
        kind, _, inputs, outputs = netlist.cells[i]
        for output, out in outputs:
            best, source = 0.0, None
            for pin, net in inputs:
                through = delay(kind, pin, output)
                if through is not None and at.get(net, 0.0) + netlist.wire(kind, pin, net) + through > best:
                    best, source = at.get(net, 0.0) + netlist.wire(kind, pin, net) + through, net
            at[out], before[out] = best, (i, source)
            for reader in readers[out]:
                waits[reader] -= 1
                if waits[reader] == 0:
                    ready.append(reader)
    return at, before


def block_of(path):
    return ".".join(part for part in path.split(".")[:-1] if part.startswith("u_")) or "top"


def main():
    parser = argparse.ArgumentParser(description="Longest paths before placement")
    add_arguments(parser)
    parser.add_argument("--cut", action="append", default=[], metavar="BLOCK:PORT", help="as if a register were there")
    parser.add_argument("--limit", type=int, default=12)
    args = parser.parse_args()
    source = OUT / f"{name_of(args)}_netlist.json"
    if not source.is_file():
        sys.exit(f"paths: no {source.relative_to(ROOT)}; run fpga/synth.py with the same arguments first")
    netlist = Netlist(json.loads(source.read_text())["modules"], args.top, {tuple(cut.split(":")) for cut in args.cut})
    at, before = arrivals(netlist)
    ends = []
    for kind, path, inputs, _ in netlist.cells:
        if kind not in LOGIC or kind == "TRELLIS_DPR16X4":
            ends += [(at.get(net, 0.0) + netlist.wire(kind, pin, net), net, path) for pin, net in inputs
                     if pin not in ("CLK", "WCK", "CLKA", "CLKB") and not pin.startswith("RAD")]
    ends.sort(key=lambda end: -end[0])
    over = sum(end[0] > 20.0 for end in ends)
    print(f"paths: {name_of(args)}: {len(ends)} ends, {over} of them later than 20 ns; longest by block of the end:")
    shown = set()
    for late, net, path in ends:
        if len(shown) == args.limit:
            break
        if block_of(path) in shown:
            continue
        shown.add(block_of(path))
        hops = []
        while net is not None and net in before:
            cell, source = before[net]
            block = block_of(netlist.cells[cell][1])
            if not hops or hops[-1][0] != block:
                hops.append([block, 0, at[net]])
            hops[-1][1] += 1
            net = source
        print(f"  {late:5.1f} ns to {block_of(path)}: "
              + ", ".join(f"{block} {cells} ({time:.1f})" for block, cells, time in reversed(hops)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
