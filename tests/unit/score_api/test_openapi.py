"""The OpenAPI document is whole, clean and current, and clients of the released one still work."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from plumbline_score_api import cli
from plumbline_score_api.access import streamed
from plumbline_score_api.graph.errors import is_graph
from plumbline_score_api.openapi import files, wording
from plumbline_score_api.openapi.compatibility import breaking_changes
from plumbline_score_api.openapi.document import ERRORS_OF_GRAPH, EXAMPLES, messages, operations
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.webhooks.messages import MessageType
from typer.testing import CliRunner

from tests.integration.score_api.asking import bare_app

ROOT = Path(__file__).parents[3]
Json = dict[str, Any]
APP = bare_app()
DOCUMENT: Json = APP.openapi()
OPERATIONS = {operation["operationId"]: (path, method, operation) for path, method, operation in operations(DOCUMENT)}
MESSAGES = {operation["operationId"]: operation for _, operation in messages(DOCUMENT)}
WITH_TWO_ANSWERS = {"updateGraphControlProfile": {"200", "204"}}
"""Operations that a caller asks for what stands now or for nothing: `Prefer` of RFC 7240, as Graph has it."""

every_operation = pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS.values(), ids=OPERATIONS)
every_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


def _resolved(node: Json) -> Json:
    while "$ref" in node:
        target: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _nodes(node: Any) -> Iterator[Json]:
    """All objects of the document but examples."""
    if isinstance(node, dict):
        yield node
        for name, child in node.items():
            if name not in ("example", "examples"):
                yield from _nodes(child)
    elif isinstance(node, list):
        for child in node:
            yield from _nodes(child)


# --- the document as a whole


def test_it_is_openapi() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_the_committed_one_is_current() -> None:
    assert (ROOT / files.CURRENT).read_text(encoding="utf-8") == files.text(DOCUMENT), (
        "run `score-api openapi generate`"
    )


def test_operation_ids_are_unique_verbs() -> None:
    names = [*(operation["operationId"] for _, _, operation in operations(DOCUMENT)), *MESSAGES]
    assert len(names) == len({name.lower() for name in names})
    assert [name for name in names if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name)] == []


def test_every_tag_is_described() -> None:
    used = {tag for _, _, operation in operations(DOCUMENT) for tag in operation["tags"]}
    assert used == {tag["name"] for tag in DOCUMENT["tags"]}, f"say in {wording.__name__}.TAGS what they are about"
    assert all(tag["description"].endswith(".") for tag in DOCUMENT["tags"])


def test_no_schema_is_named_by_its_module() -> None:
    assert [name for name in DOCUMENT["components"]["schemas"] if "__" in name] == []


def test_nothing_of_the_components_is_unused() -> None:
    used = {node["$ref"] for node in _nodes(DOCUMENT) if "$ref" in node}
    parts = ("schemas", "headers", "responses")
    there = {f"#/components/{part}/{name}" for part in parts for name in DOCUMENT["components"][part]}
    assert there <= used


def test_null_is_a_type_and_enumerations_have_one() -> None:
    for node in _nodes(DOCUMENT):
        assert "nullable" not in node
        if isinstance(node.get("enum"), list):
            assert node["type"] == "string"
            assert len(node["enum"]) == len(set(node["enum"]))
            assert None not in node["enum"]


# --- every operation


@every_operation
def test_an_operation_says_what_it_does(path: str, method: str, operation: Json) -> None:
    assert operation["summary"]
    assert re.match(r"[A-Z].+\.", operation["description"], re.DOTALL)
    assert len(operation["tags"]) == 1


@every_operation
def test_an_operation_says_who_may_call_it(path: str, method: str, operation: Json) -> None:
    assert {name for each in operation["security"] for name in each} == {"key", "token"}
    for each in operation["security"]:
        (roles,) = each.values()
        assert all(f"`{role}`" in operation["description"] for role in roles)
        assert roles


@every_operation
def test_parameters_are_described_and_never_null(path: str, method: str, operation: Json) -> None:
    for parameter in operation.get("parameters", ()):
        assert parameter.get("description"), f"describe {parameter['name']}, in its model or in {wording.__name__}"
        assert {"type": "null"} not in parameter["schema"].get("anyOf", ())
        if "example" in parameter:
            assert _mistakes(parameter["schema"], parameter["example"]) == []
    named = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)}", path))


@every_operation
def test_every_error_is_a_problem_with_an_example(path: str, method: str, operation: Json) -> None:
    """Of Graph's routes it is an error of Graph, and what is not as documented is 400 there, not 422."""
    wanted = {"401", "403", "413", "429", "500", "503"} | ({"400", "4XX"} if is_graph(path) else {"422"})
    wanted |= {"404"} if "{" in path else set()
    wanted |= {"400"} if "requestBody" in operation else set()
    assert wanted <= operation["responses"].keys()
    assert ("422" in operation["responses"]) != is_graph(path)
    model, media_type = (ERRORS_OF_GRAPH, "application/json") if is_graph(path) else ("Problem", MEDIA_TYPE)
    for status, response in operation["responses"].items():
        if status[0] in "45":
            assert response["$ref"].startswith("#/components/responses/")
            ((kind, content),) = _resolved(response)["content"].items()
            assert kind == media_type
            assert content["schema"] == {"$ref": f"#/components/schemas/{model}"}
            assert content["example"].get("status", status) in (status, int(status.replace("X", "0")))
            assert _mistakes(content["schema"], content["example"]) == []


@every_operation
def test_the_headers_are_those_that_are_sent(path: str, method: str, operation: Json) -> None:
    names = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "header"}
    is_streamed = any(each.dependency is streamed for each in _route(operation["operationId"]).dependencies)
    assert ("If-None-Match" in names) == (method == "get" and not is_streamed)
    if "If-None-Match" in names:
        assert "content" not in operation["responses"]["304"]
    for status in {"200", "304"} & operation["responses"].keys():
        if names & {"If-None-Match", "if-match"}:
            assert operation["responses"][status]["headers"]["ETag"] == {"$ref": "#/components/headers/ETag"}
    assert "Retry-After" in _resolved(operation["responses"]["429"])["headers"]


def _route(operation_id: str) -> Any:
    routes = [context.original_route for context in iter_route_contexts(APP.routes)]
    return next(route for route in routes if getattr(route, "operation_id", None) == operation_id)


@every_operation
def test_bodies_have_good_examples(path: str, method: str, operation: Json) -> None:
    good = {status: response for status, response in operation["responses"].items() if status.startswith("2")}
    assert good.keys() == WITH_TWO_ANSWERS.get(operation["operationId"], good.keys())
    assert len(good) == 1 or operation["operationId"] in WITH_TWO_ANSWERS
    for body in (operation.get("requestBody", {}), *good.values()):
        for content in body.get("content", {}).values():
            _has_good_example(content)


def _has_good_example(content: Json) -> None:
    assert "example" in content, "record it: python -m tests.integration.score_api.examples"
    assert _mistakes(content["schema"], content["example"]) == []


def test_answers_have_the_media_types_that_are_sent() -> None:
    of_others = {
        name: set(operation["responses"]["200"]["content"])
        for name, (_, _, operation) in OPERATIONS.items()
        if "content" in operation["responses"].get("200", {})
        and set(operation["responses"]["200"]["content"]) != {"application/json"}
    }
    files_of = {name for name in OPERATIONS if name.startswith("export")} - {"exportOscal"}
    counts = {"countGraphSecureScores", "countGraphControlProfiles"}
    assert of_others == {
        "streamEvents": {"text/event-stream"},
        **{name: {"text/csv", "application/x-ndjson"} for name in files_of},
        **{name: {"text/plain"} for name in counts},
    }


# --- every message of a webhook


@every_message
def test_a_message_says_what_it_is_and_is_signed(message: Json) -> None:
    assert message["summary"]
    assert message["description"].endswith(".")
    assert message["security"] == []
    assert [each["name"] for each in message["parameters"]] == [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ]
    assert all(each["description"] for each in message["parameters"])
    assert message["responses"].keys() == {"204", "410", "4XX"}
    _has_good_example(message["requestBody"]["content"]["application/json"])


def test_every_kind_of_message_is_described() -> None:
    schemas = [each["requestBody"]["content"]["application/json"]["schema"] for each in MESSAGES.values()]
    kinds = [_resolved(schema)["properties"]["type"] for schema in schemas]
    told = [kind for each in kinds for kind in each.get("enum", [each.get("const")])]
    assert sorted(told) == sorted(MessageType)


def test_every_recorded_example_belongs_to_an_operation() -> None:
    assert json.loads(EXAMPLES.read_text(encoding="utf-8")).keys() <= OPERATIONS.keys() | MESSAGES.keys()


def _mistakes(schema: Json, value: Any) -> list[str]:
    whole = {**schema, "components": DOCUMENT["components"]}
    found = Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


# --- the released document


def test_clients_of_the_released_document_still_work() -> None:
    assert breaking_changes(files.read(ROOT / files.RELEASED), DOCUMENT) == [], (
        "before the first release of a version: `score-api openapi release --breaking`, and a line in CHANGELOG.md"
    )


Change = Callable[[Json], Any]


def _schema(document: Json, name: str) -> Json:
    found: Json = document["components"]["schemas"][name]
    return found


def _operation(document: Json, operation_id: str) -> Json:
    return next(each for _, _, each in operations(document) if each["operationId"] == operation_id)


def _parameter(document: Json, operation_id: str, name: str) -> Json:
    return next(each for each in _operation(document, operation_id)["parameters"] if each["name"] == name)


BREAKING: dict[str, tuple[Change, str]] = {
    "a path": (lambda d: d["paths"].pop("/v1/products"), "GET /v1/products: removed"),
    "an operation": (
        lambda d: d["paths"]["/v1/keys"].pop("post"),
        "POST /v1/keys: removed",
    ),
    "an operation id": (
        lambda d: _operation(d, "listKeys").update(operationId="getKeys"),
        "operation id was listKeys, is getKeys",
    ),
    "a role": (
        lambda d: _operation(d, "listProducts").update(security=[{"key": ["Keys.Manage"]}]),
        "security: key (SecureScore.Read) does not suffice any more",
    ),
    "a parameter": (
        lambda d: _operation(d, "listKeys")["parameters"].remove(_parameter(d, "listKeys", "limit")),
        "parameter limit in query: removed",
    ),
    "a new required parameter": (
        lambda d: _operation(d, "listKeys")["parameters"].append({"name": "x", "in": "query", "required": True}),
        "parameter x in query: is required",
    ),
    "a parameter that becomes required": (
        lambda d: _parameter(d, "listKeys", "cursor").update(required=True),
        "parameter cursor in query: is required",
    ),
    "a lower maximum": (
        lambda d: _parameter(d, "listKeys", "limit")["schema"].update(maximum=100),
        "parameter limit in query: maximum was 500, is 100",
    ),
    "a higher minimum": (
        lambda d: _parameter(d, "listKeys", "limit")["schema"].update(minimum=10),
        "minimum was 1, is 10",
    ),
    "a new pattern": (
        lambda d: _parameter(d, "listKeys", "cursor")["schema"].update(pattern="^x"),
        "pattern was None, is ^x",
    ),
    "a parameter of another type": (
        lambda d: _parameter(d, "listKeys", "limit")["schema"].update(type="string"),
        "parameter limit in query: was integer, is string",
    ),
    "a value that is accepted no more": (
        lambda d: _schema(d, "Decidable")["enum"].remove("planned"),
        "body.status: value 'planned' removed",
    ),
    "values where any were accepted": (
        lambda d: _schema(d, "KeyBody")["properties"]["name"].update(enum=["siem"]),
        "body.name: only some values are accepted",
    ),
    "a new required field": (
        lambda d: _schema(d, "KeyBody")["required"].append("expires_at"),
        "body.expires_at: is required",
    ),
    "a field that is accepted no more": (
        lambda d: _schema(d, "KeyBody")["properties"].pop("expires_at"),
        "body.expires_at: removed",
    ),
    "a body that was not needed": (
        lambda d: _operation(d, "scanInstance")["requestBody"].update(required=True),
        "body: is required",
    ),
    "a field of an answer": (
        lambda d: (
            _schema(d, "KeyItem")["properties"].pop("name"),
            _schema(d, "KeyItem")["required"].remove("name"),
        ),
        "200.items[].name: removed",
    ),
    "a promise of an answer": (
        lambda d: _schema(d, "KeyItem")["required"].remove("name"),
        "200.items[].name: was always there, is optional",
    ),
    "null where a value was": (
        lambda d: _schema(d, "KeyItem")["properties"].update(name={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        "200.items[].name: was string, is null/string",
    ),
    "a number where an integer was": (
        lambda d: _schema(d, "RecommendationPage")["properties"]["total"].update(type="number"),
        "200.total: was integer, is number",
    ),
    "a value of an answer": (
        lambda d: _schema(d, "Outcome")["enum"].remove("PARTIAL"),
        "value 'PARTIAL' removed",
    ),
    "a format of an answer": (
        lambda d: _schema(d, "ScanAccepted")["properties"]["requested_at"].pop("format"),
        "202.requested_at: format was date-time, is None",
    ),
    "an answer": (
        lambda d: (
            _operation(d, "createKey")["responses"].update({"200": {"description": "x"}})
            or _operation(d, "createKey")["responses"].pop("201")
        ),
        "201: removed",
    ),
    "a header": (
        lambda d: _operation(d, "getStatus")["responses"]["200"]["headers"].pop("ETag"),
        "200: header ETag removed",
    ),
    "a message": (lambda d: d["webhooks"].pop("finding"), "webhook finding: removed"),
    "a field of a message": (
        lambda d: _schema(d, "FindingData")["properties"].pop("path"),
        "webhook finding: body.data.path: removed",
    ),
    "a media type": (
        lambda d: _operation(d, "listKeys")["responses"]["200"]["content"].pop("application/json"),
        "200: application/json removed",
    ),
}


@pytest.mark.parametrize(("change", "told"), BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_told(change: Change, told: str) -> None:
    changed = copy.deepcopy(DOCUMENT)
    change(changed)
    found = breaking_changes(DOCUMENT, changed)
    assert any(line.endswith(told) for line in found), found


HARMLESS: dict[str, Change] = {
    "nothing": lambda d: None,
    "a new operation": lambda d: d["paths"].update({"/v1/x": {"get": _operation(d, "listKeys")}}),
    "a new message": lambda d: d["webhooks"].update(other=d["webhooks"]["finding"]),
    "a new field of a message": lambda d: _schema(d, "FindingData")["properties"].update(note={"type": "string"}),
    "a new optional parameter": lambda d: _operation(d, "listKeys")["parameters"].append(
        {"name": "x", "in": "query", "schema": {"type": "string"}}
    ),
    "a higher maximum": lambda d: _parameter(d, "listKeys", "limit")["schema"].update(maximum=1000),
    "a number where an integer was accepted": lambda d: _parameter(d, "listKeys", "limit")["schema"].update(
        type="number"
    ),
    "a new optional field": lambda d: _schema(d, "KeyBody")["properties"].update(note={"type": "string"}),
    "a new value that is accepted": lambda d: _schema(d, "Decidable")["enum"].append("deferred"),
    "a new field of an answer": lambda d: _schema(d, "KeyItem")["properties"].update(note={"type": "string"}),
    "a new value of an answer": lambda d: _schema(d, "KeyState")["enum"].append("paused"),
    "an integer where a number was": lambda d: _schema(d, "ShownScore")["properties"]["current"].update(type="integer"),
    "a new error": lambda d: _operation(d, "listKeys")["responses"].update({"418": {"description": "x"}}),
    "one more role that suffices": lambda d: _operation(d, "listKeys")["security"].append(
        {"key": ["SecureScore.Read"]}
    ),
    "other words": lambda d: _operation(d, "listKeys").update(summary="x", description="x", tags=["x"]),
    "an inlined schema": lambda d: _operation(d, "getKey")["responses"]["200"]["content"]["application/json"].update(
        schema=_schema(d, "KeyItem")
    ),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_change_is_none(change: Change) -> None:
    changed = copy.deepcopy(DOCUMENT)
    change(changed)
    assert breaking_changes(DOCUMENT, changed) == []


def test_schemas_that_hold_themselves_are_compared_once() -> None:
    tree = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/T"}}},
    }
    document = {
        "paths": {
            "/t": {
                "get": {
                    "operationId": "getTree",
                    "responses": {
                        "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/T"}}}}
                    },
                }
            }
        },
        "components": {"schemas": {"T": tree}},
    }
    assert breaking_changes(document, copy.deepcopy(document)) == []


# --- the commands


def test_the_file_is_generated_and_checked(tmp_path: Path) -> None:
    out = tmp_path / "openapi.json"
    generate = ["openapi", "generate", "--out", str(out)]
    run = CliRunner().invoke
    assert "not current" in run(cli.app, [*generate, "--check"]).output
    assert run(cli.app, generate).exit_code == 0
    assert run(cli.app, [*generate, "--check"]).exit_code == 0
    assert out.read_text(encoding="utf-8") == (ROOT / files.CURRENT).read_text(encoding="utf-8")


def test_a_release_that_breaks_clients_must_be_meant(tmp_path: Path) -> None:
    broken = copy.deepcopy(DOCUMENT)
    broken["paths"].pop("/v1/products")
    released, current = tmp_path / "released.json", tmp_path / "current.json"
    release = ["openapi", "release", "--current", str(current), "--out", str(released)]
    run = CliRunner().invoke
    current.write_text(files.text(DOCUMENT))
    assert run(cli.app, release).exit_code == 0
    current.write_text(files.text(broken))
    refused = run(cli.app, release)
    assert refused.exit_code == 1
    assert "GET /v1/products: removed" in refused.output
    assert files.read(released)["paths"].keys() == DOCUMENT["paths"].keys()
    assert run(cli.app, [*release, "--breaking"]).exit_code == 0
    broken["info"]["version"], broken["paths"] = "1.0.0", {}
    current.write_text(files.text(broken))
    assert run(cli.app, [*release, "--breaking"]).exit_code == 1, "from 1.0 on it is not possible at all"
