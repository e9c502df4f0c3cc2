"""The command `contracts`: generate what follows from the models, release it, create topics, grant rights."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from plumbline_contracts import released
from plumbline_contracts.acl_provisioning import AclProvisioningError, grant
from plumbline_contracts.acls import AclError, Form, Installation, Principal, principals, render
from plumbline_contracts.compatibility import REMEDY
from plumbline_contracts.kafka import KafkaSettings, SecurityFileError
from plumbline_contracts.provisioning import ProvisioningError, create_topics
from plumbline_contracts.tenant_topics import TenantTopicSettings

app = typer.Typer(no_args_is_help=True, help="Topics, rights, schemas and what is generated from them.")
topics_app = typer.Typer(no_args_is_help=True, help="Topics of the registry on a broker.")
app.add_typer(topics_app, name="topics")

ROOT = Path(__file__).parents[3]
CONTRACTS = ROOT / "contracts"


def _fail(message: str, code: int = 1) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)


def _require_source_tree() -> None:
    if not (CONTRACTS / "topics.yaml").is_file():
        raise _fail("contracts: this command works in the source tree alone; clone the repository and run it there")


@app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a file is not current")] = False,
) -> None:
    """Write JSON Schemas, the AsyncAPI document and the pages of topics and datasets."""
    _require_source_tree()
    # Needs development dependencies, which an image that creates topics does not have.
    from plumbline_contracts.generation import generated_files

    stale = []
    for name, content in generated_files().items():
        path = ROOT / name
        if path.is_file() and path.read_text() == content:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    if check and stale:
        raise _fail(f"not current: {', '.join(stale)}; run `contracts generate` and commit the result")
    typer.echo(f"{len(stale)} files written" if stale else "all generated files are current")


@app.command()
def changes() -> None:
    """Print what differs from the last release; status 1 when consumers would break."""
    _require_source_tree()
    found = released.changes_since_release(CONTRACTS)
    for line in found.additions:
        typer.echo(f"added: {line}")
    for line in found.breaks:
        typer.echo(f"breaks: {line}")
    if found.breaks:
        raise _fail(f"{len(found.breaks)} changes break consumers of the last release. {REMEDY}")
    typer.echo("no consumer of the last release breaks")


@app.command()
def release(
    version: Annotated[str, typer.Argument(help="The version being released, such as 0.1.0")],
    breaking: Annotated[bool, typer.Option("--breaking", help="Even if it breaks consumers; before 1.0 alone")] = False,
) -> None:
    """Keep today's schemas and topics as the last released ones; later changes are compared with them."""
    _require_source_tree()
    try:
        released.release(CONTRACTS, version, is_breaking_allowed=breaking)
    except released.BreakingReleaseError as error:
        raise _fail(str(error)) from error
    typer.echo(f"released schemas and topics are those of {version}")


Bootstrap = Annotated[str | None, typer.Option(help="host:port; default PLUMBLINE_KAFKA_BOOTSTRAP")]
Prefix = Annotated[str | None, typer.Option(help="Default PLUMBLINE_TOPIC_PREFIX")]
Tenants = Annotated[
    list[str] | None,
    typer.Option("--tenant", help="Has topics of its own; default PLUMBLINE_SCORE_API_FINDINGS_TENANT_TOPICS"),
]


@topics_app.command()
def create(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    tenant: Tenants = None,
    replication_factor: Annotated[int | None, typer.Option(min=1, help="Instead of the registry's")] = None,
) -> None:
    """Create the topics that are missing; report, and leave alone, those that differ from the registry."""
    settings, tenants = _settings(bootstrap, prefix), _tenants(tenant)
    try:
        done = asyncio.run(create_topics(settings, replication_factor=replication_factor, tenants=tenants))
    except (KafkaError, ProvisioningError, SecurityFileError, OSError) as error:
        raise _fail(
            f"contracts: topics could not be created on {settings.kafka_bootstrap}: {error}. "
            f"Check that the broker runs and that {settings.login} may create topics."
        ) from error
    typer.echo(f"{len(done.created)} topics created on {settings.kafka_bootstrap}")
    for line in done.differences:
        typer.echo(f"differs: {line}", err=True)
    if done.differences:
        sys.exit(3)


@app.command(name="acls")
def access(
    form: Annotated[Form, typer.Option("--format", help="How the rights are printed")] = "commands",
    siem: Annotated[list[str] | None, typer.Option(help="A SIEM of your own, which reads all findings")] = None,
    tenant: Tenants = None,
    principal: Annotated[
        list[str] | None, typer.Option(help="NAME=User:… where the broker calls a principal otherwise")
    ] = None,
    prefix: Prefix = None,
    bootstrap: Bootstrap = None,
    apply: Annotated[bool, typer.Option("--apply", help="Grant them on the broker instead of printing them")] = False,
) -> None:
    """Print, or grant, the least rights of every service and SIEM; they follow from the topic registry."""
    settings = _settings(bootstrap, prefix)
    named = dict(_named(entry) for entry in principal or [])
    try:
        wanted = principals(Installation(settings.topic_prefix, tuple(siem or ()), _tenants(tenant), named))
    except AclError as error:
        raise _fail(f"contracts: {error}", 2) from error
    if apply:
        _grant(settings, wanted)
    else:
        typer.echo(render(wanted, form), nl=False)


def _grant(settings: KafkaSettings, wanted: list[Principal]) -> None:
    try:
        done = asyncio.run(grant(settings, wanted))
    except (KafkaError, AclProvisioningError, SecurityFileError, OSError) as error:
        raise _fail(
            f"contracts: rights could not be granted on {settings.kafka_bootstrap} as {settings.login}: {error}"
        ) from error
    typer.echo(f"{done.created} rights granted on {settings.kafka_bootstrap}, {done.present} were there")
    for line in done.others:
        typer.echo(f"more than it needs: {line}", err=True)
    if done.others:
        sys.exit(3)


def _settings(bootstrap: str | None, prefix: str | None) -> KafkaSettings:
    given = {"kafka_bootstrap": bootstrap, "topic_prefix": prefix}
    try:
        stated = KafkaSettings().model_dump(exclude_unset=True)
        return KafkaSettings.model_validate(
            stated | {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        raise _fail(f"contracts: {_problem(error)}", 2) from error


def _tenants(stated: list[str] | None) -> tuple[str, ...]:
    try:
        if stated is None:
            return TenantTopicSettings().findings_tenant_topics
        return TenantTopicSettings.model_validate({"findings_tenant_topics": stated}).findings_tenant_topics
    except ValidationError as error:
        raise _fail(
            f"contracts: PLUMBLINE_SCORE_API_FINDINGS_TENANT_TOPICS or --tenant: {_problem(error)}", 2
        ) from error


def _problem(error: ValidationError) -> str:
    (first, *_) = error.errors(include_input=False, include_url=False)
    name = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"PLUMBLINE_{name.upper()}: {message}" if name in KafkaSettings.model_fields else message


def _named(entry: str) -> tuple[str, str]:
    name, is_there, principal = entry.partition("=")
    if not is_there:
        raise _fail(f"contracts: --principal {entry}: expected NAME=User:…", 2)
    return name, principal
