"""core and task are pure: no I/O, clock, randomness, threads or writable data in their objects.

Method: what the archives leave undefined must be on a list of harmless names, and no symbol of
theirs may lie in a writable section."""
import re
import subprocess

from . import common

LAYERS = ["core", "task"]

# libc without side effects, the allocator, and what the compiler itself calls.
_LIBC = r"""
    mem(cpy|move|set|cmp|chr|rchr|mem|pcpy) | str\w+ | stpcpy | bcmp | malloc | calloc | realloc |
    reallocarray | free | v?snprintf | qsort | bsearch | abort | __assert_fail | abs | labs |
    __ctype_(b|tolower|toupper)_loc | isdigit | isalnum | isalpha | isspace | isupper | islower |
    tolower | toupper | __stack_chk_fail | _GLOBAL_OFFSET_TABLE_ | ffs\w* | __isoc23_strto\w+ |
    gmtime_r | timegm | __popcountdi2
"""
# Tables made from api/, constant by construction; regular expressions, which only allocate.
_TABLES = r"(ecs|rec|logs)_(enum|shape|service)\w* | pcre2_\w+"
# base, minus what does I/O or is not repeatable; everything of the layers below.
_OURS = r"fl_(?!clock_|fs_|log|random_|program_|mounts_)\w+"

ALLOWED = re.compile("|".join((_LIBC, _TABLES, _OURS)), re.X)
_FLOAT = re.compile(r"\b(float|double)\b")


def archive_of(layer, build):
    return build / "src" / f"lib{layer}.a"


def _run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def undefined(archive):
    defined, wanted = set(), set()
    for line in _run("nm", "--format=posix", str(archive)).splitlines():
        fields = line.split()
        if len(fields) < 2 or fields[0].endswith(":"):
            continue
        (wanted if fields[1] in "Uw" else defined).add(fields[0])
    return sorted(wanted - defined)


def writable(archive):
    """Objects in .data, .bss or common storage; constant tables with pointers are not."""
    found = []
    for line in _run("objdump", "-t", str(archive)).splitlines():
        match = re.match(r"[0-9a-f]+ .{7} (\S+)\s+([0-9a-f]+)\s+(\S+)$", line)
        if not match:
            continue
        section, size, name = match.group(1), int(match.group(2), 16), match.group(3)
        is_data = section.startswith((".data", ".bss", ".tbss", ".tdata", "*COM*"))
        if is_data and not section.startswith(".data.rel.ro") and size and name != section:
            found.append(name)
    return found


def check(build=common.ROOT / "build"):
    problems = []
    for layer in LAYERS:
        archive = archive_of(layer, build)
        if not archive.exists():
            problems.append(f"{archive} is missing: build first")
            continue
        for name in undefined(archive):
            if not ALLOWED.fullmatch(name):
                problems.append(f"{layer} uses {name}")
        problems += [f"{layer} holds writable data: {name}" for name in writable(archive)]
    for path in common.c_files(tests=False):
        if path.relative_to(common.SRC).parts[0] in LAYERS:
            if _FLOAT.search(common.code_only(path.read_text())):
                problems.append(f"{common.short(path)}: floating point")
    return problems
