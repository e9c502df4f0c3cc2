"""The OpenAPI document of an application: what FastAPI derives from the routes, and what clients need beyond that.

A route states what only it knows: operation id, models, problems of its own, the role that it demands. What holds for
all routes of a kind (problems, ETags, security, descriptions of shared parameters) is added here, so that no route can
leave it out, and a route that states it by itself is left alone.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from plumbline_score_api.access import Requires, streamed
from plumbline_score_api.graph.errors import error_of, is_graph
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.openapi import wording
from plumbline_score_api.openapi.wording import PROBLEMS
from plumbline_score_api.problems import MEDIA_TYPE, Problem

Json = dict[str, Any]

EXAMPLES = Path(__file__).with_name("examples.json")
"""Operation id to what was asked and answered. Real ones, recorded."""

NAMES = {
    "plumbline_score_api__audit__schemas__AuditEntry": "AuditEntry",
    "plumbline_contracts__events__AuditEntry": "ProductAuditEntry",
}
"""Models of one name, by the names that they have here."""

ERRORS_OF_GRAPH = "GraphError"
"""The schema of errors of the routes in the shape of Microsoft Graph."""

SAFE = ("get", "head")
ALWAYS = (401, 403, 413, 422, 429, 500, 503)
OF_BODIES = (400, 415)


def install(app: FastAPI) -> None:
    """Let `app.openapi()` be the whole document, made once."""
    derived = app.openapi

    @cache
    def openapi() -> Json:
        return whole(derived(), _by_operation(app))

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own documentation does


def demanded(dependant: Dependant) -> frozenset[Role]:
    """The roles of which a route demands one."""
    own = frozenset(dependant.call.roles) if isinstance(dependant.call, Requires) else frozenset[Role]()
    return own.union(*(demanded(each) for each in dependant.dependencies))


def _by_operation(app: FastAPI) -> dict[str, APIRoute]:
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    return {route.unique_id: route for route in routes if isinstance(route, APIRoute)}


def whole(derived: Json, routes: Mapping[str, APIRoute]) -> Json:
    """The document of these routes."""
    document: Json = _renamed(derived)
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    for path, method, operation in operations(document):
        route = routes[operation["operationId"]]
        _describe(operation, demanded(route.dependant))
        if is_graph(path):
            _refer_to_graph_errors(operation, method)
        else:
            _add_problems(operation, method, route)
        if method == "get" and not _is_streamed(route.dependant):
            _add_conditions(operation)
        _add_tags_of_writes(operation)
        for response in _good(operation):
            _describe_answer(response, document["components"]["schemas"])
        _finish_parameters(operation)
        _add_examples(operation, examples.get(operation["operationId"], {}))
    for _, message in messages(document):
        _describe(message, frozenset())
        _add_examples(message, examples.get(message["operationId"], {}))
    _untitle(document["components"]["schemas"])
    _let_stand_twice(document["components"]["schemas"])
    return _framed(document)


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Path, method and operation of all operations."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def messages(document: Json) -> Iterator[tuple[str, Json]]:
    """Name and operation of all messages that webhooks bring."""
    for name, item in document.get("webhooks", {}).items():
        yield name, item["post"]


# --- the frame


def _renamed(derived: Json) -> Json:
    text = json.dumps(derived)
    for given, ours in NAMES.items():
        text = text.replace(f'"{given}"', f'"{ours}"').replace(f'/{given}"', f'/{ours}"')
    renamed: Json = json.loads(text)
    return renamed


def _framed(document: Json) -> Json:
    used = {tag for _, _, operation in operations(document) for tag in operation.get("tags", ())}
    components, has_graph = document["components"], any(map(is_graph, document["paths"]))
    problem = _untitle(Problem.model_json_schema(ref_template="#/components/schemas/{model}"))
    components["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
    components["schemas"] = dict(sorted(components["schemas"].items()))
    components["responses"] = {told.name: _response(status, told) for status, told in PROBLEMS.items()}
    if has_graph:
        of_graph = {told.name: _graph_response(status, told) for status, told in wording.GRAPH_ERRORS.items()}
        components["responses"] |= of_graph
    components["headers"] = {name: dict(header) for name, header in wording.HEADERS.items()}
    components["securitySchemes"] = {"key": wording.KEY, "token": wording.TOKEN}
    info = {
        **document["info"],
        "description": wording.DESCRIPTION,
        "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
    }
    return {
        "openapi": document["openapi"],
        "info": info,
        "servers": [{"url": "/", "description": "Where this document is served"}],
        "security": [{"key": []}, {"token": []}],
        "tags": [{"name": name, "description": text} for name, text in wording.TAGS.items() if name in used],
        "paths": document["paths"],
        "webhooks": document.get("webhooks", {}),
        "components": components,
    }


def _response(status: int, told: wording.Told) -> Json:
    errors = [{"at": "query.limit", "message": "Input should be less than or equal to 500"}] if status == 422 else []
    body = {"type": "about:blank", "title": told.title, "status": status, "detail": told.detail, "errors": errors}
    if status == 500:
        body["trace_id"] = "4bf92f3577b34da6a3ce929d0e0e4736"
    response: Json = {
        "description": told.description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": body}},
    }
    return _with_headers(response, told)


def _graph_response(status: int | str, told: wording.Told) -> Json:
    shown = status if isinstance(status, int) else HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    numbers = dict.fromkeys(("request-id", "client-request-id"), "4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
    _, example = error_of({"detail": told.detail}, shown, numbers)
    example["error"]["innerError"]["date"] = "2026-11-24T10:30:00"
    schema = {"$ref": f"#/components/schemas/{ERRORS_OF_GRAPH}"}
    content = {"application/json": {"schema": schema, "example": example}}
    return _with_headers({"description": told.description, "content": content}, told)


def _with_headers(response: Json, told: wording.Told) -> Json:
    if told.headers:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in told.headers}
    return response


def _untitle(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """Without the titles that pydantic derives: the names of fields and components say the same."""
    if isinstance(schema, list):
        return [_untitle(each) for each in schema]
    if isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        for name, value in schema.items():
            if name not in ("example", "examples", "default", "const", "enum"):
                schema[name] = _untitle(value)
    return schema


def _let_stand_twice(schema: Any) -> None:  # noqa: ANN401 - any JSON
    """What is a set here is taken from a list as well in which something stands twice."""
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _let_stand_twice(each)
    if isinstance(schema, dict) and schema.get("uniqueItems") is True:
        del schema["uniqueItems"]


# --- one operation


def _describe(operation: Json, roles: frozenset[Role]) -> None:
    """Summary from the operation id, the roles in words and as security requirements, of which one suffices."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", operation["operationId"]).lower()
    operation["summary"] = words.capitalize()
    if not roles:
        return
    named = sorted(roles, key=list(Role).index)
    told = " or ".join(f"`{role.value}`" for role in named)
    operation["description"] = f"{operation.get('description', '')}\n\nNeeds the role {told}.".strip()
    operation["security"] = [{scheme: [role.value]} for scheme in ("key", "token") for role in named]


def _add_problems(operation: Json, method: str, route: APIRoute) -> None:
    """Those that any such operation may have; those that the route states, as references; sorted."""
    responses = operation["responses"]
    found = {**({str(status): None for status in ALWAYS}), **responses}
    if "requestBody" in operation:
        of_body = OF_BODIES if route.body_field is not None else OF_BODIES[:1]
        found.update({str(status): None for status in of_body if str(status) not in responses})
    if method in SAFE and _is_ours(found.get("409")):
        del found["409"]
    operation["responses"] = {
        status: _reference(int(status)) if _is_ours(response) else response
        for status, response in sorted(found.items())
    }


def _refer_to_graph_errors(operation: Json, method: str) -> None:
    """The errors that the route states, as references. What is not as documented is 400 there, never 422."""
    responses = operation["responses"]
    if method in SAFE:
        responses.pop("409", None)
    for status in responses:
        if not status.startswith("2"):
            told = wording.GRAPH_ERRORS[int(status) if status.isdecimal() else status]
            responses[status] = {"$ref": f"#/components/responses/{told.name}"}
    operation["responses"] = dict(sorted(responses.items()))


def _is_ours(response: Json | None) -> bool:
    """Whether a response is a problem as `problems.response_of` says it, or is to be one."""
    return response is None or set(response.get("content", ())) == {MEDIA_TYPE}


def _reference(status: int) -> Json:
    return {"$ref": f"#/components/responses/{PROBLEMS[status].name}"}


def _is_streamed(dependant: Dependant) -> bool:
    return dependant.call is streamed or any(map(_is_streamed, dependant.dependencies))


def _add_conditions(operation: Json) -> None:
    """What the guard adds to every GET that is not streamed."""
    if "200" not in operation["responses"]:
        return
    operation.setdefault("parameters", []).append(json.loads(json.dumps(wording.IF_NONE_MATCH)))
    _tagged(operation["responses"]["200"])
    unchanged = {"description": "It is as you know it."}
    operation["responses"]["304"] = _tagged(unchanged)
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_tags_of_writes(operation: Json) -> None:
    """A write that takes `If-Match` says what stands afterwards."""
    takes_tag = any(each["name"].lower() == "if-match" for each in operation.get("parameters", ()))
    if takes_tag and "content" in operation["responses"].get("200", {}):
        _tagged(operation["responses"]["200"])


def _tagged(response: Json) -> Json:
    response.setdefault("headers", {})["ETag"] = {"$ref": "#/components/headers/ETag"}
    return response


def _finish_parameters(operation: Json) -> None:
    for parameter in operation.get("parameters", ()):
        schema = _without_null(_untitle(parameter["schema"]))
        described = schema.pop("description", None) if isinstance(schema, dict) else None
        text, example = wording.PARAMETERS.get(parameter["name"], (None, None))
        parameter["schema"] = schema
        parameter.setdefault("description", described or text)
        if parameter["description"] is None:
            del parameter["description"]
        if example is not None and "example" not in parameter and "examples" not in parameter:
            parameter["example"] = [example] if schema.get("type") == "array" else example


def _without_null(schema: Json) -> Json:
    """A parameter is there or not; it cannot be null."""
    options = schema.get("anyOf", [])
    if {"type": "null"} not in options:
        return schema
    rest = [option for option in options if option != {"type": "null"}]
    others = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**others, **rest[0]} if len(rest) == 1 else {**others, "anyOf": rest}


def _describe_answer(response: Json, schemas: Json) -> None:
    """In the words of its model, where the route says nothing."""
    if response.get("description") != "Successful Response":
        return
    named = [content.get("schema", {}).get("$ref", "") for content in response.get("content", {}).values()]
    found = [schemas[name.rsplit("/", 1)[1]].get("description", "") for name in named if name]
    response["description"] = (next(iter(found), "") or "It is done.") if named else "It is done; there is no body."


def _add_examples(operation: Json, recorded: Json) -> None:
    """What was recorded: one answer, or for answers of several media types one of each."""
    asked = operation.get("requestBody", {}).get("content", {})
    for content in asked.values():
        if "request" in recorded and not _has_example(content):
            content["example"] = recorded["request"]
    for response in _good(operation):
        for kind, content in response.get("content", {}).items():
            _untitle(content.get("schema"))
            if kind in recorded.get("responses", {}) and not _has_example(content):
                content["example"] = recorded["responses"][kind]


def _has_example(content: Json) -> bool:
    return "example" in content or "examples" in content


def _good(operation: Json) -> list[Json]:
    """The answers of success, of which there may be two: with what stands now, and without."""
    return [response for status, response in operation["responses"].items() if status.startswith("2")]
