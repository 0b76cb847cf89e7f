#!/usr/bin/env python3
"""Shows that the simulator finds deliberate defects: every FL_BUG of the source, one after the other,
in a build that has them all (meson's option seeded_bugs). A bug is caught when a run ends with a
violation or a failed assertion. Ends with `seeded bugs N, caught N`; exit status 1 if one is not.

    seeded_bugs.py BUILD_DIR [BUG...]"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
HOSTS, RUNS, CHUNK = 10, 240, 20
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
    for first in range(1, RUNS + 1, CHUNK):
        run = subprocess.run([program, "sim", "--bug", str(bug), "--hosts", str(HOSTS), "--seed",
                              str(first), "--runs", str(CHUNK)],
                             capture_output=True, text=True, timeout=300, check=False)
        if run.returncode:
            lines = run.stdout.splitlines() + run.stderr.splitlines()
            return next((line for line in lines if " is violated " in line or "sim: the process" in
                         line), f"exit status {run.returncode}")
    return None


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve() / "fairlead")
    wanted = {int(number) for number in sys.argv[2:]}
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
