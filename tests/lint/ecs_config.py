"""docs/ecs-config.md lists what src/agent/ecs_config.c's table says: every variable once, under the
heading of what becomes of it."""
import re

from . import common

HEADINGS = {"LATER": "Not implemented yet", "NOWHERE": "No effect on a Fairlead host"}


def in_table():
    text = (common.SRC / "agent" / "ecs_config.c").read_text()
    body = text[text.index("struct row rows[]"):].split("\n};", 1)[0]
    return {name: HEADINGS.get(kind, "Honoured")
            for name, kind in re.findall(r'\{"(\w+)",\s*(\w+),', body)}


def in_document():
    text = (common.ROOT / "docs" / "ecs-config.md").read_text()
    found = []
    for section in text.split("\n## ")[1:]:
        heading = section.splitlines()[0]
        found += [(name, heading) for name in re.findall(r"^\| `(\w+)` \|", section, re.M)]
    return found


def check():
    table, document = in_table(), in_document()
    names = [name for name, _ in document]
    problems = [f"{name} is listed twice" for name in set(names) if names.count(name) > 1]
    problems += [f"{name} is not in docs/ecs-config.md" for name in sorted(set(table) - set(names))]
    problems += [f"{name} is under \"{heading}\", the table says \"{table.get(name, 'nothing')}\""
                 for name, heading in document if table.get(name) != heading]
    return problems
