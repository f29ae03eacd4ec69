#!/usr/bin/env python3
"""Preprocessor of the book: puts every page of docs/decisions below the chapter decisions.md.

mdbook gives [context, book] as JSON on standard input and takes the book from standard output.
"""
import json
import pathlib
import sys

PARENT = "decisions.md"


def chapter(path, parent):
    text = path.read_text(encoding="utf-8")
    name = text.splitlines()[0].lstrip("# ").strip()
    # Some titles carry their number already.
    number = path.name.split("-")[0]
    name = name.removeprefix(f"{int(number)}. ")
    at = f"decisions/{path.name}"
    return {"Chapter": {"name": f"{number} {name}", "content": text, "number": None, "sub_items": [], "path": at,
                        "source_path": at, "parent_names": [parent]}}


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "supports":
        return 0
    context, book = json.load(sys.stdin)
    folder = pathlib.Path(context["root"]) / context["config"]["book"]["src"] / "decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    for item in book["items"]:
        if isinstance(item, dict) and item.get("Chapter", {}).get("path") == PARENT:
            item["Chapter"]["sub_items"] = [chapter(path, item["Chapter"]["name"]) for path in pages]
            json.dump(book, sys.stdout)
            return 0
    print(f"book_decisions: the summary has no chapter {PARENT}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
