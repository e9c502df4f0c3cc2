"""Whatever is sent: a problem with the right status, never a bug, never another tenant's data, and nothing written.

These tests walk over the operations of the OpenAPI document, so that a new route is held to the same rules when it is
there. What chance finds beyond them is in test_fuzzing.py.
"""

import base64
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from plumbline_score_api.app import Database
from plumbline_score_api.guard import LARGEST_BODY_BYTES
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.recommendations import cursors
from plumbline_score_api.services import Services
from plumbline_score_api.tokens.issuers import Issuer
from plumbline_score_api.tokens.service import over_http

from tests.integration.score_api.asking import FILLED, TAKING_AWAY, Operation, bare_app, operations
from tests.integration.score_api.in_process import ALL_ROLES, client_for
from tests.integration.score_api.issuing import issuer_server
from tests.integration.score_api.test_access import _fill as fill
from tests.unit.score_api.signers import claims, encoded, private_key, token

OF_ANOTHER_SHAPE = ("/graph/",)
"""Paths that speak as another API does: their errors are not problems, and they ignore what they do not know."""

DOCUMENT: dict[str, Any] = bare_app().openapi()
OPERATIONS = operations()
ENDING = [operation for operation in OPERATIONS if not operation.is_endless]
"""Those whose good answers a test can wait for."""

READING = [operation for operation in ENDING if operation.is_reading]
WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]
WITH_FIELDS = [operation for operation in WITH_BODY if operation.body]
"""Those that need a body; the body of others may be left out, and has any content type."""

LASTING = [operation for operation in OPERATIONS if operation.name not in TAKING_AWAY]

OURS = [operation for operation in OPERATIONS if not operation.template.startswith(OF_ANOTHER_SHAPE)]


def _path(operation: Operation, values: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda found: values[found[1]], operation.template)


def _unusable(operation: Operation) -> int:
    """The status for a value that cannot be used: Graph has 400 where HTTP has 422."""
    return 400 if operation.template.startswith(OF_ANOTHER_SHAPE) else 422


def _stated(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][operation.template][operation.method.lower()]
    return found


def _parameters(operation: Operation, place: str) -> list[dict[str, Any]]:
    return [each for each in _stated(operation).get("parameters", ()) if each["in"] == place]


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return _resolved(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    return schema


def _fields(operation: Operation) -> dict[str, dict[str, Any]]:
    """The fields of an operation's body."""
    schema = _stated(operation)["requestBody"]["content"]["application/json"]["schema"]
    return dict(_resolved(schema)["properties"])


# --- what is watched


async def _everything(database: Database) -> dict[str, list[str]]:
    """All documents, by collection."""
    names = await database.list_collection_names()
    return {name: sorted([repr(d) async for d in database[name].find({})]) for name in names}


@dataclass
class Watch:
    """A client, and what was wrong with the answers that it got."""

    client: httpx.AsyncClient
    complaints: list[str] = field(default_factory=list)
    count: int = 0

    async def send(self, method: str, url: str, *statuses: int, what: object = "", **more: Any) -> httpx.Response:
        """Ask; complain about a status that is not among `statuses`, an error that is no problem, and other tenants."""
        answer = await self.client.request(method, url, **more)
        self.count += 1
        place = f"{method} {url[:80]} {str(what)[:80]!a}: {answer.status_code} {answer.text[:200]}"
        if answer.status_code not in statuses:
            self.complaints.append(f"status: {place}")
        elif answer.status_code >= 400 and method != "HEAD" and not _is_problem(answer):
            self.complaints.append(f"no problem: {place}")
        if "fabrikam" in answer.text:
            self.complaints.append(f"another tenant: {place}")
        return answer


def _is_problem(answer: httpx.Response) -> bool:
    if any(part in answer.request.url.path for part in OF_ANOTHER_SHAPE):
        return answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    return bool(
        answer.headers["content-type"] == MEDIA_TYPE
        and body["status"] == answer.status_code
        and body["detail"]
        and len(answer.content) < LARGEST_BODY_BYTES
    )


async def _mark(database: Database) -> None:
    """Have whatever is fabrikam's say so."""
    for name in await database.list_collection_names():
        for document in [each async for each in database[name].find({"tenant": "fabrikam"})]:
            await database[name].replace_one({"_id": document["_id"]}, _said(document))


def _said(value: Any) -> Any:
    match value:
        case dict():
            return {name: _said(each) for name, each in value.items()}
        case list():
            return [_said(each) for each in value]
        case str():
            return value.replace("contoso.", "fabrikam.")
    return value


@pytest.fixture
async def watch(client: httpx.AsyncClient, database: Database) -> AsyncIterator[Watch]:
    """Contoso's client, beside fabrikam's data. In the end nothing was wrong, and nothing is written."""
    await fill(database, "contoso", "fabrikam")
    await _mark(database)
    before, watch = await _everything(database), Watch(client)
    yield watch
    assert not watch.complaints, "\n".join(watch.complaints)
    assert watch.count
    assert await _everything(database) == before


# --- parameters

UNKNOWN = (
    "verbose",
    "limit[$gt]",
    "cursor[$ne]",
    "$where",
    '{"$gt":""}',
    "instance[]",
    "\x00",
    "__proto__",
    "q" * 2000,
)
INJECTED = (
    '{"$gt": ""}', '{"$ne": null}', "[$regex]", "$where", "';return true;//", "' OR '1'='1", "\x00", "a\x00b", "\u202e",
    "\ud7ff\U0010ffff", "-1", "0", "1e999", "NaN", "null", "true", "\u0663", "9" * 400, "x" * 5000, "../../etc/passwd",
    "%2e%2e%2f", "\r\nX-Injected: 1", "${jndi:ldap://x}", "{{7*7}}", "<script>", " ", "",
)  # fmt: skip
RAW = ("%00", "%C0%AF", "%ED%A0%80", "%FF", "%252e%252e%252f", "%7B%22%24gt%22%3A%22%22%7D", "%", "%zz", "%u0000")
"""Percent-encoded: NUL, an overlong slash, half a surrogate pair, no UTF-8, encoded twice, an operator, broken."""


async def test_unknown_parameters_are_refused(watch: Watch) -> None:
    for operation in OURS:
        for name in UNKNOWN:
            params = {**operation.query, name: "1"}
            await watch.send(operation.method, operation.path, 422, params=params, json=operation.body, what=name)


NOBODYS = {name: "0" * 16 if name.endswith("_id") else "nobodys" for name in FILLED}


async def test_what_is_injected_into_a_parameter_is_a_value_or_refused(watch: Watch) -> None:
    """What writes is asked about things that are not there: a free text is a value, whatever it says."""
    for operation in ENDING:
        good = (*((200,) if operation.is_reading else ()), 404, _unusable(operation))
        path = operation.path if operation.is_reading else _path(operation, NOBODYS)
        for parameter in _parameters(operation, "query"):
            for value in INJECTED:
                params = {**operation.query, parameter["name"]: value}
                await watch.send(operation.method, path, *good, params=params, json=operation.body, what=value)
            for value in RAW:
                others = "".join(f"&{name}={quote(str(each))}" for name, each in operation.query.items())
                url = f"{path}?{parameter['name']}={value}{others}"
                await watch.send(operation.method, url, *good, json=operation.body)


async def test_what_is_injected_into_a_path_is_not_found_or_refused(watch: Watch) -> None:
    for operation in OPERATIONS:
        for name in re.findall(r"{(\w+)}", operation.template):
            for value in [quote(each, safe="") for each in INJECTED if each] + list(RAW) + ["a" * 65, "x%2Fy"]:
                path = _path(operation, {**FILLED, name: value})
                url = f"http://score-api{path}"
                bad = 404, 405, _unusable(operation)
                await watch.send(operation.method, url, *bad, params=operation.query or None, json=operation.body)


# --- bodies

MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda good: good[:-1],
    "two": lambda good: good + good,
    "text behind": lambda good: good + b"x",
    "a comma behind": lambda good: good[:-1] + b",}",
    "a comment": lambda good: b"/**/" + good,
    "single quotes": lambda good: good.replace(b'"', b"'"),
    "words": lambda _: b"status=planned",
    "markup": lambda _: b"<status>planned</status>",
    "a name twice": lambda good: good[:-1] + b"," + good[1:],
    "a name twice below": lambda good: good[:-1] + b',"x":{"a":1,"a":2}}',
    "NaN": lambda good: good[:-1] + b',"x":NaN}',
    "Infinity": lambda good: good[:-1] + b',"x":-Infinity}',
    "a number beyond all": lambda good: good[:-1] + b',"x":1e999}',
    "a number of 5,000 digits": lambda good: good[:-1] + b',"x":' + b"9" * 5000 + b"}",
    "a number with a leading zero": lambda good: good[:-1] + b',"x":01}',
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "UTF-32": lambda good: good.decode().encode("utf-32"),
    "a byte order mark": lambda good: b"\xef\xbb\xbf" + good,
    "an overlong slash": lambda good: good[:-1] + b',"x":"\xc0\xaf"}',
    "half a surrogate pair": lambda good: good[:-1] + b',"x":"\xed\xa0\x80"}',
    "no UTF-8": lambda good: good[:-1] + b',"x":"\xff"}',
    "a bare NUL": lambda good: good[:-1] + b',"x":"\x00"}',
    "NUL in front": lambda good: b"\x00" + good,
    "very deep": lambda _: b"[" * 30_000 + b"]" * 30_000,
    "very deep, open": lambda _: b'{"a":' * 10_000,
}
JSON = {"Content-Type": "application/json"}


async def test_what_is_no_json_that_all_read_alike_is_400(watch: Watch) -> None:
    for operation in WITH_FIELDS:
        good = json.dumps(operation.body).encode()
        for name, spoil in MALFORMED.items():
            await watch.send(operation.method, operation.path, 400, content=spoil(good), headers=JSON, what=name)


WRONG: tuple[Any, ...] = (
    {"$gt": ""}, {"$where": "1"}, {"$ne": None}, [{"$gt": ""}], [], [[]], {}, 1e300, -1, 10**30, True, "\x00", "a\x00b",
    "\ud800", "\udfff x", "x" * 20_000, "\x1b[31m", "\x7f",
)  # fmt: skip


async def test_a_body_of_another_form_is_422(watch: Watch) -> None:
    for operation in WITH_BODY:
        wholes: list[Any] = [
            [], None, 1, "x", True, {"$set": {"tenant": "fabrikam"}}, [operation.body],
            {**operation.body, "tenant": "fabrikam"}, {**operation.body, "$where": "1"}, {**operation.body, "": 1},
            {**operation.body, "\ud800": 1}, {**operation.body, "\x00": 1}, {**operation.body, "__proto__": {}},
            {f"f{n}": n for n in range(4000)},
        ]  # fmt: skip
        for body in wholes:
            content = json.dumps(body).encode()
            await watch.send(
                operation.method, operation.path, _unusable(operation), content=content, headers=JSON, what=body
            )
    for operation in WITH_FIELDS:
        await watch.send(
            operation.method, operation.path, _unusable(operation), content=b"", headers=JSON, what="nothing"
        )


async def test_a_value_of_another_form_in_any_field_is_422(watch: Watch) -> None:
    for operation in WITH_BODY:
        for name, schema in _fields(operation).items():
            for value in WRONG:
                if not _may_be(schema, value):
                    content = json.dumps({**operation.body, name: value}).encode()
                    where = f"{name} {value}"
                    await watch.send(
                        operation.method,
                        operation.path,
                        _unusable(operation),
                        content=content,
                        headers=JSON,
                        what=where,
                    )


def _may_be(schema: dict[str, Any], value: Any) -> bool:
    """Whether a field may well hold a value of this kind."""
    options = [_resolved(each) for each in schema.get("anyOf", [schema])]
    kinds = {option.get("type") for option in options}
    if value == {}:
        return "object" in kinds
    if value is True:
        return "boolean" in kinds
    if isinstance(value, int | float):
        return bool(kinds & {"integer", "number"}) and not any("minimum" in option for option in options)
    if value == []:
        return "array" in kinds and not any(option.get("minItems") for option in options)
    return False


async def test_too_much_is_413_whatever_it_is(watch: Watch) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    large = b" " * (LARGEST_BODY_BYTES + 1)
    for operation in OPERATIONS:
        await watch.send(operation.method, operation.path, 413, content=large, headers=JSON, params=operation.query)
        await watch.send(operation.method, operation.path, 413, content=chunks(), headers=JSON, params=operation.query)
        for length in ("-1", "1e3", "0x10", "٣", "9" * 30):
            headers = [(b"content-length", length.encode()), (b"content-type", b"application/json")]
            await watch.send(operation.method, operation.path, 413, headers=headers, what=length)


CONTENT_TYPES = (
    "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    "application/xml", "application/jsonp", "application/json-seq", "application",
    "json", "*/*", ";", "\xff", "application/octet-stream",
)  # fmt: skip


async def test_a_body_that_is_not_announced_as_json_is_415(watch: Watch) -> None:
    for operation in WITH_FIELDS:
        content = json.dumps(operation.body).encode()
        await watch.send(operation.method, operation.path, 415, content=content, what="none at all")
        for kind in CONTENT_TYPES:
            headers = [(b"content-type", kind.encode("latin-1"))]
            await watch.send(operation.method, operation.path, 415, content=content, headers=headers, what=kind)


# --- cursors


def _cursors() -> Iterator[str]:
    yield from (
        "",
        "x",
        "-",
        "=",
        "AAAA",
        "e30",
        "bnVsbA",
        "W10",
        "WzFd",
        "null",
        "0",
        "\x00",
        "\u0663",
        "%00",
        "A" * 3000,
    )
    positions: list[tuple[str | int, ...]] = [
        (), (1,), ("x",), ("x", "y"), (10**30,), (True,), ("2026-13-01", "x"), ('{"$gt": ""}', "x"),
    ]  # fmt: skip
    for scope in ("", "keys of contoso", "keys of fabrikam", "recommendations of fabrikam"):
        for parts in positions:
            yield cursors.encode(scope, *parts)
    for found in (["0" * 16, {"$gt": ""}], [{"$gt": ""}], {"$gt": ""}, ["0" * 16, "\ud800"], ["0" * 16, 1e999]):
        yield base64.urlsafe_b64encode(json.dumps(found).encode()).decode().rstrip("=")
    yield cursors.encode("x", "y")[:-3]


async def test_a_cursor_of_nobodys_is_422_on_every_list(watch: Watch) -> None:
    paged = [each for each in OURS if any(p["name"] == "cursor" for p in _parameters(each, "query"))]
    assert len(paged) >= 5
    for operation in paged:
        for cursor in _cursors():
            await watch.send(operation.method, operation.path, 422, params={**operation.query, "cursor": cursor})


async def test_a_cursor_belongs_to_its_list_and_tenant(services: Services, database: Database) -> None:
    await fill(database, "contoso", "fabrikam")
    texts = {
        tenant: [await services.keys.create(tenant, "x", ALL_ROLES) for _ in range(3)]
        for tenant in ("contoso", "fabrikam")
    }
    async with client_for(services, texts["contoso"][0]) as ours, client_for(services, texts["fabrikam"][0]) as theirs:
        page = (await theirs.get("/v1/keys", params={"limit": 1})).json()
        assert page["next_cursor"]
        assert (await theirs.get("/v1/keys", params={"limit": 1, "cursor": page["next_cursor"]})).status_code == 200
        for path in ("/v1/keys", "/v1/audit", "/v1/recommendations"):
            assert (await ours.get(path, params={"limit": 1, "cursor": page["next_cursor"]})).status_code == 422


# --- methods and paths

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "FOO")


async def test_another_method_is_405_and_says_which_there_are(watch: Watch) -> None:
    for template, item in DOCUMENT["paths"].items():
        there = {method.upper() for method in item} | ({"HEAD"} if "get" in item else set())
        path = re.sub(r"{(\w+)}", lambda found: FILLED[found[1]], template)
        for method in set(METHODS) - there:
            answer = await watch.send(method, path, 405, json={} if method in ("POST", "PUT") else None)
            assert answer.headers["allow"] == ", ".join(sorted(there)), path


async def test_a_path_that_is_nearly_one_is_404(watch: Watch) -> None:
    for operation in OURS:
        path = operation.path
        twice = path.replace("/", "%252F")
        for near in (f"{path}/", f"{path}//", f"/{path}", path.replace("/v1/", "/v1//"), f"{path}%2F",
                     path.replace("/v1", "/V1"), path.replace("/v1", "/v2"), f"{path};a=b/x", twice,
                     f"{path}.json/x", f"{path}%00/x"):  # fmt: skip
            await watch.send(operation.method, f"http://score-api{near}", 404, 405, json=operation.body)


# --- headers


async def test_strange_headers_change_nothing(watch: Watch) -> None:
    names = (
        b"if-none-match",
        b"traceparent",
        b"tracestate",
        b"accept",
        b"accept-language",
        b"range",
        b"host",
        b"origin",
    )
    for operation in READING:
        for value in (b"\xff", b'"', b"*", b"W/", b"," * 900, b"a" * 999, b"\x01", b"{$gt:}", b'"x", *'):
            headers = [(name, value) for name in names]
            await watch.send("GET", operation.path, 200, params=operation.query, headers=headers, what=value)


async def test_strange_preconditions_fail(watch: Watch) -> None:
    guarded = [each for each in OPERATIONS if any(p["name"].lower() == "if-match" for p in _parameters(each, "header"))]
    assert guarded
    for operation in guarded:
        for value in (b"\xff", b"x", b'"x"', b'W/"x"', b"", b" ", b"," * 900, b"a" * 1001, b'{"$gt": ""}'):
            headers = [(b"if-match", value)]
            await watch.send(
                operation.method, operation.path, 412, 422, headers=headers, json=operation.body, what=value
            )


# --- credentials


async def test_nothing_opens_with_bad_credentials(services: Services, database: Database) -> None:
    await fill(database, "contoso", "fabrikam")
    before = await _everything(database)
    with issuer_server() as server:
        body = claims(iss=server.url)
        good_key = await services.keys.create("contoso", "x", ALL_ROLES)
        await database["keys"].delete_one({"name": "x"})
        bad = [
            "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Bearer null", 'Bearer {"$gt": ""}',
            f"Token {good_key}", f"Bearer {good_key}", f"Bearer {good_key[:-1]}", f"Bearer {good_key}\x01",
            "Bearer \xff",
            f"Bearer {encoded({'alg': 'none', 'kid': 'k1'})}.{encoded(body)}.",
            f"Bearer {encoded({'alg': 'NONE', 'kid': 'k1'})}.{encoded(body)}.",
            f"Bearer {token(body, key='s' * 64, algorithm='HS256')}",
            f"Bearer {server.token(aud='other')}",
            f"Bearer {server.token(exp=1)}",
            f"Bearer {token(body, key_id='k9')}",
            f"Bearer {token(body, key=private_key('RS2048', 1))}",
            f"Bearer {'a' * 1024 * 1024}",
            f"Bearer {'.'.join('a' * 300_000 for _ in range(3))}",
        ]  # fmt: skip
        bearers, close = over_http([Issuer.model_validate(server.entry())])
        async with client_for(services, None, bearers) as client:
            watch = Watch(client)
            for operation in OPERATIONS:
                for text in bad:
                    headers = [(b"authorization", text.encode("latin-1"))]
                    answer = await watch.send(
                        operation.method, operation.path, 401, headers=headers, json=operation.body, what=text
                    )
                    assert answer.headers["www-authenticate"] == 'Bearer realm="plumbline"'
        await close()
    assert not watch.complaints, "\n".join(watch.complaints)
    assert await _everything(database) == before


# --- clocks

FAR = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00.000001-23:59", "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59", "2038-01-19T03:14:08Z",
    "2026-11-25T08:00:00.123456789Z", "2026-11-25t08:00:00z",
)  # fmt: skip
NO_MOMENTS = (
    "1", "-1", "0", "1764057600", "1e20", "now", "yesterday", "2026-11-25", "2026-11-25T08:00:00",
    "2026-02-30T00:00:00Z", "2026-11-25T24:00:01Z", "2026-11-25T08:00:00+24:01",
    "0000-01-01T00:00:00Z", "-2026-11-25T08:00:00Z", "P1D",
    "12026-11-25T08:00:00Z", "2026-11-25T08:00Z", "20261125T080000Z", "２０２６-11-25T08:00:00Z",
)  # fmt: skip


def _is_moment(schema: dict[str, Any]) -> bool:
    return any(option.get("format") == "date-time" for option in schema.get("anyOf", [schema]))


async def test_a_moment_in_a_query_may_be_far_and_must_be_one(watch: Watch) -> None:
    for operation in READING:
        for name in [each["name"] for each in _parameters(operation, "query") if _is_moment(each["schema"])]:
            for value in FAR:
                await watch.send("GET", operation.path, 200, 422, params={**operation.query, name: value}, what=value)
            for value in NO_MOMENTS:
                await watch.send("GET", operation.path, 422, params={**operation.query, name: value}, what=value)


async def test_a_moment_in_a_body_must_be_one_and_lie_ahead(watch: Watch) -> None:
    for operation in WITH_BODY:
        for name in [name for name, schema in _fields(operation).items() if _is_moment(schema)]:
            for value in (*NO_MOMENTS, *FAR[:5], FAR[6], 1, 1764057600, 4102444800.5, True):
                body = {**operation.body, name: value}
                await watch.send(operation.method, operation.path, 422, json=body, what=value)


async def test_the_last_moment_of_the_calendar_is_one(client: httpx.AsyncClient, database: Database) -> None:
    await fill(database, "contoso")
    for operation in WITH_BODY:
        for name in [name for name, schema in _fields(operation).items() if _is_moment(schema)]:
            body = {**operation.body, name: "9999-12-31T23:59:59.999999Z"}
            answer = await client.request(operation.method, operation.path, json=body)
            assert answer.is_success, answer.text
    for operation in READING:
        assert (await operation.send(client)).is_success, operation.name


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def _later(value: Any) -> Any:
    """A document as it would be if everything had happened a day later."""
    match value:
        case datetime():
            return value + timedelta(days=1)
        case dict():
            return {name: _later(each) for name, each in value.items()}
        case list():
            return [_later(each) for each in value]
        case str():
            return _MOMENT.sub(lambda found: _shifted(found[0]), value)
    return value


def _shifted(text: str) -> str:
    moment = datetime.fromisoformat(text) + timedelta(days=1)
    return moment.isoformat().replace("+00:00", "Z" if text.endswith("Z") else "+00:00")


async def test_a_clock_that_was_put_back_breaks_nothing(client: httpx.AsyncClient, database: Database) -> None:
    """All that is stored lies a day ahead of this process's clock."""
    await fill(database, "contoso")
    for name in await database.list_collection_names():
        for document in [each async for each in database[name].find({})]:
            await database[name].delete_one({"_id": document["_id"]})
            await database[name].insert_one(_later(document))
    for operation in [*READING, *(each for each in LASTING if not each.is_reading)]:
        answer = await operation.send(client)
        assert answer.is_success, f"{operation.name}: {answer.text}"
    for operation in ENDING:
        answer = await operation.send(client)
        assert answer.is_success or answer.status_code == 404, f"{operation.name}: {answer.text}"
