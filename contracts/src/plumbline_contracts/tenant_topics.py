"""Topics that belong to one tenant: which tenants have them, and whether their names do."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from plumbline_contracts.topics import Topic, registry


def tenant_topics(tenants: Iterable[str]) -> list[Topic]:
    """The topics of these tenants.

    Raises ValueError for a name that would not do, and for two that Kafka does not keep apart: it counts a dot and an
    underscore as one in topic names.
    """
    seen: dict[str, str] = {}
    for tenant in tenants:
        former = seen.setdefault(tenant.replace(".", "_"), tenant)
        if former != tenant:
            raise ValueError(f"the tenants {former} and {tenant} cannot both have a topic: Kafka takes . and _ for one")
    return [topic.of_tenant(tenant) for topic in registry().topics if topic.per_tenant for tenant in seen.values()]


def _listed(value: Any) -> Any:  # noqa: ANN401 - what the environment holds
    """Names separated by commas, or a JSON list."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError("expected tenant ids separated by commas, or a JSON list of them") from error


def _can_have_topics(tenants: tuple[str, ...]) -> tuple[str, ...]:
    tenant_topics(tenants)
    return tenants


TenantList: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_can_have_topics)]
"""Tenants that have topics of their own."""


class TenantTopicSettings(BaseSettings):
    """Which tenants have topics of their own; the role `project` of the score API writes to them."""

    model_config = SettingsConfigDict(env_prefix="PLUMBLINE_SCORE_API_", frozen=True, extra="ignore")

    findings_tenant_topics: TenantList = ()
