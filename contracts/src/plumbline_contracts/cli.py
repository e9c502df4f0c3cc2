"""The command `contracts`: generate what follows from the models, release it, create topics."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import ProvisioningError, create_topics
from plumbline_contracts.schemas import generated_files

app = typer.Typer(no_args_is_help=True, help="Topics, schemas and what is generated from them.")
topics_app = typer.Typer(no_args_is_help=True, help="Topics of the registry on a broker.")
app.add_typer(topics_app, name="topics")

ROOT = Path(__file__).parents[3]


def _fail(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(1)


def _require_source_tree() -> None:
    if not (ROOT / "contracts" / "topics.yaml").is_file():
        raise _fail("contracts: this command works in the source tree alone; clone the repository and run it there")


@app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a file is not current")] = False,
) -> None:
    """Write JSON Schemas, the AsyncAPI document and the page of the datasets."""
    _require_source_tree()
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
def release(version: Annotated[str, typer.Argument(help="The version being released, such as 0.1.0")]) -> None:
    """Keep today's schemas as the last released ones; later changes are compared with them."""
    _require_source_tree()
    target = ROOT / "contracts" / "released"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "contracts" / "generated" / "schemas", target)
    (target / "VERSION").write_text(f"{version}\n")
    typer.echo(f"released schemas are those of {version}")


@topics_app.command()
def create(
    bootstrap: Annotated[str | None, typer.Option(help="host:port; default PLUMBLINE_KAFKA_BOOTSTRAP")] = None,
    prefix: Annotated[str | None, typer.Option(help="Default PLUMBLINE_TOPIC_PREFIX")] = None,
    replication_factor: Annotated[int | None, typer.Option(min=1, help="Instead of the registry's")] = None,
) -> None:
    """Create the topics that are missing; report, and leave alone, those that differ from the registry."""
    given = {"kafka_bootstrap": bootstrap, "topic_prefix": prefix}
    try:
        stated = KafkaSettings()
        settings = stated.model_validate(
            {**stated.model_dump(), **{name: value for name, value in given.items() if value is not None}}
        )
    except ValidationError as error:
        raise _fail(f"contracts: {error.errors()[0]['msg']}") from error
    try:
        done = asyncio.run(create_topics(settings, replication_factor=replication_factor))
    except (KafkaError, ProvisioningError, OSError) as error:
        raise _fail(
            f"contracts: topics could not be created on {settings.kafka_bootstrap}: {error}. "
            "Check that the broker runs and that the user may create topics."
        ) from error
    typer.echo(f"{len(done.created)} topics created on {settings.kafka_bootstrap}")
    for line in done.differences:
        typer.echo(f"differs: {line}", err=True)
    if done.differences:
        sys.exit(3)
