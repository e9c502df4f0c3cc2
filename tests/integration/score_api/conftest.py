"""A database of the test's own, the projection over it, and an API client that asks it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import CollectionRequest
from plumbline_contracts.kafka import KafkaSettings
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.projection.service import ProjectionService
from plumbline_score_api.projection.upkeep import Upkeep
from plumbline_score_api.services import Services
from plumbline_score_api.settings import Settings

from tests.integration.score_api.events import definition
from tests.integration.score_api.in_process import ALL_ROLES, CONTROLS, client_for, seen_by, upkeep_of
from tests.integration.score_api.stage import Stage


@pytest.fixture
def settings(mongodb_url: str) -> Settings:
    """Settings of this test's database."""
    return Settings.model_validate({"PLUMBLINE_MONGODB_URL": mongodb_url})


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A database with its indexes."""
    async with composition.open_database(settings) as database:
        await composition.prepare(database)
        yield database


@pytest.fixture
async def upkeep(database: Database) -> Upkeep:
    """All that the projector does, which knows three controls."""
    upkeep = upkeep_of(database)
    await upkeep.projection.take_definitions([definition(control) for control in CONTROLS])
    return upkeep


@pytest.fixture
def projection(upkeep: Upkeep) -> ProjectionService:
    """The projection, which knows three controls."""
    return upkeep.projection


@pytest.fixture
def asked() -> list[CollectionRequest]:
    """The collections that the API asked for."""
    return []


@pytest.fixture
def services(database: Database, asked: list[CollectionRequest]) -> Services:
    """The services of the role `serve`, with a list in place of the broker."""

    async def ask(request: CollectionRequest) -> None:
        asked.append(request)

    return composition.build_services(database, ask)


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose key has all roles."""
    key = await services.keys.create("contoso", "tests", ALL_ROLES)
    async with client_for(services, key) as client:
        yield client


@pytest.fixture
async def anonymous(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with client_for(services, None) as client:
        yield client


@pytest.fixture
async def seen(client: httpx.AsyncClient) -> Callable[[], Any]:
    """What the tenant sees: its score, its instances, and every recommendation with its exposed entities."""

    async def everything() -> dict[str, Any]:
        return await seen_by(client)

    return everything


@pytest.fixture
def stage(kafka_settings: KafkaSettings, mongodb_url: str, tmp_path: Path) -> Iterator[Stage]:
    """Topics and a database of this test's own, with roles as processes."""
    stage = Stage(kafka_settings, mongodb_url, tmp_path)
    yield stage
    stage.finish()
