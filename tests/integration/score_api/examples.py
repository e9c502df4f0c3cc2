"""Records the examples of the OpenAPI document: `python -m tests.integration.score_api.examples`.

The application answers over a real database that holds the examples of `contracts/`, and queues the messages of
webhooks. What is drawn or passes (ids, secrets, moments) is written as something that stays, so that recording again
changes only what changed.
"""

import asyncio
import json
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from plumbline_contracts.events import ControlDefinition, ControlResults, Event, Health, InstanceStatus, Outcome
from plumbline_local import mongodb
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.graph.shaping import azure_tenant
from plumbline_score_api.openapi.document import EXAMPLES, messages
from plumbline_score_api.services import Services
from plumbline_score_api.settings import Settings
from plumbline_score_api.webhooks.notifying import Ownership

from tests.integration.score_api.asking import FILLED, PREPARING, TAKING_AWAY, Operation, bare_app, operations
from tests.integration.score_api.events import Judged, result, status
from tests.integration.score_api.in_process import ALL_ROLES, Siem, client_for, upkeep_of
from tests.polling import free_port

CONTRACTS = Path(__file__).parents[3] / "contracts" / "examples"
WORLD = {
    **FILLED,
    "control": "SF-ID-45",
    "framework": "nist_800_53_r5",
    "other": "sales-us",
    "profile_id": "MDA_SF_password_minimumPasswordLength",
}
"""What stands in paths: things of the examples of `contracts/`, and of this recording."""

MAKING = (*PREPARING, "createWebhook", "testWebhook")
"""Operations that make what others show, in this order."""

TODAY = datetime.now(UTC).date()
DAY = "2026-11-24"
_OF_DAY = {"since": f"{DAY}T00:00:00Z", "until": f"{DAY}T23:59:59Z"}
QUERIES: dict[str, dict[str, str]] = {
    **dict.fromkeys(("getTrends", "listHistory", "compareHistory", "exportHistory", "exportHistoryChanges"), _OF_DAY),
    "listGraphSecureScores": {"$filter": f"createdDateTime ge {TODAY}T00:00:00Z"},
    "countGraphSecureScores": {"$filter": f"createdDateTime ge {TODAY}T00:00:00Z"},
}
"""What is asked beyond what must be, so that an answer does not depend on the day of the recording."""

HEADERS = {"updateGraphControlProfile": {"Prefer": "return=representation"}}
FORMATS = {"text/csv": "csv", "application/x-ndjson": "ndjson"}
LONGEST_LIST = 2
LISTS = (
    "items", "datasets", "history", "changes", "exposed_entities", "value", "controlScores", "observations", "findings",
    "risks", "include-controls", "props", "subjects",
)  # fmt: skip
LINES = 4
SECRET = "plk_0123456789abcdef_" + "A" * 43
AZURE = azure_tenant("contoso", {})
SIGNING_SECRET = "whsec_" + "A" * 43 + "="
E = TypeVar("E", bound=Event)


def _event(name: str, model: type[E], **changes: Any) -> E:
    found = json.loads((CONTRACTS / name).read_text(encoding="utf-8"))
    return model.model_validate({**found, **changes})


async def fill(database: Database, tenant: str = "contoso") -> None:
    """The instance sales-eu of a tenant as the examples of `contracts/` have contoso's."""
    await composition.prepare(database)
    projection = upkeep_of(database, siem=Siem()).projection
    titles = {
        "SF-ID-01": ("efef", "Passwords have at least eight characters", ["MDA_SF_password_minimumPasswordLength"]),
        "SF-ID-45": ("aaaa", "Users who do not log in are frozen", []),
        "SF-ID-13": ("bbbb", "Privileged users have phishing-resistant MFA", []),
    }
    definitions = [
        _event(
            "control-definition.v1.1.json",
            ControlDefinition,
            control_id=control,
            digest=digest * 16,
            title=title,
            aliases=aliases,
        )
        for control, (digest, title, aliases) in titles.items()
    ]
    await projection.take_definitions(definitions)
    await projection.take_status(_event("instance-status.v1.1.json", InstanceStatus, tenant=tenant))
    for name in ("control-results.v1.1.json", "control-results.v1.2.json"):
        await projection.take_part(_event(name, ControlResults, tenant=tenant))


async def fill_peer(database: Database, name: str = "sales-us") -> None:
    """Another instance beside contoso's sales-eu, which passes what sales-eu fails."""
    projection = upkeep_of(database, siem=Siem()).projection
    await projection.take_status(_event("instance-status.v1.1.json", InstanceStatus, instance=name))
    again = {"instance": name, "evaluation_id": "1c2f7c60-3c39-5c7e-9f5a-6e0f3f1b7c11"}
    for event in ("control-results.v1.1.json", "control-results.v1.2.json"):
        part = _event(event, ControlResults, **again)
        passed = [
            each.model_copy(update={"outcome": Outcome.PASS, "share": 1.0, "points": each.max_points, "exposed": 0})
            for each in part.results
            if each.outcome is Outcome.FAIL
        ]
        rest = [each for each in part.results if each.outcome is not Outcome.FAIL]
        await projection.take_part(part.model_copy(update={"results": [*passed, *rest]}))


async def record(database: Database) -> dict[str, Any]:
    """Operation id to request and responses of every operation whose good answer ends, and of every message."""

    async def ask(_: Any) -> None:
        """Nobody collects."""

    services = composition.build_services(database, ask)
    key = await services.keys.create("contoso", "siem", ALL_ROLES)
    WORLD["key_id"] = key.split("_")[1]
    found = {}
    async with client_for(services, key) as client:
        for operation in _in_order():
            found[operation.name] = await _recorded(client, operation)
    found |= await _messages(database, services)
    return {name: example for name, example in sorted(found.items()) if example}


def _in_order() -> list[Operation]:
    """What makes, what shows, what changes, what ends."""
    every = {operation.name: operation for operation in operations() if not operation.is_endless}
    first, last = [[every.pop(name) for name in names] for names in (MAKING, TAKING_AWAY)]
    return [*first, *sorted(every.values(), key=lambda each: not each.is_reading), *last]


async def _recorded(client: httpx.AsyncClient, operation: Operation) -> dict[str, Any]:
    example: dict[str, Any] = {} if operation.body is None else {"request": operation.body}
    kinds = [kind for kind in FORMATS if kind in operation.kinds]
    for query in [{"format": FORMATS[kind]} for kind in kinds] or [{}]:
        answer = await _asked(client, operation, query)
        if answer.content:
            kind = answer.headers["content-type"].partition(";")[0]
            example.setdefault("responses", {})[kind] = _shown(kind, answer.text)
            _remember(operation.name, answer)
    return example


async def _asked(client: httpx.AsyncClient, operation: Operation, query: dict[str, str]) -> httpx.Response:
    path = re.sub(r"{(\w+)}", lambda match: WORLD[match[1]], operation.template)
    params = operation.query | QUERIES.get(operation.name, {}) | query
    headers = HEADERS.get(operation.name)
    answer = await client.request(operation.method, path, params=params, json=operation.body, headers=headers)
    assert answer.is_success, f"{operation.name}: {answer.text}"
    return answer


def _shown(kind: str, text: str) -> Any:
    """An answer as an example: JSON and numbers as values, files by their first lines."""
    lasting = _lasting(text)
    return "".join(lasting.splitlines(keepends=True)[:LINES]) if kind in FORMATS else _cut(json.loads(lasting))


def _remember(name: str, answer: httpx.Response) -> None:
    """The ids of what was made, for the paths of what comes."""
    if name == "createWebhook":
        WORLD["webhook_id"] = answer.json()["webhook_id"]
    if name == "testWebhook":
        WORLD["delivery_id"] = answer.json()["delivery_id"]


# --- what webhooks bring

EVERYTHING = {
    "score_dropped": {"points": 1},
    "finding_regressed": {},
    "exception_expiring": {},
    "connection_unhealthy": {},
    "compliance_finding": {},
}


async def _messages(database: Database, services: Services, tenant: str = "northwind") -> dict[str, Any]:
    """Operation id to one message of every kind, as they are queued when all of it happens to a tenant."""
    key = await services.keys.create(tenant, "siem", ALL_ROLES)
    async with client_for(services, key) as client:
        await _judge(database, tenant, 1, Outcome.PASS)
        hook = {"name": "SOC", "url": "https://hooks.northwind.example/", "events": EVERYTHING}
        path = f"/v1/webhooks/{(await client.post('/v1/webhooks', json=hook)).json()['webhook_id']}"
        await _judge(database, tenant, 2, Outcome.FAIL)
        decision = {"status": "risk_accepted", "expires_at": (datetime.now(UTC) + timedelta(days=3)).isoformat()}
        (await client.put("/v1/recommendations/sales-eu/SF-ID-45/status", json=decision)).raise_for_status()
        (await client.post(f"{path}/test")).raise_for_status()
        await composition.build_notifier(database, Ownership(lambda: {0}, lambda _: True)).turn(datetime.now(UTC))
        queued = (await client.get(f"{path}/deliveries")).json()["items"]
    bodies = {body["type"]: body for body in (json.loads(_lasting(each["body"])) for each in queued)}
    bodies["exception.expiring"]["data"]["expires_at"] = "2026-11-27T10:30:00Z"
    schemas = bare_app().openapi()["components"]["schemas"]
    found = {}
    for _, operation in messages(bare_app().openapi()):
        schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        kinds = schemas[schema]["properties"]["type"]
        found[operation["operationId"]] = {
            "request": next(bodies[kind] for kind in kinds.get("enum", [kinds.get("const")]) if kind in bodies)
        }
    return found


async def _judge(database: Database, tenant: str, number: int, outcome: Outcome) -> None:
    """The control of these examples, judged once more, by a collection that has troubles in the end."""
    projection = upkeep_of(database, siem=Siem()).projection
    failed = {"health": Health.FAILED, "message": "The integration user cannot log in: its password has expired."}
    troubles: dict[str, Any] = {} if outcome is Outcome.PASS else {**failed, "consecutive_failures": 3}
    await projection.take_status(status(number=number, tenant=tenant, **troubles))
    for part in Judged(number, [result("SF-ID-45", outcome, digest="aaaa" * 16)], tenant=tenant).parts():
        await projection.take_part(part)


# --- what stays


def _lasting(text: str) -> str:
    """Without what is drawn and what passes."""
    text = re.sub(r"plk_[0-9a-f]{16}_[\w-]{43}", SECRET, text).replace(WORLD["key_id"], FILLED["key_id"])
    text = re.sub(r"whsec_[\w+/=]+", SIGNING_SECRET, text).replace(WORLD["webhook_id"], FILLED["webhook_id"])
    text = re.sub(r"msg_[0-9a-f]{32}", FILLED["delivery_id"], text)
    text = re.sub(r'(?<=")(?!0123456789abcdef)[0-9a-f]{16}(?=\\?")', "fedcba9876543210", text)
    text = re.sub(r"(?<![0-9a-f_])[0-9a-f]{32}(?![0-9a-f])", "fedcba9876543210" * 2, text)
    text = re.sub(r'(?<=_id":")[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', "5f0c8a4e-2f56-4c0c-8d0c-6f1f5a0a7b11", text)
    text = re.sub(r"(?<=[:\[,])(?!1795(50[7-9]|51[0-7])\d{6})1[789]\d{11}(?=[,}\]])", "1795516200000", text)
    text = text.replace(f"{AZURE}_{TODAY}", f"{AZURE}_{DAY}")
    return re.sub(r"(?!2026-11-24T(08|09|10):|2036-)2\d{3}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", f"{DAY}T10:30:00Z", text)


def _cut(value: Any, name: str = "") -> Any:
    """Long lists, by their first entries."""
    if isinstance(value, list):
        return [_cut(each) for each in (value[:LONGEST_LIST] if name in LISTS else value)]
    if isinstance(value, dict):
        return {key: _cut(each, key) for key, each in value.items()}
    return value


async def _main(url: str) -> None:
    settings = Settings.model_validate({"PLUMBLINE_MONGODB_URL": url})
    async with composition.open_database(settings) as database:
        await fill(database)
        await fill_peer(database)
        found = await record(database)
    EXAMPLES.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Record them all."""
    with tempfile.TemporaryDirectory() as folder:
        server = mongodb.start(Path(folder), free_port())
        try:
            asyncio.run(_main(f"{server.url.rstrip('/')}/examples"))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
