#!/usr/bin/env python3
"""Breaks one rule at a time and shows which test notices.

Usage: tools/mutants.py [--only NAME,...] [--part K/N] [--work DIR] [--json FILE] [--list]

tools/mutants.toml names each mutation: what rule it breaks, the text that it replaces, and the tests that
should fail. The mutation is made in a copy of the sources under build/mutants, never in the product. A test
that runs a race under many schedules says in its failure which seed it was; seeds count from 0, so that is
how many schedules it took.

Exit status: 0 all caught, 1 a mutation survived, 2 a mutation cannot be made or does not compile.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tools/mutants.toml"
# A mutation may make a thread wait for ever; no test of these takes nearly as long.
LIMIT_SECONDS = 300
# Of the tests that notice.
MOST_NAMES = 4


class Unusable(Exception):
    """A mutation that cannot be made."""


def sources():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def refresh(copy):
    """Makes the copy equal to the sources. Files that are equal keep their times, so little is rebuilt."""
    wanted = set(sources())
    if copy.is_dir():
        for path in [p for p in copy.rglob("*") if p.is_file()]:
            if str(path.relative_to(copy)) not in wanted and path.name != "Cargo.lock":
                path.unlink()
    for name in wanted:
        to = copy / name
        text = (ROOT / name).read_bytes()
        if not to.is_file() or to.read_bytes() != text:
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(text)


def apply(mutation, copy):
    for edit in mutation["edit"]:
        path = copy / edit["file"]
        if not path.is_file():
            raise Unusable(f"no file {edit['file']}")
        text = path.read_text()
        count = text.count(edit["find"])
        if count != edit.get("times", 1):
            raise Unusable(f"{edit['file']} has {edit['find']!r} {count} times, {edit.get('times', 1)} expected")
        path.write_text(text.replace(edit["find"], edit["replace"]))


def test(arguments, copy):
    """Runs `cargo test`; what failed, or None. Raises Unusable when it does not compile."""
    # What counts is the time to build: every mutation does it once.
    env = dict(os.environ, CARGO_TARGET_DIR=str(copy.parent / "target"), CARGO_PROFILE_DEV_DEBUG="0", CARGO_PROFILE_DEV_OPT_LEVEL="0")
    command = ["cargo", "test", "--quiet", *arguments]
    built = subprocess.run([*command, "--no-run"], cwd=copy, env=env, capture_output=True, text=True)
    if built.returncode != 0:
        raise Unusable("does not compile:\n" + built.stderr[-2000:])
    # In a group of its own: a test that never ends must not live on without cargo.
    ran = subprocess.Popen([*command, "--no-fail-fast"], cwd=copy, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        stdout, stderr = ran.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(ran.pid, signal.SIGKILL)
        ran.communicate()
        return {"test": " ".join(arguments), "how": f"does not end within {LIMIT_SECONDS} s", "schedules": None}
    if ran.returncode == 0:
        return None
    output = stdout + stderr
    failed = re.findall(r"^---- (\S+) stdout ----$", output, re.M) or re.findall(r"^test (\S+) \.\.\. FAILED", output, re.M)
    seeds = [int(n) for n in re.findall(r"\bseed (\d+)\b", output)]
    message = re.search(r"panicked at [^\n]*\n(.*)", output)
    failed = list(dict.fromkeys(failed))
    more = f" and {len(failed) - MOST_NAMES} more" if len(failed) > MOST_NAMES else ""
    return {
        "test": ", ".join(failed[:MOST_NAMES]) + more or " ".join(arguments),
        "how": message.group(1).strip()[:160] if message else output.strip().splitlines()[-1][:160],
        "schedules": min(seeds) + 1 if seeds else None,
    }


def run(mutation, copy):
    refresh(copy)
    apply(mutation, copy)
    start = time.monotonic()
    for arguments in mutation["tests"]:
        found = test(arguments.split(), copy)
        if found:
            return {"name": mutation["name"], "rule": mutation["rule"], "caught": True, "seconds": round(time.monotonic() - start, 1), **found}
    return {"name": mutation["name"], "rule": mutation["rule"], "caught": False, "seconds": round(time.monotonic() - start, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--part", default="1/1", help="only the K-th of N parts, to share the work")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/mutants", help="where they are made")
    parser.add_argument("--json", type=pathlib.Path, help="writes the results to this file")
    parser.add_argument("--list", action="store_true", help="names the mutations and runs nothing")
    options = parser.parse_args()
    mutations = tomllib.loads(LIST.read_text())["mutation"]
    if options.only:
        names = options.only.split(",")
        unknown = set(names) - {m["name"] for m in mutations}
        if unknown:
            print(f"mutants: no mutation {', '.join(sorted(unknown))}", file=sys.stderr)
            return 2
        mutations = [m for m in mutations if m["name"] in names]
    part, parts = (int(n) for n in options.part.split("/"))
    mutations = mutations[part - 1::parts]
    copy = options.work.resolve() / "sources"
    if options.list:
        for mutation in mutations:
            print(f"{mutation['name']:34} {mutation['rule']}")
        return 0
    results, broken = [], False
    for mutation in mutations:
        try:
            result = run(mutation, copy)
        except Unusable as error:
            broken = True
            print(f"{mutation['name']:34} UNUSABLE: {error}", flush=True)
            continue
        results.append(result)
        if result["caught"]:
            after = f" after {result['schedules']} schedules" if result["schedules"] else ""
            print(f"{result['name']:34} caught by {result['test']}{after}: {result['how']}", flush=True)
        else:
            print(f"{result['name']:34} SURVIVED", flush=True)
    shutil.rmtree(copy, ignore_errors=True)
    caught = sum(result["caught"] for result in results)
    print(f"{caught} of {len(mutations)} mutations caught")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    if broken:
        return 2
    return 0 if caught == len(mutations) else 1


if __name__ == "__main__":
    sys.exit(main())
