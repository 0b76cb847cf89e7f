"""Hard limits: functions of at most 70 lines, files of at most 900. Literal tables are exempt."""
import re

from . import common

MAX_FUNCTION = 70
MAX_FILE = 900


def blocks(lines):
    """(first line, last line, opener) of every brace block that starts in column 0's construct."""
    start = None
    for number, line in enumerate(lines, 1):
        if start is None:
            if line == "{" or (line and not line[0].isspace() and line.rstrip().endswith("{")):
                start = number
        elif line.startswith("}"):
            yield start, number, lines[start - 1]
            start = None


def signature_start(lines, brace):
    """First line of the declaration whose body's brace is on line `brace`."""
    first = brace
    while first > 1:
        above = lines[first - 2]
        if not above.strip() or above.startswith(("}", "#")) or above.rstrip().endswith((";", "*/")):
            break
        first -= 1
    return first


def check():
    problems = []
    for path in common.c_files():
        lines = common.code_only(path.read_text()).splitlines()
        table_lines = 0
        for first, last, opener in blocks(lines):
            if opener == "{":
                first = signature_start(lines, first)
                if last - first + 1 > MAX_FUNCTION:
                    name = re.search(r"(\w+)\(", " ".join(lines[first - 1 : first + 2]))
                    problems.append(f"{common.short(path)}:{first}: {name and name.group(1)} has "
                                    f"{last - first + 1} lines")
            elif opener.rstrip().endswith("= {"):
                table_lines += last - first + 1
        if len(lines) - table_lines > MAX_FILE:
            problems.append(f"{common.short(path)}: {len(lines)} lines")
    return problems
