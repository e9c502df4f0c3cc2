"""Whether clients of an older OpenAPI document still work with a newer one. Pure.

What a client sends may only become more, what it receives may only keep its promises: fields, types and values of the
old document stand in the new one. Values and fields that are new in an answer are no break; the document says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
EXACT = ("pattern", "format", "multipleOf", "uniqueItems")
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


def breaking_changes(old: Json, new: Json) -> list[str]:
    """Every place where a client of `old` could fail with `new`; empty when none could."""
    compared = _Documents(old, new)
    of_paths = [line for path, item in old["paths"].items() for line in compared.path(path, item)]
    return of_paths + [line for name in old.get("webhooks", {}) for line in compared.message(name)]


@dataclass
class _Shape:
    """A schema with its references followed and its alternatives put together."""

    types: set[str] = field(default_factory=set)
    values: set[str] | None = None
    properties: dict[str, list[Json]] = field(default_factory=dict)
    required: set[str] | None = None
    items: list[Json] = field(default_factory=list)
    additional: list[Json] = field(default_factory=list)
    is_closed: bool = False
    limits: dict[str, Any] = field(default_factory=dict)


class _Documents:
    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new

    def path(self, path: str, item: Json) -> Iterator[str]:
        for method in (name for name in METHODS if name in item):
            place, now = f"{method.upper()} {path}", self._new["paths"].get(path, {}).get(method)
            if now is None:
                yield f"{place}: removed"
            else:
                yield from (f"{place}: {line}" for line in self._operation(item[method], now))

    def message(self, name: str) -> Iterator[str]:
        """A webhook is received by clients, with its body."""
        place, now = f"webhook {name}", self._new.get("webhooks", {}).get(name)
        if now is None:
            yield f"{place}: removed"
            return
        schemas = [
            item["post"]["requestBody"]["content"]["application/json"]["schema"]
            for item in (self._old["webhooks"][name], now)
        ]
        yield from (f"{place}: {line}" for line in self._received(schemas[:1], schemas[1:], "body", frozenset()))

    def _operation(self, old: Json, new: Json) -> Iterator[str]:
        if old.get("operationId") != new.get("operationId"):
            yield f"operation id was {old.get('operationId')}, is {new.get('operationId')}"
        yield from self._security(old, new)
        yield from self._parameters(old, new)
        yield from self._body(old.get("requestBody"), new.get("requestBody"))
        yield from self._responses(old["responses"], new["responses"])

    # --- who may call

    def _security(self, old: Json, new: Json) -> Iterator[str]:
        """Whoever fulfilled one of the old alternatives fulfils one of the new ones."""
        wanted = _requirements(new, self._new)
        for before in _requirements(old, self._old):
            if not any(_suffices(before, now) for now in wanted):
                yield f"security: {_named(before)} does not suffice any more"

    # --- what is sent

    def _parameters(self, old: Json, new: Json) -> Iterator[str]:
        before, now = self._by_name(old, self._old), self._by_name(new, self._new)
        for key in before.keys() - now.keys():
            yield f"parameter {key}: removed"
        for key, parameter in now.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"parameter {key}: is required"
            if key in before:
                schemas = before[key].get("schema", {}), parameter.get("schema", {})
                yield from self._sent([schemas[0]], [schemas[1]], f"parameter {key}", frozenset())

    def _by_name(self, operation: Json, root: Json) -> dict[str, Json]:
        found = (_resolved(each, root) for each in operation.get("parameters", ()))
        return {f"{each['name']} in {each['in']}": each for each in found}

    def _body(self, old: Json | None, new: Json | None) -> Iterator[str]:
        if old is None:
            if new is not None and new.get("required"):
                yield "body: is required"
            return
        if new is None:
            yield "body: removed"
            return
        if new.get("required") and not old.get("required"):
            yield "body: is required"
        for kind, content in old["content"].items():
            if kind not in new["content"]:
                yield f"body: {kind} removed"
            else:
                yield from self._sent([content["schema"]], [new["content"][kind]["schema"]], "body", frozenset())

    def _sent(self, old: list[Json], new: list[Json], place: str, seen: frozenset[str]) -> Iterator[str]:
        """What was accepted is accepted."""
        if (mark := _mark(old, new)) and mark in seen:
            return
        before, now = _shape(old, self._old), _shape(new, self._new)
        if now.types and (not before.types or _narrower(before.types, now.types)):
            yield f"{place}: was {_any_of(before.types)}, is {_any_of(now.types)}"
        if now.values is not None:
            lost = (before.values or set()) - now.values
            if before.values is None:
                yield f"{place}: only some values are accepted"
            elif lost:
                yield f"{place}: value {', '.join(sorted(lost))} removed"
        yield from (f"{place}: {line}" for line in _tightened(before, now))
        yield from (
            f"{place}.{name}: is required" for name in sorted((now.required or set()) - (before.required or set()))
        )
        yield from self._children(before, now, place, seen | {mark}, is_sent=True)

    # --- what is received

    def _responses(self, old: Json, new: Json) -> Iterator[str]:
        for status, response in old.items():
            if not status.startswith(("2", "3")):
                continue
            if status not in new:
                yield f"{status}: removed"
                continue
            yield from self._response(_resolved(response, self._old), _resolved(new[status], self._new), status)

    def _response(self, old: Json, new: Json, status: str) -> Iterator[str]:
        for name in sorted(old.get("headers", {}).keys() - new.get("headers", {}).keys()):
            yield f"{status}: header {name} removed"
        for kind, content in old.get("content", {}).items():
            if kind not in new.get("content", {}):
                yield f"{status}: {kind} removed"
                continue
            schemas = content.get("schema", {}), new["content"][kind].get("schema", {})
            yield from self._received([schemas[0]], [schemas[1]], status, frozenset())

    def _received(self, old: list[Json], new: list[Json], place: str, seen: frozenset[str]) -> Iterator[str]:
        """What was promised is kept."""
        if (mark := _mark(old, new)) and mark in seen:
            return
        before, now = _shape(old, self._old), _shape(new, self._new)
        if before.types and (not now.types or _narrower(now.types, before.types)):
            yield f"{place}: was {_any_of(before.types)}, is {_any_of(now.types)}"
        if lost := (before.values or set()) - (now.values or set()):
            yield f"{place}: value {', '.join(sorted(lost))} removed"
        if before.limits.get("format") != now.limits.get("format"):
            yield f"{place}: format was {before.limits.get('format')}, is {now.limits.get('format')}"
        kept = now.properties.keys() & (before.required or set())
        yield from (f"{place}.{name}: was always there, is optional" for name in sorted(kept - (now.required or set())))
        yield from self._children(before, now, place, seen | {mark}, is_sent=False)

    # --- both

    def _children(
        self, before: _Shape, now: _Shape, place: str, seen: frozenset[str], *, is_sent: bool
    ) -> Iterator[str]:
        compare = self._sent if is_sent else self._received
        for name, schemas in before.properties.items():
            if name in now.properties:
                yield from compare(schemas, now.properties[name], f"{place}.{name}", seen)
            elif not is_sent or now.is_closed:
                yield f"{place}.{name}: removed"
        if before.items and now.items:
            yield from compare(before.items, now.items, f"{place}[]", seen)
        if before.additional and now.additional:
            yield from compare(before.additional, now.additional, f"{place}{{}}", seen)
        if is_sent and now.is_closed and not before.is_closed and "object" in before.types:
            yield f"{place}: unknown fields are refused"


# --- schemas


def _resolved(node: Json, root: Json) -> Json:
    while "$ref" in node:
        target: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _shape(schemas: list[Json], root: Json) -> _Shape:
    shape = _Shape()
    for schema in _alternatives(schemas, root):
        types = _types(schema)
        shape.types |= types
        if "enum" in schema or "const" in schema:
            values = {repr(value) for value in schema.get("enum", [schema.get("const")])}
            shape.values = (shape.values or set()) | values
        if "object" in types:
            _add_object(shape, schema)
        if isinstance(schema.get("items"), dict):
            shape.items.append(schema["items"])
        shape.limits |= {name: schema[name] for name in (*UPPER, *LOWER, *EXACT) if name in schema}
    return shape


def _alternatives(schemas: list[Json], root: Json) -> Iterator[Json]:
    """The schemas of which one holds. What all of `allOf` say is put together."""
    for given in schemas:
        schema = _resolved(given, root)
        if nested := [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
            yield from _alternatives(nested, root)
        elif "allOf" in schema:
            parts = [_resolved(part, root) for part in schema["allOf"]]
            yield {name: value for part in parts for name, value in part.items()}
        else:
            yield schema


def _types(schema: Json) -> set[str]:
    stated = schema.get("type")
    if isinstance(stated, list):
        return set(stated)
    if stated is not None:
        return {stated}
    return {_type_of(value) for value in schema.get("enum", [schema["const"]] if "const" in schema else [])}


def _type_of(value: Any) -> str:  # noqa: ANN401 - any JSON
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}
    return names.get(type(value), "object")


def _add_object(shape: _Shape, schema: Json) -> None:
    for name, child in schema.get("properties", {}).items():
        shape.properties.setdefault(name, []).append(child)
    required = set(schema.get("required", ()))
    shape.required = required if shape.required is None else shape.required & required
    additional = schema.get("additionalProperties")
    shape.is_closed |= additional is False
    if isinstance(additional, dict):
        shape.additional.append(additional)


def _narrower(wide: set[str], narrow: set[str]) -> bool:
    """Whether something of `wide` is not of `narrow`; an integer is a number."""
    lost = wide - narrow
    return bool(lost - {"integer"} if "number" in narrow else lost)


def _tightened(before: _Shape, now: _Shape) -> Iterator[str]:
    for name, value in now.limits.items():
        known = before.limits.get(name)
        is_tighter = (
            known is None
            or (name in UPPER and value < known)
            or (name in LOWER and value > known)
            or (name in EXACT and value != known)
        )
        if is_tighter:
            yield f"{name} was {known}, is {value}"


def _requirements(operation: Json, root: Json) -> list[dict[str, list[str]]]:
    stated: Any = operation.get("security", root.get("security", [{}]))
    found: list[dict[str, list[str]]] = stated
    return found


def _suffices(before: Mapping[str, list[str]], now: Mapping[str, list[str]]) -> bool:
    return all(name in before and set(roles) <= set(before[name]) for name, roles in now.items())


def _named(requirement: Mapping[str, list[str]]) -> str:
    return " and ".join(f"{name} ({', '.join(roles) or 'any'})" for name, roles in requirement.items()) or "nothing"


def _any_of(types: set[str]) -> str:
    return "/".join(sorted(types)) or "anything"


def _mark(old: list[Json], new: list[Json]) -> str:
    """Names a pair of references, so that a schema that holds itself is compared once; empty without a reference."""
    references = [[schema.get("$ref") for schema in side] for side in (old, new)]
    return repr(references) if any(map(any, references)) else ""
