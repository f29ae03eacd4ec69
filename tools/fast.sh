#!/usr/bin/env bash
# Builds build/fast/release/hmmu: the release build with the device's C++ compiled for a profile of itself,
# which simulates 1.4 times as fast (docs/decisions/0060). The profile is that of a breadth-first search and of pages that migrate;
# it is recorded again when the RTL or what compiles it has changed. Needs g++.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=$PWD/build/fast
profile=$CARGO_TARGET_DIR/profile
hmmu=$CARGO_TARGET_DIR/release/hmmu
build() { HMMU_PROFILE=$1 "${CARGO:-cargo}" build --release --quiet -p hmmu; }

want=$({ cat Cargo.lock; find rtl tb/rtl tb/verilate -type f -print0 | sort -z | xargs -0 cat; g++ --version; echo "${HMMU_RTL:-}"; } | cksum)
if [ "$(cat "$profile/stamp" 2>/dev/null)" != "$want" ]; then
    rm -rf "$profile"
    mkdir -p "$profile"
    echo "fast: recording a profile"
    build "record:$profile"
    "$hmmu" graph tb/graphs/workspace.txt >/dev/null
    "$hmmu" run tb/scenarios/conformance/migrate_multiple.rhai --backend rtl >/dev/null
    echo "$want" >"$profile/stamp"
fi
build "use:$profile"
