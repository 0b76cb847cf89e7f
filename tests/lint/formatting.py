"""Every C file is as clang-format 14 would write it. Other versions differ in small things, so
they cannot judge: the row is skipped there."""
import re
import subprocess

from . import common


def check():
    version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    if " version 14." not in version:
        return None
    files = [str(p) for p in common.c_files()]
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], capture_output=True,
                         text=True)
    if run.returncode == 0:
        return []
    bad = sorted({line.split(":")[0] for line in run.stderr.splitlines()
                  if re.match(r"\S+:\d+:\d+: error", line)})
    return [f"{name}: run `make format`" for name in bad] or [run.stderr.strip()]
