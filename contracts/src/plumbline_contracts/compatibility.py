"""Whether readers of the last release still work with today's schemas and topics. Pure.

What a record promises may only become more: fields, types and values of the old schema stand in the new one, what was
always there still is, and no limit is loosened. Fields and values that are new are no break; they are said.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from plumbline_contracts.topics import Registry, Topic

Json = dict[str, Any]

UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
EXACT = ("pattern", "format", "multipleOf", "uniqueItems")
REMEDY = (
    "Take the change back, or write a new major version beside the old one (a new event type on a topic of its own) "
    "until every consumer has moved."
)


@dataclass(frozen=True)
class Changes:
    """What is different: `breaks` stop consumers, `additions` stop none that ignores what it does not know."""

    breaks: list[str] = field(default_factory=list)
    additions: list[str] = field(default_factory=list)


@dataclass
class _Shape:
    """A schema with its references followed and its alternatives put together."""

    types: set[str] = field(default_factory=set)
    values: set[str] | None = None
    properties: dict[str, list[Json]] = field(default_factory=dict)
    required: set[str] | None = None
    items: list[Json] = field(default_factory=list)
    additional: list[Json] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Difference:
    place: str
    text: str
    is_break: bool = True

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


def changes(old: Json, new: Json) -> Changes:
    """What a reader of `old` meets in values of `new`."""
    found = list(_Schemas(old, new).compare([old], [new], "", frozenset()))
    return Changes([str(each) for each in found if each.is_break], [str(each) for each in found if not each.is_break])


def breaking_changes(old: Json, new: Json) -> list[str]:
    """Every place where a reader of `old` could fail on a value of `new`; empty when there is none."""
    return changes(old, new).breaks


def schema_changes(old: Mapping[str, Json], new: Mapping[str, Json]) -> Changes:
    """The same over all schemas by name; a schema that is gone is a break."""
    found = Changes()
    for name in sorted(old):
        if name not in new:
            found.breaks.append(f"{name}: the event is gone")
            continue
        compared = changes(old[name], new[name])
        found.breaks.extend(f"{name}: {line}" for line in compared.breaks)
        found.additions.extend(f"{name}: {line}" for line in compared.additions)
    found.additions.extend(f"{name}: new event" for name in sorted(new.keys() - old.keys()))
    return found


class _Schemas:
    """Two documents whose parts are compared, place by place."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new

    def compare(self, old: list[Json], new: list[Json], place: str, seen: frozenset[str]) -> Iterator[_Difference]:
        mark = _mark(old, new)
        if mark in seen:
            return
        inner = seen | {mark} if mark else seen
        before, now = _shape(old, self._old), _shape(new, self._new)
        yield from _types(before, now, place)
        if before.types and not before.types & now.types:
            return  # of another type altogether nothing else can be said
        yield from _values(before, now, place)
        yield from _loosened(before, now, place)
        yield from self._properties(before, now, place, inner)
        yield from self._inside(before.items, now.items, f"{place}[]", inner)
        yield from self._inside(before.additional, now.additional, f"{place}{{}}", inner)

    def _inside(self, old: list[Json], new: list[Json], place: str, seen: frozenset[str]) -> Iterator[_Difference]:
        if old and not new:
            yield _Difference(place, "was described, may be anything now")
        elif old:
            yield from self.compare(old, new, place, seen)

    def _properties(self, before: _Shape, now: _Shape, place: str, seen: frozenset[str]) -> Iterator[_Difference]:
        required, still = before.required or set(), now.required or set()
        for name, old in before.properties.items():
            where = f"{place}.{name}" if place else name
            if name not in now.properties:
                yield _Difference(where, "removed")
                continue
            if name in required and name not in still:
                yield _Difference(where, "was always there, may be absent now")
            yield from self.compare(old, now.properties[name], where, seen)
        for name in now.properties.keys() - before.properties.keys() if before.properties else ():
            yield _Difference(f"{place}.{name}" if place else name, "new field", is_break=False)


def _types(before: _Shape, now: _Shape, place: str) -> Iterator[_Difference]:
    if before.types and not (now.types and now.types <= before.types):
        yield _Difference(place, f"was {_any_of(before.types)}, is {_any_of(now.types)}")


def _values(before: _Shape, now: _Shape, place: str) -> Iterator[_Difference]:
    if before.values is None:
        return
    if now.values is None:
        yield _Difference(place, f"was one of {', '.join(sorted(before.values))}, may be anything now")
        return
    if gone := before.values - now.values:
        yield _Difference(place, f"{', '.join(sorted(gone))} is no value any more")
    if added := now.values - before.values:
        yield _Difference(place, f"new value {', '.join(sorted(added))}", is_break=False)


def _loosened(before: _Shape, now: _Shape, place: str) -> Iterator[_Difference]:
    for name, promised in before.limits.items():
        value = now.limits.get(name)
        is_kept = value is not None and (
            (name in UPPER and value <= promised)
            or (name in LOWER and value >= promised)
            or (name in EXACT and value == promised)
        )
        if not is_kept:
            yield _Difference(place, f"{name} was {promised}, is {'not promised' if value is None else value}")


def _shape(schemas: list[Json], root: Json) -> _Shape:
    shape = _Shape()
    for schema in _alternatives(schemas, root):
        types = _types_of(schema)
        shape.types |= types
        if "enum" in schema or "const" in schema:
            values = {str(value) for value in schema.get("enum", [schema.get("const")])}
            shape.values = (shape.values or set()) | values
        for name, child in schema.get("properties", {}).items():
            shape.properties.setdefault(name, []).append(child)
        if "object" in types:
            required = set(schema.get("required", ()))
            shape.required = required if shape.required is None else shape.required & required
        if isinstance(schema.get("items"), dict):
            shape.items.append(schema["items"])
        if isinstance(schema.get("additionalProperties"), dict):
            shape.additional.append(schema["additionalProperties"])
        shape.limits |= {name: schema[name] for name in (*UPPER, *LOWER, *EXACT) if name in schema}
    return shape


def _alternatives(schemas: list[Json], root: Json) -> Iterator[Json]:
    """The schemas of which one holds. One that only says which fields must be there is no shape of its own."""
    for given in schemas:
        schema = _resolved(given, root)
        nested = [
            option for name in ("anyOf", "oneOf") for option in schema.get(name, ()) if set(option) != {"required"}
        ]
        if nested:
            yield from _alternatives(nested, root)
        else:
            yield schema


def _resolved(schema: Json, root: Json) -> Json:
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def _types_of(schema: Json) -> set[str]:
    stated = schema.get("type")
    if isinstance(stated, list):
        return set(stated)
    if stated is not None:
        return {stated}
    return {_type_of(value) for value in schema.get("enum", [schema["const"]] if "const" in schema else [])}


def _type_of(value: Any) -> str:  # noqa: ANN401 - any JSON
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}
    return names.get(type(value), "object")


def _any_of(types: set[str]) -> str:
    return "/".join(sorted(types)) or "anything"


def _mark(old: list[Json], new: list[Json]) -> str:
    """Names a pair of references, so that a schema that holds itself is compared once; empty without a reference."""
    references = [[schema.get("$ref") for schema in side] for side in (old, new)]
    return repr(references) if any(map(any, references)) else ""


_FIXED: dict[str, str] = {
    "key": "consumers take ids from it, and it decides the order",
    "event": "consumers choose by `ce_type`",
    "cleanup": "consumers rely on what stays in the topic",
    "compression": "a consumer without the new codec stops",
    "partitions": "records of one key would stand in two partitions, out of order",
}
"""What never changes of a topic, and why."""


def topic_changes(old: Registry, new: Registry) -> Changes:
    """What a consumer of the topics of `old` meets on those of `new`."""
    today = {topic.name: topic for topic in new.topics}
    found = Changes()
    for topic in old.topics:
        if topic.name in today:
            found.breaks.extend(f"{topic.name}: {line}" for line in _broken(topic, today[topic.name]))
        else:
            found.breaks.append(f"{topic.name}: the topic is gone")
    known = {topic.name for topic in old.topics}
    found.additions.extend(f"{name}: new topic" for name in today if name not in known)
    return found


def _broken(old: Topic, new: Topic) -> Iterator[str]:
    for name, reason in _FIXED.items():
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            yield f"{name} was {before}, is {now}: {reason}"
    for name, is_worse, reason in _WORSE:
        before, now = getattr(old, name), getattr(new, name)
        if before is not None and now is not None and is_worse(before, now):
            yield f"{name} was {before}, is {now}: {reason}"


_WORSE: tuple[tuple[str, Callable[[int, int], bool], str], ...] = (
    ("retention_hours", lambda before, now: now < before, "a consumer that was away for that long loses records"),
    ("per_tenant", lambda before, now: now < before, "the topics of single tenants would be gone"),
    ("max_record_bytes", lambda before, now: now > before, "consumers size their buffers by it"),
)
"""What may change of a topic in one direction alone."""
