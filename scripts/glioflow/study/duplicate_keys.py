"""Finding keys that occur twice in a YAML file: YAML readers keep the last and report nothing, so a whole model may be lost."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import yaml

MERGE = "tag:yaml.org,2002:merge"  # the key <<, whose values are meant to be replaced


def duplicate_keys(path: Path) -> list[str]:
    """Return one message for each key that occurs more than once in a mapping of the file: where, which, and its lines.

    A file that is no YAML gives none: whoever reads it reports that.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        return list(_look_into(root, "", set())) if root else []
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return []


def _look_into(node: yaml.Node, place: str, seen: set[int]) -> Iterator[str]:
    """Yield the messages of a node called ``place`` and of all below it; ``seen`` holds those met, which aliases name again."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _look_into(value, f"{place}[{index}]", seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[tuple[str, str], list[int]] = defaultdict(list)
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            lines[key.tag, key.value].append(key.start_mark.line + 1)
    for (_, name), found in lines.items():
        if len(found) > 1:
            times = "twice" if len(found) == 2 else f"{len(found)} times"
            listed = f"{', '.join(map(str, found[:-1]))} and {found[-1]}"
            yield f"{place or 'the file'}: {name!r} stands {times} (lines {listed}); names must differ"
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        yield from _look_into(value, f"{place}.{name}" if place else name, seen)
