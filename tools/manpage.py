#!/usr/bin/env python3
"""manpage.py FAIRLEAD SOURCE.scd OUTPUT: a manual page from its prose (docs/man) and from what the
program says of itself: a line @OPTIONS@ becomes the command's options, @COMMANDS@ the list of
commands. scdoc does the rest."""
import os
import pathlib
import re
import subprocess
import sys

# argp, told to break no lines.
FORMAT = {"ARGP_HELP_FMT": "rmargin=2000,opt-doc-col=120,long-opt-col=0,short-opt-col=0"}
OPTION = re.compile(r"^\s*(-\S, )?(--[a-z-]+)(=\S+)?\s+(\S.*)$")


def ask(fairlead, *argv):
    return subprocess.run([fairlead, *argv], capture_output=True, text=True, check=True,
                          env={**os.environ, **FORMAT}).stdout


def plain(text):
    return re.sub(r"([*_\\<>#])", r"\\\1", text)


def options(fairlead, command):
    lines = []
    for line in ask(fairlead, command, "--help").splitlines():
        found = OPTION.match(line)
        if found and found[2] not in ("--help", "--usage"):
            value = f"=_{plain(found[3][1:])}_" if found[3] else ""
            lines += [f"*{found[2]}*{value}", f"\t{plain(found[4])}", ""]
    return "\n".join(lines)


def commands(fairlead):
    lines = []
    for line in ask(fairlead, "help").splitlines():
        found = re.match(r"^  ([a-z]+)\s+(\S.*)$", line)
        if found:
            lines += [f"*fairlead-{found[1]}*(1)", f"\t{plain(found[2])}", ""]
    return "\n".join(lines)


def main(fairlead, source, output):
    text = pathlib.Path(source).read_text()
    command = pathlib.Path(source).name.removesuffix(".1.scd").partition("-")[2]
    if "@OPTIONS@" in text:
        text = text.replace("@OPTIONS@", options(fairlead, command))
    if "@COMMANDS@" in text:
        text = text.replace("@COMMANDS@", commands(fairlead))
    page = subprocess.run(["scdoc"], input=text, capture_output=True, text=True, check=False)
    if page.returncode != 0:
        sys.exit(f"{source}: {page.stderr}")
    pathlib.Path(output).write_text(page.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
