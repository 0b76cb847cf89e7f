"""Lints over the source tree: name → function that returns a list of complaints,
or None where it cannot be run."""
from . import ecs_config, formatting, layers, limits, prose, purity, words

LINTS = {
    "include graph of the layers": layers.check,
    "purity of core and task": purity.check,
    "limits on functions and files": limits.check,
    "clang-format": formatting.check,
    "banned functions": words.check_banned,
    "left-over notes": words.check_notes,
    "names in the prose": prose.check_names,
    "ecs.config's table": ecs_config.check,
    "a README per folder": prose.check_readmes,
    "a manual page per command": prose.check_manuals,
}
