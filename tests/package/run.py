#!/usr/bin/env python3
"""Builds the package, and the same again as a later version; runs test_package.py on both."""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LATER = "99.0"


def build(*version):
    tools = ROOT / "tools"
    made = subprocess.run([str(tools / "as-user.sh"), str(tools / "deb.sh"), *version], check=True,
                          stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


def main():
    env = {**os.environ, "FAIRLEAD_DEB": build(), "FAIRLEAD_LATER_DEB": build(LATER)}
    return subprocess.run([str(ROOT / ".venv" / "bin" / "python"), "-m", "pytest", "-q", "-x",
                           "-p", "no:cacheprovider", str(HERE)], env=env, cwd=HERE,
                          check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
