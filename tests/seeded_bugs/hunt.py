#!/usr/bin/env python3
"""Shows that the simulator finds deliberate defects: every FL_BUG of the source, one after the other,
in a program that has them all. A bug is caught when a run ends with a violation or a failed
assertion. Ends with `seeded bugs N, caught N`; exit status 1 if one is not, or if a violation is found
without any.

    hunt.py PROGRAM [--smoke | BUG...]"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOSTS, RUNS, CHUNK = 10, 400, 10
# Caught within a few seeds: a second each.
SMOKE = [1, 3, 6, 9, 11, 13, 16, 19, 24, 26, 35, 36, 38, 39, 41, 42, 43, 49, 54, 58, 65, 68, 76, 77, 81, 86]
_BUG = re.compile(r"\bFL_BUG\((\d+),")


def bugs():
    """Their numbers and where they are."""
    found = {}
    for path in sorted((ROOT / "src").rglob("*.c")):
        for number in _BUG.findall(path.read_text()):
            found.setdefault(int(number), str(path.relative_to(ROOT / "src")))
    return dict(sorted(found.items()))


def hunt(program, bug):
    """The line that tells how the bug was caught, or None."""
    for first in range(1, RUNS + 1, CHUNK) if bug else [1]:
        run = subprocess.run([program, "--bug", str(bug), "--hosts", str(HOSTS), "--seed",
                              str(first), "--runs", str(CHUNK)],
                             capture_output=True, text=True, timeout=300, check=False)
        if run.returncode:
            lines = run.stdout.splitlines() + run.stderr.splitlines()
            return next((line for line in lines if " is violated " in line or "sim: the process" in
                         line), f"exit status {run.returncode}")
    return None


def main():
    program, numbers = sys.argv[1], sys.argv[2:]
    wanted = set(SMOKE if numbers == ["--smoke"] else map(int, numbers))
    how = hunt(program, 0)
    if how:
        print(f"without any bug: {how}")
        return 1
    found = {n: where for n, where in bugs().items() if not wanted or n in wanted}
    caught = 0
    for number, where in found.items():
        how = hunt(program, number)
        caught += how is not None
        print(f"bug {number:2} ({where}): {how or 'NOT CAUGHT'}", flush=True)
    print(f"seeded bugs {len(found)}, caught {caught}")
    return 0 if caught == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
