#!/usr/bin/env python3
"""Prints one table of criterion's estimates, and writes them as JSON.

usage: bench_table.py CRITERION_DIR MEMORY_JSON OUT_JSON

A row has the nanoseconds per page (or call) at each size, and how much the largest size costs over the smallest.
"""
import json
import pathlib
import sys


def estimates(root):
    """{benchmark: {size: nanoseconds per element}} from criterion's folders."""
    found = {}
    for path in sorted(root.glob("*/*/new/benchmark.json")):
        about = json.loads(path.read_text())
        mean = json.loads((path.parent / "estimates.json").read_text())["mean"]["point_estimate"]
        elements = (about.get("throughput") or {}).get("Elements")
        if elements:
            found.setdefault(about["group_id"], {})[int(about["value_str"])] = mean / elements
    return found


def size_name(size):
    if size % (1 << 20) == 0:
        return f"{size >> 20} Mi"
    return f"{size >> 10} Ki" if size % 1024 == 0 else str(size)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    found = estimates(pathlib.Path(sys.argv[1]))
    if not found:
        sys.exit(f"no estimates in {sys.argv[1]}")
    memory = json.loads(pathlib.Path(sys.argv[2]).read_text())
    sizes = sorted({size for row in found.values() for size in row})
    print(f"{'ns per page or call':<28}" + "".join(f"{size_name(s):>10}" for s in sizes) + f"{'growth':>10}")
    for name, row in sorted(found.items()):
        cells = "".join(f"{row[s]:>10.1f}" if s in row else f"{'':>10}" for s in sizes)
        growth = row[max(row)] / row[min(row)]
        print(f"{name:<28}{cells}{growth:>9.2f}x")
    print()
    print(f"{'bytes per page':<28}" + "".join(f"{size_name(row['pages']):>10}" for row in memory))
    for name in memory[0]:
        if name != "pages":
            print(f"{name:<28}" + "".join(f"{row[name]:>10.1f}" for row in memory))
    rows = [
        {"name": name, "ns_per_element": {str(s): ns for s, ns in sorted(row.items())}}
        for name, row in sorted(found.items())
    ]
    out = {"times": rows, "bytes_per_page": memory}
    pathlib.Path(sys.argv[3]).write_text(json.dumps(out, indent=2) + "\n")


main()
