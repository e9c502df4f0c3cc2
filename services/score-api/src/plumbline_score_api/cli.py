"""The command `score-api`."""

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from plumbline_contracts import ids
from plumbline_contracts.events import ID_PATTERN
from plumbline_contracts.kafka import KafkaSettings
from pydantic import ValidationError
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.table import Column, Table

from plumbline_score_api import app as composition
from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.findings.repository import FindingRepository
from plumbline_score_api.instances.repository import InstanceRepository
from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.schemas import ApiKey, Restriction, Role
from plumbline_score_api.keys.service import KEY_ID_LENGTH, OPERATOR, KeyService
from plumbline_score_api.openapi import files
from plumbline_score_api.openapi.compatibility import breaking_changes
from plumbline_score_api.settings import Settings
from plumbline_score_api.tokens import issuers
from plumbline_score_api.tokens.issuers import IssuersError

app = typer.Typer(no_args_is_help=True, help="Projects control results into Secure Scores and serves them.")
issuers_app = typer.Typer(no_args_is_help=True, help="Trusted issuers of bearer tokens.")
app.add_typer(issuers_app, name="issuers")
openapi_app = typer.Typer(no_args_is_help=True, help="The OpenAPI document, in the source tree.")
app.add_typer(openapi_app, name="openapi")
keys_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(keys_app, name="keys")

findings_app = typer.Typer(no_args_is_help=True, help="What SIEMs are told of findings.")
app.add_typer(findings_app, name="findings")

IssuersFile = Annotated[Path, typer.Argument(help="The file that PLUMBLINE_SCORE_API_ISSUERS names")]
Tenant = Annotated[str, typer.Option(help="The tenant that the key opens")]
T = TypeVar("T")
SHORTEST_START = 8
REPLAY_POLL_SECONDS = 0.5
REPLAY_PATIENCE_SECONDS = 30.0


def _fail(message: str, code: int = 1) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        raise _fail(f"score-api: wrong settings: {_problems(error)}", 2) from error


def _kafka() -> KafkaSettings:
    try:
        return KafkaSettings()
    except ValidationError as error:
        raise _fail(f"score-api: wrong settings: {_problems(error)}", 2) from error


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False, include_url=False)
    )


def _do(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except composition.DatabaseSettingsError as error:
        raise _fail(f"score-api: {error}", 2) from error
    except PyMongoError as error:
        raise _fail(f"score-api: {_unanswered(error)}") from error


def _unanswered(error: PyMongoError) -> str:
    """Which database failed, and what to do."""
    settings = _settings()
    if (told := composition.refusal(error, settings)) is not None:
        return told
    is_default = "mongodb_url" not in settings.model_fields_set
    advice = "PLUMBLINE_MONGODB_URL is not set: set it" if is_default else "check PLUMBLINE_MONGODB_URL"
    what = f"the database at {composition.place(settings)} does not answer ({type(error).__name__})"
    return f"{what}; is it running? {advice}"


@app.command()
def project() -> None:
    """Project results and statuses into the database, until stopped."""
    sys.exit(composition.project(_settings(), _kafka()))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Default PLUMBLINE_SCORE_API_HOST or 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Default PLUMBLINE_SCORE_API_PORT or 8080")] = None,
) -> None:
    """Serve the API, until stopped."""
    stated = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    sys.exit(composition.serve(_settings().model_copy(update=stated), _kafka()))


@app.command()
def init() -> None:
    """Create the database's indexes."""

    _do(_prepare())
    typer.echo("the indexes are there")


async def _prepare() -> None:
    async with composition.open_database(_settings()) as database:
        await composition.prepare(database)


@keys_app.command()
def create(
    tenant: Tenant,
    name: Annotated[str, typer.Option(help="What the key is for; it stands in the audit trail")],
    roles: Annotated[str, typer.Option(help=f"Comma list of {', '.join(Role)}")] = Role.READ.value,
    out: Annotated[
        Path | None, typer.Option(help="Write the key into this file (mode 0600) instead of printing it")
    ] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, help="Days until the key ends")] = None,
    instances: Annotated[str, typer.Option(help="Comma list: the key sees these instances alone")] = "",
    products: Annotated[str, typer.Option(help="Comma list: the key sees instances of these products alone")] = "",
) -> None:
    """Make a key. With --out, a file that holds a valid key is left as it is."""
    try:
        chosen = frozenset(Role(role.strip()) for role in roles.split(","))
    except ValueError as error:
        raise _fail(f"unknown role in {roles!r}; there are {', '.join(Role)}", 2) from error
    if not re.fullmatch(ID_PATTERN, tenant):
        raise _fail(f"{tenant!r} is no tenant id: expected letters, digits, dot, underscore or hyphen, at most 64", 2)
    present = out.read_text(encoding="utf-8").strip() if out is not None and out.is_file() else None
    restriction = _restriction(instances, products)
    if restriction is not None and Role.KEYS in chosen:
        raise _fail(f"a key with a restriction cannot have the role {Role.KEYS}: it could make one without", 2)
    key = _do(_create(tenant, name, chosen, present, expires_days, restriction))
    if out is None:
        typer.echo(key)
    elif key is not None:
        _write(out, key)
        typer.echo(f"key written to {out}")
    else:
        out.chmod(0o600)
        typer.echo(f"{out} holds a valid key")


async def _create(
    tenant: str,
    name: str,
    roles: frozenset[Role],
    present: str | None,
    expires_days: int | None,
    restriction: Restriction | None,
) -> str | None:
    """A new key; None when `present` is valid for the tenant, holds the roles and sees the same."""
    async with composition.open_database(_settings()) as database:
        service = KeyService(KeyRepository(database), AuditRepository(database))
        if present is not None:
            known = await service.authenticate(present)
            is_ours = known is not None and (known.tenant, known.restriction) == (tenant, restriction)
            if known is not None and is_ours and known.roles >= roles:
                return None
        if not await InstanceRepository(database).names(tenant):
            typer.echo(f"warning: no instance of tenant {tenant} is known yet; is its name right?", err=True)
        return await service.create(
            tenant, name, roles, restriction=restriction, expires_days=expires_days, who=OPERATOR
        )


def _restriction(instances: str, products: str) -> Restriction | None:
    named = {"instances": instances, "products": products}
    stated = {what: [each.strip() for each in text.split(",")] for what, text in named.items() if text}
    try:
        return Restriction.model_validate(stated) if stated else None
    except ValidationError as error:
        raise _fail(f"this is no restriction: {_problems(error)}", 2) from error


def _write(out: Path, key: str) -> None:
    draft = out.with_name(out.name + ".new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key + "\n")
        draft.replace(out)
    except OSError as error:
        raise _fail(f"{out} cannot be written: {error.strerror}") from error


@keys_app.command("list")
def list_keys(tenant: Tenant) -> None:
    """List the keys of a tenant."""

    async def work() -> list[ApiKey]:
        async with composition.open_database(_settings()) as database:
            return await KeyRepository(database).list(tenant)

    table = Table(
        Column("id", no_wrap=True, min_width=KEY_ID_LENGTH), "name", "roles", "sees", "created", "ends", "revoked"
    )
    for key in _do(work()):
        roles = ", ".join(sorted(key.roles))
        moments = (key.created_at, key.expires_at, key.revoked_at)
        sees = str(key.restriction) if key.restriction else "everything"
        table.add_row(key.key_id, key.name, roles, sees, *(f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in moments))
    Console().print(table, crop=False)


@keys_app.command()
def revoke(
    tenant: Tenant,
    key_id: Annotated[str, typer.Argument(help=f"The id, or at least its first {SHORTEST_START} characters")],
) -> None:
    """End a key at once."""

    async def work() -> list[str]:
        async with composition.open_database(_settings()) as database:
            return await KeyService(KeyRepository(database), AuditRepository(database)).revoke(tenant, key_id)

    if len(key_id) < SHORTEST_START:
        raise _fail(f"{key_id!r} is too short: give at least the first {SHORTEST_START} characters of the id", 2)
    found = _do(work())
    if not found:
        raise _fail(f"tenant {tenant} has no key {key_id}")
    if len(found) > 1:
        raise _fail(f"nothing is revoked: {key_id} begins the ids of {len(found)} keys: {', '.join(found)}")
    typer.echo(f"key {found[0]} is revoked")


@findings_app.command()
def replay(
    tenant: Annotated[str, typer.Option(help="Whose findings")],
    instance: Annotated[list[str] | None, typer.Option(help="Of this instance alone; may be given again")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only findings that something was told of since then (UTC)")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until all is told")] = True,
) -> None:
    """Tell SIEMs all findings again as they stand, marked as `replayed`: for one that joins late or lost its data.

    The projector does it, a few instances in a round. It may be interrupted, which withdraws what is not done, and
    started again.
    """
    _do(_replay(tenant, instance or [], since.replace(tzinfo=UTC) if since is not None else None, wait=wait))


async def _replay(tenant: str, instances: list[str], since: datetime | None, *, wait: bool) -> None:
    async with composition.open_database(_settings()) as database:
        known = sorted(await InstanceRepository(database).names(tenant))
        if unknown := sorted(set(instances) - set(known)):
            raise _fail(f"tenant {tenant} has no instance {unknown[0]}; it has {', '.join(known) or 'none'}")
        if not known:
            raise _fail(f"tenant {tenant} has no instance; is its name right?")
        repository, request = FindingRepository(database), f"replay.{ids.random_id()}"
        chosen = sorted(set(instances)) or known
        await repository.request(tenant, chosen, request, since)
        typer.echo(f"the findings of {len(chosen)} instances are to be told again")
        if wait:
            await _until_replayed(repository, tenant, request, len(chosen))


async def _until_replayed(repository: FindingRepository, tenant: str, request: str, count: int) -> None:
    told, waited = count, 0.0
    try:
        while left := await repository.waiting(tenant, request):
            if left != told or waited >= REPLAY_PATIENCE_SECONDS:
                advice = "" if left != told else "; does a projector (`score-api project`) run?"
                typer.echo(f"{count - left} of {count} instances are done{advice}")
                told, waited = left, 0.0
            await asyncio.sleep(REPLAY_POLL_SECONDS)
            waited += REPLAY_POLL_SECONDS
    except asyncio.CancelledError:
        left = await repository.withdraw(tenant, request)
        typer.echo(f"interrupted: {left} of {count} instances are withdrawn", err=True)
        raise
    typer.echo(f"{count} of {count} instances are done")


@issuers_app.command()
def lint(file: IssuersFile) -> None:
    """Check a file of issuers: every mistake with file and line. Sends nothing."""
    try:
        found = issuers.load(file)
    except IssuersError as error:
        raise _fail(str(error)) from error
    for issuer in found:
        opens = (
            f"tenant {issuer.tenant}"
            if issuer.tenants is None
            else f"one of {len(issuer.tenants.map)} tenants, by a claim"
        )
        typer.echo(f"{issuer.issuer}: {opens}")
    typer.echo(f"{file} is valid")


@openapi_app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when the file is not current")] = False,
    out: Annotated[Path, typer.Option(help="The file")] = Path(files.CURRENT),
) -> None:
    """Write the document of the routes as they are."""
    content = files.text(asyncio.run(composition.api_document()))
    if check:
        if not out.is_file() or out.read_text(encoding="utf-8") != content:
            raise _fail(f"not current: {out}; run `score-api openapi generate` and commit the result")
        typer.echo(f"{out} is current")
    else:
        typer.echo(f"{out} {'written' if files.write(out, content) else 'is current'}")


@openapi_app.command()
def release(
    breaking: Annotated[bool, typer.Option("--breaking", help="Even if it breaks clients; before 1.0 alone")] = False,
    current: Annotated[Path, typer.Option(help="The document to keep")] = Path(files.CURRENT),
    out: Annotated[Path, typer.Option(help="Where the last released one is kept")] = Path(files.RELEASED),
) -> None:
    """Keep today's document as the last released one; later changes are compared with it."""
    document = files.read(current)
    broken = breaking_changes(files.read(out), document) if out.is_file() else []
    for line in broken:
        typer.echo(line, err=True)
    version = str(document["info"]["version"])
    if broken and not (breaking and version.startswith("0.")):
        raise _fail(
            "nothing is kept: clients of the last released document would break; before 1.0 --breaking allows it"
        )
    files.write(out, current.read_text(encoding="utf-8"))
    typer.echo(f"the released document is that of {version}")
