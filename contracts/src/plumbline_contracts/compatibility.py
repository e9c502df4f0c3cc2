"""Whether a JSON Schema still honours an older one: no field removed, none re-typed, none newly required to read."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def _resolve(node: Json, root: Json) -> Json:
    while "$ref" in node:
        target: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _types(node: Json, root: Json) -> set[str]:
    node = _resolve(node, root)
    if "anyOf" in node:
        return set().union(*(_types(option, root) for option in node["anyOf"]))
    if "const" in node or "enum" in node:
        return {"string"}
    stated = node.get("type", "any")
    return set(stated) if isinstance(stated, list) else {stated}


def _children(node: Json, root: Json) -> Iterator[tuple[str, Json]]:
    node = _resolve(node, root)
    for option in node.get("anyOf", []):
        yield from _children(option, root)
    yield from node.get("properties", {}).items()
    if isinstance(node.get("items"), dict):
        yield "[]", node["items"]
    if isinstance(node.get("additionalProperties"), dict):
        yield "{}", node["additionalProperties"]


def _compare(old: Json, new: Json, old_root: Json, new_root: Json, path: str, depth: int) -> Iterator[str]:
    if depth == 0:
        return
    new_children = dict(_children(new, new_root))
    for name, child in _children(old, old_root):
        place = f"{path}.{name}" if path else name
        if name not in new_children:
            yield f"{place}: removed"
            continue
        if (before := _types(child, old_root)) != (after := _types(new_children[name], new_root)):
            yield f"{place}: was {'/'.join(sorted(before))}, is {'/'.join(sorted(after))}"
        yield from _compare(child, new_children[name], old_root, new_root, place, depth - 1)


def _missing_enum_values(old: Json, new: Json) -> Iterator[str]:
    new_definitions = new.get("$defs", {})
    for name, definition in old.get("$defs", {}).items():
        lost = set(definition.get("enum", [])) - set(new_definitions.get(name, {}).get("enum", []))
        if lost:
            yield f"{name}: value {', '.join(sorted(lost))} removed"


def breaking_changes(old: Json, new: Json) -> list[str]:
    """Every place where a reader of `old` could fail on a record of `new`; empty when compatible."""
    lost_promises = [
        f"{name}: was always there, is optional now"
        for name in set(old.get("required", [])) - set(new.get("required", []))
    ]
    return [*_compare(old, new, old, new, "", 12), *_missing_enum_values(old, new), *sorted(lost_promises)]
