"""What the scripts of the FPGA flow share: sources, configurations, and running the tools of .tools/."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "synth"


def lines(path):
    """The lines of a list, without comments."""
    text = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in text if line]


def sources():
    return [f"rtl/{name}" for name in lines(ROOT / "rtl" / "files.f")]


def add_arguments(parser):
    parser.add_argument("--top", default="hmmu_top", help="top module (default: %(default)s)")
    parser.add_argument("--config", default="default", help="a file of rtl/config/ (default: the RTL's own values)")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the top module")


def parameters(args):
    """The parameters that a command line asks for, as NAME=VALUE."""
    if args.config == "default":
        return args.param
    path = ROOT / "rtl" / "config" / args.config
    if not path.is_file():
        sys.exit(f"no configuration {args.config}: there is no {path.relative_to(ROOT)}")
    return lines(path) + args.param


def name_of(args):
    """The stem of a run's files."""
    parts = [args.top] + ([] if args.config == "default" else [args.config])
    return "_".join(parts + [param.replace("=", "") for param in args.param])


def tool(module, function, arguments, log):
    """Runs a WebAssembly tool from the repository's root; gives its log, or ends the program."""
    OUT.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    site = ROOT / ".tools" / "site"
    env = dict(os.environ, PYTHONPATH=f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    call = f"import sys, {module} as m; sys.exit(m.{function}(sys.argv[1:]))"
    try:
        run = subprocess.run([sys.executable, "-c", call, *arguments, "-l", str(log.relative_to(ROOT))],
                             cwd=ROOT, env=env, capture_output=True, text=True)
    except OSError as error:
        sys.exit(f"fpga: {error}")
    if "No module named" in run.stderr:
        print(f"fpga: {module} is not set up; run `make setup`", file=sys.stderr)
        sys.exit(2)
    text = log.read_text() if log.exists() else ""
    if run.returncode:
        tail = "\n".join((text or run.stdout + run.stderr).splitlines()[-25:])
        print(f"fpga: does not pass; the end of {log.relative_to(ROOT)}:\n{tail}\n{run.stderr[-2000:]}", file=sys.stderr)
        sys.exit(1)
    return text
