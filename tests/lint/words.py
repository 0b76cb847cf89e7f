"""Functions that must not be called, and notes that must not be left."""
import re

from . import common

BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|strtok|strtok_r|atoi|atol|alloca|gets"
                    r"|system|popen|rand|srand)\s*\(")
NOTES = re.compile(r"\b(TODO|FIXME|XXX)\b")
TEXTS = ("*.c", "*.h", "*.py", "*.md", "*.sh", "meson.build")


# Tests may prepare their host by a shell.
TEST_FILE = re.compile(r"_(test\.c|fixture\.[ch]|bench\.c)$")


def check_banned():
    return [f"{common.short(path)}:{number}: {match.group(1)}"
            for path in common.c_files()
            for number, line in enumerate(common.code_only(path.read_text()).splitlines(), 1)
            for match in BANNED.finditer(line)
            if not (match.group(1) == "system" and TEST_FILE.search(path.name))]


def check_notes():
    problems = []
    for folder in ("src", "tests", "bench", "tools", "examples", "docs", "packaging", "api"):
        for pattern in TEXTS:
            for path in sorted((common.ROOT / folder).rglob(pattern)):
                if path.parent.name == "lint":
                    continue
                for number, line in enumerate(path.read_text().splitlines(), 1):
                    if NOTES.search(line):
                        problems.append(f"{common.short(path)}:{number}: {line.strip()}")
    return problems
