"""Reads how others reach the instance's APIs, and the instance's network: servers, certificates, address rules."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from plumbline_contracts.events import DatasetSummary, MissingField

from plumbline_collector.connectors.rows import RowWriter
from plumbline_collector.connectors.servicenow import integrations, network, tables
from plumbline_collector.connectors.servicenow.identifiers import Key, key
from plumbline_collector.connectors.servicenow.paging import TableRow
from plumbline_collector.connectors.servicenow.people import PRIVILEGED_ROLES
from plumbline_collector.connectors.servicenow.plan import SCHEMAS
from plumbline_collector.connectors.servicenow.queries import Selection, in_chunks
from plumbline_collector.connectors.servicenow.run import Run, summary_of
from plumbline_collector.connectors.servicenow.values import filled, flag
from plumbline_collector.errors import ReadError

USER_NAMES_PER_QUERY = 100


async def rest_resources(run: Run) -> DatasetSummary:
    """Read the scripted REST services, then their active resources."""
    services: dict[Key, integrations.Service] = {}

    def note(row: Mapping[str, Any]) -> None:
        services[key(str(row["sys_id"]))] = integrations.service(row)

    fields = ["service", "service_has_acl"]
    is_read, missing = await run.join("rest_resources", fields, lambda: run.select(tables.REST_SERVICES).each(note))
    make = partial(integrations.rest_resource, services=services if is_read else None)
    return await run.table("rest_resources", tables.REST_RESOURCES, make, missing=missing)


async def oauth_clients(run: Run) -> DatasetSummary:
    """Read the application registry; whether a client acts for a privileged user comes from the roles read before."""
    privileged = None if run.known.roles is None else run.known.holders(PRIVILEGED_ROLES)
    make = partial(integrations.oauth_client, columns=run.columns, privileged=privileged)
    telling = {
        "access_token_lifespan": ["access_token_seconds"],
        "refresh_token_lifespan": ["refresh_token_seconds"],
        "redirect_url": ["redirect_urls", "redirects_insecurely"],
    }
    selection = tables.OAUTH_CLIENTS.with_columns(run.columns.of("oauth_entity"))
    return await run.table("oauth_clients", selection, make, telling=telling)


async def api_policies(run: Run) -> DatasetSummary:
    """Read the REST API access policies."""
    return await run.table("api_policies", tables.API_POLICIES, integrations.api_policy)


async def rate_limits(run: Run) -> DatasetSummary:
    """Read the rate limit rules."""
    selection = tables.RATE_LIMITS.with_columns(run.columns.of("sys_rate_limit_rules"))
    return await run.table("rate_limits", selection, partial(integrations.rate_limit, columns=run.columns))


async def cors_rules(run: Run) -> DatasetSummary:
    """Read the CORS rules."""
    selection = tables.CORS_RULES.with_columns(run.columns.of("sys_cors_rule"))
    return await run.table("cors_rules", selection, partial(integrations.cors_rule, columns=run.columns))


async def script_processors(run: Run) -> DatasetSummary:
    """Read the active processors that are scripts."""
    return await run.table("script_processors", tables.SCRIPT_PROCESSORS, integrations.script_processor)


async def ip_access_rules(run: Run) -> DatasetSummary:
    """Read the address rules."""
    return await run.table("ip_access_rules", tables.IP_RULES, network.ip_rule)


async def ldap_servers(run: Run) -> DatasetSummary:
    """Read the LDAP servers, and the addresses that each has besides its own."""
    found: list[TableRow] = []
    writer, rows = RowWriter(SCHEMAS["ldap_servers"], run.sink), run.select(tables.LDAP_SERVERS)
    try:
        async for page in rows:
            found += page
    except ReadError as failure:
        return writer.failed(failure)
    urls = network.LdapUrls()
    missing = list[MissingField]()
    if found:
        selection = run.select(tables.LDAP_URLS)
        is_read, missing = await run.join("ldap_servers", ["urls", "uses_tls"], lambda: selection.each(urls.add))
        urls.is_known = is_read
    writer.write(partial(network.ldap_server, urls=urls), found)
    return summary_of(writer, rows, missing)


async def certificates(run: Run) -> DatasetSummary:
    """Read the active certificates."""
    return await run.table("certificates", tables.CERTIFICATES, partial(network.certificate, started_at=run.started_at))


async def mid_servers(run: Run) -> DatasetSummary:
    """Read the MID Servers, their property for command logs, and the roles of their users."""
    found: list[TableRow] = []
    writer, rows = RowWriter(SCHEMAS["mid_servers"], run.sink), run.select(tables.MID_SERVERS)
    try:
        async for page in rows:
            found += page
    except ReadError as failure:
        return writer.failed(failure)
    audits, missing = await _command_audits(run) if found else (None, [])
    roles, more = await _user_roles(run, found) if found else (None, [])
    make = partial(network.mid_server, roles=roles, audits=audits, build=run.build, started_at=run.started_at)
    writer.write(make, found)
    return summary_of(writer, rows, [*missing, *more])


async def _command_audits(run: Run) -> tuple[dict[str, bool] | None, list[MissingField]]:
    """MID Server to whether it logs commands, and "" to what holds for all others; None when that may not be read.

    Source: https://www.servicenow.com/docs/r/servicenow-platform/mid-server/mid-config-param-priority.html
    """
    said: list[tuple[str, bool]] = []

    def note(row: Mapping[str, Any]) -> None:
        if "ecc_agent" not in row:
            raise KeyError("ecc_agent")
        said.append((filled(row, "ecc_agent") or "", flag(row, "value") is True))

    async def read() -> None:
        await run.select(tables.MID_PROPERTIES).each(note)
        await run.require_empty(tables.MID_PROPERTIES, "ecc_agent", sum(not agent for agent, _ in said))

    is_read, missing = await run.join("mid_servers", ["logs_commands"], read)
    return (dict(said) if is_read else None), missing


async def _user_roles(run: Run, found: list[TableRow]) -> tuple[dict[str, set[str]] | None, list[MissingField]]:
    """User name in lower case to roles; None when they may not be read."""
    roles: dict[str, set[str]] = {}
    names = sorted({name for row in found if (name := filled(row, "user_name"))})

    def note(row: Mapping[str, Any]) -> None:
        roles.setdefault((filled(row, "user.user_name") or "").lower(), set()).add(filled(row, "role.name") or "")

    async def read() -> None:
        for chunk in in_chunks(names, USER_NAMES_PER_QUERY):
            await run.select(_roles_of(chunk)).each(note)

    fields = ["user_roles", "has_privileged_user", "has_only_mid_server_role"]
    is_read, missing = await run.join("mid_servers", fields, read)
    return (roles if is_read else None), missing


def _roles_of(names: tuple[str, ...]) -> Selection:
    return tables.roles_of(names, "mid")
