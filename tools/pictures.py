#!/usr/bin/env python3
"""Looks at hmmu's pages in a real browser.

  pictures.py check FILE.html...   every part of a report is there, has a size and fits, on a laptop and on paper
  pictures.py book HMMU            takes the book's pictures of the bundled run, made by this hmmu, into docs/img/

Ends with 1 if a page does not fit, with 3 if there is no browser. CHROMIUM names another one.
"""
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "img"
PARTS = ["faults", "timeline", "residency", "traffic", "rates", "configuration", "counters"]
# Widths in CSS pixels: a laptop's window, and A4 between margins.
LAPTOP, PAPER = 1280, 700
BOOK = 1040
# Pixels by which a text may stick out of its picture: rounding of fonts.
SLACK = 2

PROBE = """<script>
(() => {
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const told = {
    window: document.documentElement.clientWidth,
    page: document.documentElement.scrollWidth,
    height: document.body.getBoundingClientRect().bottom,
    parts: {}, pictures: [], tables: [...document.querySelectorAll("table")].map(box),
  };
  for (const s of document.querySelectorAll("section"))
    told.parts[s.id] = { box: box(s), text: s.textContent.trim().length };
  for (const svg of document.querySelectorAll("svg"))
    told.pictures.push({
      name: svg.getAttribute("aria-label"), box: box(svg), shapes: svg.querySelectorAll("rect, path").length,
      texts: [...svg.querySelectorAll("text")].map(t => [t.textContent, ...box(t)]),
    });
  const pre = document.createElement("pre");
  pre.id = "layout";
  pre.textContent = JSON.stringify(told);
  document.body.append(pre);
})();
</script>"""


def browser():
    names = [os.environ["CHROMIUM"]] if "CHROMIUM" in os.environ else ["chromium", "chromium-browser", "google-chrome"]
    for name in names:
        if shutil.which(name):
            return name
    print("pictures: no Chromium on the path (Debian: apt-get install chromium)", file=sys.stderr)
    sys.exit(3)


def chromium(folder, *args):
    command = [browser(), "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
               f"--user-data-dir={folder}/profile", *args]
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if run.returncode != 0:
        sys.exit(f"pictures: {' '.join(command)}: exit status {run.returncode}\n{run.stderr}")
    return run.stdout


def layout(folder, page, width):
    """Where everything on a page is in a window of this width."""
    copy = Path(folder) / "probed.html"
    copy.write_text(page.replace("</body>", PROBE + "</body>"))
    dom = chromium(folder, f"--window-size={width},900", "--dump-dom", copy.as_uri())
    found = re.search(r'<pre id="layout">(.*?)</pre>', dom, re.S)
    if not found:
        sys.exit("pictures: the browser has not shown the page")
    return json.loads(html.unescape(found[1]))


def problems(told):
    width = told["window"]
    if told["page"] > width:
        yield f"wider than the window: {told['page']} of {width}"
    for part in PARTS:
        if part not in told["parts"]:
            yield f"no part {part}"
            continue
        left, top, right, bottom = told["parts"][part]["box"]
        if bottom - top < 40 or told["parts"][part]["text"] < 20:
            yield f"part {part} is empty"
    for left, _, right, _ in told["tables"]:
        if left < 0 or right > width:
            yield f"a table from {left} to {right} of {width}"
    if not told["pictures"]:
        yield "no pictures"
    for picture in told["pictures"]:
        left, top, right, bottom = picture["box"]
        if right - left < 100 or bottom - top < 10 or not picture["shapes"]:
            yield f"a picture of no size: {picture['name']}"
            continue
        for text, l, t, r, b in picture["texts"]:
            if l < left - SLACK or r > right + SLACK or t < top - SLACK or b > bottom + SLACK:
                yield f"a text sticks out of {picture['name']}: {text}"


def check(folder, path):
    page = Path(path).read_text()
    for name, width in [("laptop", LAPTOP), ("paper", PAPER)]:
        found = list(problems(layout(folder, page, width)))
        if found:
            sys.exit("\n".join(f"{path}: {name}: {problem}" for problem in found))
    printed = Path(folder) / "printed.pdf"
    chromium(folder, f"--print-to-pdf={printed}", Path(path).resolve().as_uri())
    if not printed.read_bytes().startswith(b"%PDF") or printed.stat().st_size < 10_000:
        sys.exit(f"{path}: cannot be printed")
    print(f"{path}: fits")


def rows(png):
    """How many different rows of pixels a picture has: a blank one has one."""
    data, at, pixels, height = png.read_bytes(), 8, b"", 1
    while at < len(data):
        size, kind = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            height = int.from_bytes(body[4:8], "big")
        elif kind == b"IDAT":
            pixels += body
        at += 12 + size
    pixels = zlib.decompress(pixels)
    row = len(pixels) // height
    return len({pixels[k * row:(k + 1) * row] for k in range(height)})


def shoot(folder, page, name, parts, header):
    hidden = ["footer"] + ([] if header else ["header"])
    hidden.append("main > section" + "".join(f":not(#{part})" for part in parts))
    style = f"<style>{', '.join(hidden)} {{ display: none !important; }}</style>"
    page = page.replace("</head>", style + "</head>")
    height = int(layout(folder, page, BOOK)["height"]) + 8
    copy, image = Path(folder) / "shown.html", IMAGES / f"{name}.png"
    copy.write_text(page)
    chromium(folder, f"--window-size={BOOK},{height}", f"--screenshot={image}", copy.as_uri())
    if rows(image) < 40:
        sys.exit(f"pictures: {image} is blank")


def book(folder, hmmu):
    def run(*args):
        done = subprocess.run([hmmu, *args], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"pictures: hmmu {' '.join(map(str, args))}: {done.stdout}{done.stderr}")

    hmmu = Path(hmmu).resolve()
    IMAGES.mkdir(exist_ok=True)
    report = Path(folder) / "report.html"
    run("graph", "tb/graphs/workspace.txt", "--report", report)
    check(folder, report)
    page = report.read_text()
    shoot(folder, page, "report", ["faults", "residency"], True)
    shoot(folder, page, "timeline", ["timeline", "traffic"], False)
    script = re.search(r"<!-- file tour.rhai -->\n```rhai\n(.*?)```", (ROOT / "docs/tour.md").read_text(), re.S)
    tour = Path(folder) / "tour.rhai"
    tour.write_text(script[1])
    run("run", tour, "--log", Path(folder) / "tour.log")
    run("explain", Path(folder) / "tour.log", "--svg", IMAGES / "fault.svg")
    print(f"pictures: in {IMAGES.relative_to(ROOT)}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        match sys.argv[1:]:
            case ["check", *pages] if pages:
                for page in pages:
                    check(folder, page)
            case ["book", hmmu]:
                book(folder, hmmu)
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    main()
