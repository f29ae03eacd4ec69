#!/usr/bin/env bash
# Builds the book into build/book with a pinned mdBook, which it first installs into .tools/mdbook (minutes, once).
# MDBOOK names another one. A warning of mdBook is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.5.4
mdbook=${MDBOOK:-.tools/mdbook/bin/mdbook}
have() { [ -x "$mdbook" ] && [ "$("$mdbook" --version)" = "mdbook v$version" ]; }
if [ -z "${MDBOOK:-}" ] && ! have; then
    echo "book: installing mdBook $version into .tools/mdbook (once)"
    "${CARGO:-cargo}" install --quiet --locked --force --root .tools/mdbook \
        --no-default-features --features search "mdbook@$version"
fi
have || { echo "book: $mdbook is not mdBook $version" >&2; exit 2; }

mkdir -p build
log=build/book.log
"$mdbook" build 2>"$log" || { cat "$log" >&2; exit 1; }
if grep -qE 'WARN|ERROR' "$log"; then
    cat "$log" >&2
    exit 1
fi
echo "the book is in build/book: open build/book/index.html"
