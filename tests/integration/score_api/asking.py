"""A good request for every operation of the OpenAPI document, so that tests cover the routes that come later too."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import FastAPI
from plumbline_score_api import app as composition
from plumbline_score_api.graph.shaping import azure_tenant

FILLED = {
    "product": "salesforce",
    "instance": "sales-eu",
    "other": "sales-eu",
    "control": "C-1",
    "framework": "cis_v8",
    "key_id": "0123456789abcdef",
    "webhook_id": "0123456789abcdef",
    "delivery_id": f"msg_{'0123456789abcdef' * 2}",
    "profile_id": "MDA_C-1",
    "score_id": f"{azure_tenant('contoso', {})}_{datetime.now(UTC).date()}",
}
"""What stands in a path: things that a tenant has."""

BODIES: dict[str, Any] = {
    "setInsights": {"insights": "main"},
    "setStatuses": {"status": "planned", "filter": {}},
}
"""The bodies of operations whose schema alone does not make a good one."""

QUERIES: dict[str, dict[str, Any]] = {"streamEvents": {"follow": "false", "since": "2026-01-01T00:00:00Z"}}
"""What is asked beyond what must be: a stream that ends."""

PREPARING = ("setStatusTemplate",)
"""Operations that make what others read."""

TAKING_AWAY = ("deleteWebhook", "disconnectInstance", "revokeKey")
"""Operations after which there is less than others need; in this order they are the last ones."""

PAST, FAR = "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


class _Nowhere:
    def __getitem__(self, name: str) -> None:
        return None


def bare_app() -> FastAPI:
    """The application, to look at. It has no database."""
    nothing: Any = None
    return composition.create_app(composition.build_services(_Nowhere(), nothing), nothing)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Operation:
    """One operation, with values for its path and its body."""

    name: str
    method: str
    template: str
    query: dict[str, Any]
    body: Any
    is_endless: bool = False
    """Whether its good answer goes on for ever: server-sent events."""

    kinds: tuple[str, ...] = ()
    """The media types of its good answer."""

    @property
    def path(self) -> str:
        """The path with contoso's things in it."""
        return re.sub(r"{(\w+)}", lambda found: _filled(found[1]), self.template)

    @property
    def is_reading(self) -> bool:
        """Whether it must not change anything."""
        return self.method == "GET"

    async def send(self, client: httpx.AsyncClient) -> httpx.Response:
        """Ask for it."""
        return await client.request(self.method, self.path, params=self.query, json=self.body)


def _filled(name: str) -> str:
    assert name in FILLED, f"say in {__name__}.FILLED what {{{name}}} of a path is, and have it in the fixture `served`"
    return FILLED[name]


def operations() -> list[Operation]:
    """All operations of the document."""
    document = bare_app().openapi()
    return [
        Operation(
            operation["operationId"],
            method.upper(),
            path,
            _query(operation),
            _body(operation, document),
            "text/event-stream" in _kinds(operation),
            _kinds(operation),
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def _kinds(operation: dict[str, Any]) -> tuple[str, ...]:
    return tuple(operation["responses"].get("200", {}).get("content", {}))


def _query(operation: dict[str, Any]) -> dict[str, Any]:
    """What a query must have: moments."""
    if (name := operation["operationId"]) in QUERIES:
        return QUERIES[name]
    needed = [each for each in operation.get("parameters", ()) if each["in"] == "query" and each.get("required")]
    assert all(each["schema"].get("format") == "date-time" for each in needed), f"say in {__name__} what {needed} are"
    return {each["name"]: PAST for each in needed}


def _body(operation: dict[str, Any], document: dict[str, Any]) -> Any:
    if (name := operation["operationId"]) in BODIES:
        return BODIES[name]
    content = operation.get("requestBody", {}).get("content", {})
    return example(content["application/json"]["schema"], document) if "application/json" in content else None


def example(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """A value of a schema: its example, or the least that it demands."""
    if "$ref" in schema:
        return example(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document)
    if schema.get("examples"):
        return schema["examples"][0]
    for kind in ("anyOf", "oneOf", "allOf"):
        if kind in schema:
            return example(schema[kind][0], document)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    return _least(schema, document)


def _least(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: example(properties[name], document) for name in schema.get("required", ())}
        case "array":
            return [example(schema["items"], document)] * max(1, schema.get("minItems", 0))
        case "string":
            return FAR if schema.get("format") == "date-time" else "x" * max(1, schema.get("minLength", 0))
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    return None
