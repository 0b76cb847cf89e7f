"""Dependencies point downwards only: the include graph against the table of layers."""
import re

from . import common

# What each layer builds on; what those build on is included. docs/architecture.md says why.
BUILDS_ON = {
    "base": [],
    "wire": ["base"],
    "shapes": ["wire"],
    "core": ["shapes"],
    "task": ["shapes"],
    "sim": ["core", "task"],
    "net": ["wire"],
    "store": ["base", "net"],
    "image": ["wire"],
    "server": ["core", "store", "image", "net"],
    "agent": ["task", "image", "store", "net"],
    "shim": ["base"],
    "libexec": ["base"],
    "cli": ["server", "agent", "sim"],
}

# Libraries wrapped in one place: header prefix → layers that may include it.
WRAPPED = {
    "archive.h": ["libexec"],
    "archive_entry.h": ["libexec"],
    "nftables/": ["libexec"],
    "microhttpd.h": ["net"],
    "wslay/": ["net"],
    "curl/": ["net"],
    "sqlite3.h": ["store"],
    "yaml.h": ["sim"],
    "netlink/": ["agent"],
    "seccomp.h": ["agent", "libexec"],
}

_OURS = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
_THEIRS = re.compile(r"^\s*#\s*include\s+<([^>]+)>", re.M)


def allowed(layer):
    """The layer itself and everything below it."""
    seen, todo = set(), [layer]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(BUILDS_ON[name])
    return seen


def check():
    problems = []
    for path in common.c_files():
        parts = path.relative_to(common.SRC).parts
        layer = parts[0] if len(parts) > 1 else "cli"
        if layer not in BUILDS_ON:
            problems.append(f"{common.short(path)}: folder {layer} is not in the table of layers")
            continue
        text = path.read_text()
        for name in _OURS.findall(text):
            generated = name.endswith("_shapes.h") and "/" not in name
            target = "shapes" if generated else name.split("/")[0] if "/" in name else None
            if target is None:
                problems.append(f'{common.short(path)}: include "{name}" as "folder/file.h"')
            elif target not in allowed(layer):
                problems.append(f"{common.short(path)}: {layer} must not include {name}")
        for name in _THEIRS.findall(text):
            for prefix, layers in WRAPPED.items():
                if name.startswith(prefix) and layer not in layers:
                    problems.append(f"{common.short(path)}: <{name}> belongs to {layers[0]} alone")
    return problems
