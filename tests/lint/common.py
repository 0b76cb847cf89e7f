"""What the lints share: the tree's files and C with comments and literals blanked out."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
SRC = ROOT / "src"


def c_files(*, tests=True):
    """Every C file and header of ours, sorted; without *_test.c unless tests."""
    found = sorted(p for p in SRC.rglob("*.[ch]"))
    return [p for p in found if tests or not p.name.endswith("_test.c")]


def short(path):
    return str(path.relative_to(ROOT))


_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """The text with comments and literals replaced by blanks; lines keep their numbers."""
    return _TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
