#!/usr/bin/env python3
"""Checks the house rules a compiler does not: which room includes which, how long a file is, #pragma once.

usage: check_rooms.py [REPOSITORY]     exit code 1 when a rule is broken, one line for each place
"""
import re
import sys
from pathlib import Path

# A room includes only itself and rooms of earlier lines. A test may also include rooms of its own line.
LINES = [
    ["base"],
    ["spec"],
    ["kernels", "tokenizer", "comm"],
    ["models", "checkpoint", "kv_cache", "chat", "grammar"],
    ["layers"],
    ["engine"],
    ["server"],
    ["cli"],
]
LINE_OF = {room: number for number, rooms in enumerate(LINES) for room in rooms}
FOLDERS = ["src", "tools", "tests", "bench"]
SUFFIXES = {".cc", ".h", ".py", ".cu"}
MAX_LINES = 400
MAX_LINES_WITH_REASON = 500  # "long because: ..." in the first 5 lines
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def is_test(path):
    return path.stem.endswith(("_test", "_fuzz", "_bench")) or "testing" in path.parts


def check_includes(path, room, lines, src):
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        include = match.group(1)
        parts = include.split("/")
        if parts[0] not in LINE_OF:
            # foreach_target re-includes files by a path of their own; anything else must start at src/.
            if not (src / include).is_file():
                yield f'{path}:{number}: "{include}" is no file under src/; write "room/file.h", or <...> for a package'
            continue
        theirs, ours = LINE_OF[parts[0]], LINE_OF[room]
        if parts[0] == room or theirs < ours or (theirs == ours and is_test(path)):
            continue
        where = "is on the same line as" if theirs == ours else "is below"
        yield f'{path}:{number}: room {room} includes "{include}", but {parts[0]} {where} {room} in DESIGN.md'


def check_file(path, relative, src):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    has_reason = any("long because:" in line for line in lines[:5])
    limit = MAX_LINES_WITH_REASON if has_reason else MAX_LINES
    if len(lines) > limit:
        yield f"{relative}: {len(lines)} lines, the limit is {limit}: split it by purpose"
    # *-inl.h is included once for every instruction set (Highway's foreach_target).
    if path.suffix == ".h" and not path.name.endswith("-inl.h") and "#pragma once" not in lines:
        yield f"{relative}: a header without #pragma once"
    if relative.parts[0] == "src":
        if len(relative.parts) < 3 or relative.parts[1] not in LINE_OF:
            yield f"{relative}: in no known room (rooms: {', '.join(LINE_OF)})"
        else:
            yield from check_includes(relative, relative.parts[1], lines, src)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    problems, count = [], 0
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                count += 1
                problems.extend(check_file(path, path.relative_to(root), root / "src"))
    if count == 0:
        problems.append(f"{root}: no source files found")
    for problem in problems:
        print(problem)
    print(f"check_rooms: {count} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
