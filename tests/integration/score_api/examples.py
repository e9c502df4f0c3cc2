"""Records the examples of the OpenAPI document: `python -m tests.integration.score_api.examples`.

The application answers over a real database that holds the examples of `contracts/`. What is drawn or passes (ids,
secrets, moments) is written as something that stays, so that recording again changes only what changed.
"""

import asyncio
import json
import re
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import httpx
from plumbline_contracts.events import ControlDefinition, ControlResults, Event, InstanceStatus
from plumbline_local import mongodb
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.openapi.document import EXAMPLES
from plumbline_score_api.settings import Settings

from tests.integration.score_api.asking import FILLED, PREPARING, Operation, operations
from tests.integration.score_api.in_process import ALL_ROLES, client_for, projection_into
from tests.polling import free_port

CONTRACTS = Path(__file__).parents[3] / "contracts" / "examples"
WORLD = {**FILLED, "control": "SF-ID-45", "framework": "nist_800_53_r5"}
"""What stands in paths: things of the examples of `contracts/`."""

LONGEST_LIST = 2
LISTS = ("items", "datasets", "history", "changes", "exposed_entities")
SECRET = "plk_0123456789abcdef_" + "A" * 43
E = TypeVar("E", bound=Event)


def _event(name: str, model: type[E], **changes: Any) -> E:
    found = json.loads((CONTRACTS / name).read_text(encoding="utf-8"))
    return model.model_validate({**found, **changes})


async def fill(database: Database, tenant: str = "contoso") -> None:
    """The instance sales-eu of a tenant as the examples of `contracts/` have contoso's."""
    await composition.prepare(database)
    projection = projection_into(database)
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


async def record(database: Database) -> dict[str, Any]:
    """Operation id to request and response of every operation that answers in JSON."""

    async def ask(_: Any) -> None:
        """Nobody collects."""

    services = composition.build_services(database, ask)
    key = await services.keys.create("contoso", "siem", ALL_ROLES)
    WORLD["key_id"] = key.split("_")[1]
    every = {operation.name: operation for operation in operations() if not operation.is_endless}
    first = [every.pop(name) for name in PREPARING]
    found = {}
    async with client_for(services, key) as client:
        for operation in [*first, *sorted(every.values(), key=lambda each: not each.is_reading)]:
            found[operation.name] = await _recorded(client, operation)
    return {name: example for name, example in sorted(found.items()) if example}


async def _recorded(client: httpx.AsyncClient, operation: Operation) -> dict[str, Any]:
    path = re.sub(r"{(\w+)}", lambda match: WORLD[match[1]], operation.template)
    answer = await client.request(operation.method, path, params=operation.query, json=operation.body)
    assert answer.is_success, f"{operation.name}: {answer.text}"
    example = {} if operation.body is None else {"request": operation.body}
    if answer.content and answer.headers["content-type"] == "application/json":
        example["response"] = _cut(json.loads(_lasting(answer.text)))
    return example


def _lasting(text: str) -> str:
    """Without what is drawn and what passes."""
    text = re.sub(r"plk_[0-9a-f]{16}_[\w-]{43}", SECRET, text).replace(WORLD["key_id"], FILLED["key_id"])
    text = re.sub(r'"(?!0123456789abcdef")[0-9a-f]{16}"', '"fedcba9876543210"', text)
    text = re.sub(r'(?<=_id":")[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', "5f0c8a4e-2f56-4c0c-8d0c-6f1f5a0a7b11", text)
    return re.sub(r"(?!2026-11-24T(08|09|10):|2036-)2\d{3}-\d\d-\d\dT[\d:.]+Z", "2026-11-24T10:30:00Z", text)


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
