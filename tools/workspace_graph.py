#!/usr/bin/env python3
"""Writes the dependency graph of Cargo.lock as an edge list: tb/graphs/workspace.txt.

Vertices are packages, numbered in the order of the lock file; an edge leads from a package to one that it
depends on.

Usage: tools/workspace_graph.py
"""
import pathlib
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    # A dependency is named "name", or "name version" when the lock file has several versions.
    number = {}
    for index, package in enumerate(packages):
        number.setdefault(package["name"], index)
        number[f"{package['name']} {package['version']}"] = index
    lines = [
        "# The dependencies of this workspace's Cargo.lock, written by tools/workspace_graph.py.",
        "# An edge leads from a package to one that it depends on; FromNodeId ToNodeId.",
    ]
    for index, package in enumerate(packages):
        lines.append(f"# {index} {package['name']} {package['version']}")
    for index, package in enumerate(packages):
        for dependency in package.get("dependencies", []):
            lines.append(f"{index}\t{number[' '.join(dependency.split()[:2])]}")
    (ROOT / "tb/graphs/workspace.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
