"""Prose keeps up with the code: functions it names exist, and each folder of src has a README."""
import re

from . import common

_NAME = re.compile(r"`(fl_[a-z0-9_]+)(?:\(\))?`")


def check_names():
    source = "\n".join(path.read_text() for path in common.c_files())
    known = set(re.findall(r"\bfl_[a-z0-9_]+", source))
    problems = []
    architecture = common.ROOT / "docs" / "architecture.md"
    if not architecture.exists():
        return ["docs/architecture.md is missing"]
    for path in [architecture, *sorted(common.SRC.glob("*/README.md"))]:
        for name in sorted(set(_NAME.findall(path.read_text()))):
            if name not in known and not any(k.startswith(name) for k in known if name[-1] == "_"):
                problems.append(f"{common.short(path)} names {name}, which is not in the source")
    return problems


def check_readmes():
    folders = sorted(p for p in common.SRC.iterdir() if p.is_dir())
    return [f"{common.short(p)}/README.md is missing" for p in folders
            if not (p / "README.md").exists()]


def check_manuals():
    """Every command has its page, and every page its command."""
    commands = set(re.findall(r'^    \{"([a-z]+)", ', (common.SRC / "main.c").read_text(), re.M))
    sources = (common.ROOT / "docs" / "man").glob("fairlead-*.1.scd")
    pages = {path.name.removesuffix(".1.scd").partition("-")[2] for path in sources}
    built = set(re.findall(r"'-([a-z]+)'", (common.ROOT / "meson.build").read_text()))
    return [f"fairlead {name} has no page in docs/man" for name in sorted(commands - pages)] + \
        [f"docs/man: there is no command {name}" for name in sorted(pages - commands)] + \
        [f"meson.build does not make the page of {name}" for name in sorted(pages - built)]
