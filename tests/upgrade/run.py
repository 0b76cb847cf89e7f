#!/usr/bin/env python3
"""Builds the last release beside this build (argument 1: this build's directory) and runs
test_upgrade.py on both. Needs root, and the history in which the release lies."""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def build_release(cache):
    ref = (HERE / "last-release").read_text().strip()
    tree = cache / ref
    if not (tree / "build" / "fairlead").exists():
        tree.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", ref], check=True,
                                 stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
        subprocess.run(["sh", "tools/build.sh", "build"], cwd=tree, check=True)
    return tree / "build" / "fairlead"


def main():
    new = pathlib.Path(sys.argv[1]).resolve()
    env = {**os.environ, "FAIRLEAD_UNDER_TEST": str(new / "fairlead"),
           "FAIRLEAD_OLD": str(build_release(new / "upgrade"))}
    return subprocess.run([str(ROOT / ".venv" / "bin" / "python"), "-m", "pytest", "-q",
                           "-p", "no:cacheprovider", str(HERE)], env=env, cwd=HERE,
                          check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
