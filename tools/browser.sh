#!/usr/bin/env bash
# Sees to a Chromium, in which the report is checked and the book's pictures are taken: as root on Debian a missing one
# is installed. Where there is none, the report's test says so and checks nothing.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "browser: installing Debian's chromium"
    if apt-get update -qq >/dev/null 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "browser: no Chromium, so the report is not looked at (Debian: apt-get install chromium)" >&2
