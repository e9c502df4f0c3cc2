"""Reads users, roles and groups, and joins them by ids."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from plumbline_contracts.events import DatasetState, DatasetSummary, MissingField, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.rows import RowWriter
from plumbline_collector.connectors.servicenow import people, tables
from plumbline_collector.connectors.servicenow.identifiers import Key, key, keys
from plumbline_collector.connectors.servicenow.paging import TableRow
from plumbline_collector.connectors.servicenow.people import KnownOfUsers
from plumbline_collector.connectors.servicenow.plan import DUAL_ROLE_USERS, EXPLICIT_ROLES, SCHEMAS
from plumbline_collector.connectors.servicenow.queries import in_chunks
from plumbline_collector.connectors.servicenow.run import Run, summary_of
from plumbline_collector.connectors.servicenow.values import filled, flag, present, text
from plumbline_collector.errors import ReadError

INTERNAL, EXTERNAL = "snc_internal", "snc_external"
MOST_ELEVATED = 40
"""How many elevated roles are looked for: their names share one query with the privileged ones."""


async def elevated_roles(run: Run) -> DatasetSummary:
    """Read the roles that have to be elevated to, and remember their names for the users."""

    def make(row: Mapping[str, Any]) -> Row:
        found = people.elevated_role(row)
        run.elevated_roles.append(str(found.get("name", "")))
        return found

    return await run.table("elevated_roles", tables.ELEVATED_ROLES, make)


async def basic_auth_exceptions(run: Run) -> DatasetSummary:
    """Read the accounts seen with basic authentication, and remember whose they are."""
    users: set[Key] = set()

    def make(row: Mapping[str, Any]) -> Row:
        users.add(key(filled(row, "user") or ""))
        return people.basic_auth_exception(row, run.started_at)

    found = await run.table("basic_auth_exceptions", tables.BASIC_AUTH_EXCEPTIONS, make)
    is_known = found.state in (DatasetState.OK, DatasetState.UNSUPPORTED)
    run.exceptions, run.exceptions_summary = (users if is_known else None), found
    return found


async def users(run: Run) -> DatasetSummary:
    """Read roles and factors, then the active users themselves, page by page."""
    run.known = KnownOfUsers(run.elevated_roles[:MOST_ELEVATED])
    run.known.exceptions = run.exceptions
    missing = await _roles(run) + _exceptions(run)
    is_read, hidden = await run.join("users", people.MFA_FIELDS, lambda: _factors(run))
    if not is_read:
        run.known.factors = None

    def make(row: Mapping[str, Any]) -> Row:
        run.first_user.set()
        found = people.user(row, run.known, run.started_at)
        if found.get("is_privileged"):
            run.known.unmet.pop(row["sys_id"].lower(), None)
        return found

    return await run.table(
        "users",
        tables.USERS,
        make,
        missing=[*missing, *hidden],
        telling={"last_login_time": ["has_logged_in", "idle_days"], "failed_attempts": ["failed_attempts"]},
        unseen=partial(_unmet_users, run),
    )


async def _factors(run: Run) -> None:
    await run.select(tables.FACTORS).each(run.known.add_factor)
    await run.require_empty(tables.FACTORS, "user", run.known.nameless_factors)


async def _unmet_users(run: Run) -> ReadError | None:
    """Why users may be missing although all rows came that the instance counts.

    Whoever is active and holds a privileged role must have been among the users. Who was not may have been switched
    off meanwhile, which their row tells; or the instance hides them without counting them, as it does with other
    domains.
    """
    unmet = tuple(run.known.unmet) if run.known.roles is not None else ()
    if not unmet:
        return None
    chunk = next(in_chunks(unmet, tables.IDS_PER_QUERY))
    query = f"sys_idIN{','.join(chunk)}"
    rows, _ = await run.source.page(tables.USERS.table, query, "sys_id,active", len(chunk), 0)
    gone = {str(row.get("sys_id")).lower() for row in rows if flag(row, "active") is False}
    if gone >= set(unmet):
        return None
    message = (
        f"{len(set(unmet) - gone)} active users who hold a privileged role are not among the rows of sys_user; are "
        "they in another domain than the collector's user?"
    )
    return ReadError(DatasetState.TRUNCATED, "unseen_users", message)


async def _roles(run: Run) -> list[MissingField]:
    """Read who holds which role that matters; without that right the fields made of it are missing."""
    fields = people.ROLE_FIELDS + (people.ELEVATED_FIELDS if run.elevated_roles else [])
    try:
        selection = tables.privileged_assignments(run.known.role_names)
        await run.select(selection).each(run.known.add_role)
        await run.require_empty(selection, "user", run.known.nameless_roles)
        if not run.known.has_administrators:
            message = "sys_user_has_role shows no administrator, and every instance has one"
            raise ReadError(DatasetState.DENIED, "no_rows", message)
    except ReadError as failure:
        run.known.roles, run.roles_failure = None, failure
        return summaries.missing_fields(SCHEMAS["users"], fields, failure)
    return elevated_fields_left_open(run.elevated_roles)


def elevated_fields_left_open(elevated: list[str]) -> list[MissingField]:
    """The fields of the elevated roles, when it is not known of all such roles who holds them."""
    if not elevated:
        failure = ReadError(DatasetState.DENIED, "no_rows", "which roles are elevated could not be read")
    elif len(elevated) > MOST_ELEVATED:
        message = f"{len(elevated)} roles are elevated; the holders of {MOST_ELEVATED} are looked for"
        failure = ReadError(DatasetState.TRUNCATED, "too_many_roles", message)
    else:
        return []
    return summaries.missing_fields(SCHEMAS["users"], people.ELEVATED_FIELDS, failure)


def _exceptions(run: Run) -> list[MissingField]:
    found = run.exceptions_summary
    if run.exceptions is not None or found is None or found.error is None:
        return []
    failure = ReadError(found.state, found.error.code, found.error.message)
    return summaries.missing_fields(SCHEMAS["users"], people.EXCEPTION_FIELDS, failure)


async def inactive_privileged_users(run: Run) -> DatasetSummary:
    """Who is inactive and holds a privileged role: seen while the roles were read."""
    schema = SCHEMAS["inactive_privileged_users"]
    if run.roles_failure is not None:
        return summaries.failed(schema, run.roles_failure)
    if not run.known.shows_activity:
        message = "sys_user_has_role does not show whether the users are active (user.active)"
        return summaries.failed(schema, ReadError(DatasetState.DENIED, "no_value", message))
    writer = RowWriter(schema, run.sink)
    writer.write(present, people.inactive_holders(run.known))
    return writer.summary()


async def built_in_accounts(run: Run) -> DatasetSummary:
    """Read the accounts that the vendor's data brings along, and every role that they hold."""
    held: dict[Key, list[str]] = {}
    found: list[TableRow] = []
    writer, rows = RowWriter(SCHEMAS["built_in_accounts"], run.sink), run.select(tables.BUILT_IN)
    try:
        async for page in rows:
            found += page
    except ReadError as failure:
        return writer.failed(failure)

    def note(row: Mapping[str, Any]) -> None:
        held.setdefault(key(filled(row, "user") or ""), []).append(filled(row, "role.name") or "")

    names = tuple(sorted({filled(row, "user_name") or "" for row in found}))
    is_read, missing = True, list[MissingField]()
    if names:
        selection = tables.roles_of(names, "built_in")
        is_read, missing = await run.join(
            "built_in_accounts", ["roles", "has_roles"], lambda: run.select(selection).each(note)
        )
    make = partial(people.built_in_account, roles=held if is_read else None, started_at=run.started_at)
    writer.write(make, found)
    return summary_of(writer, rows, missing)


async def internal_external_users(run: Run) -> DatasetSummary:
    """Who holds both snc_internal and snc_external: the holders of the rarer role are looked up among the other's."""
    schema = SCHEMAS["internal_external_users"]
    if EXPLICIT_ROLES in run.inactive_plugins:
        message = f"the plugin {EXPLICIT_ROLES} was read as inactive, so there are no explicit roles"
        return summaries.failed(schema, ReadError(DatasetState.UNSUPPORTED, "plugin_inactive", message))
    writer = RowWriter(schema, run.sink)
    try:
        totals = {role: await run.count(tables.holders(role)) for role in (EXTERNAL, INTERNAL)}
        rarer, other = sorted(totals, key=lambda role: totals[role])
        hidden = await _look_up(run, writer, rarer, other) if totals[rarer] else None
    except ReadError as failure:
        return writer.failed(failure)
    return writer.summary(hidden=hidden)


async def _look_up(run: Run, writer: RowWriter, rarer: str, other: str) -> ReadError | None:
    """Write the holders of both roles; why some may be missing."""
    among, seen, rows = dict[str, None](), set[Key](), run.select(tables.holders(rarer))
    hidden: ReadError | None = None
    async for page in rows:
        among |= dict.fromkeys(filled(row, "user") or "" for row in page)
        if len(among) > DUAL_ROLE_USERS:
            message = f"more than {DUAL_ROLE_USERS} users hold {rarer}; the first of them were looked up"
            hidden = ReadError(DatasetState.TRUNCATED, "too_many", message)
            break
    for chunk in in_chunks(list(among)[:DUAL_ROLE_USERS], tables.IDS_PER_QUERY):
        both = run.select(tables.holders_among(chunk, other))
        async for page in both:
            new = [row for row in page if key(filled(row, "user") or "") not in seen]
            seen |= keys(filled(row, "user") or "" for row in new)
            writer.write(_dual, {text(row, "user"): row for row in new}.values())
        hidden = hidden or both.hidden
    return hidden or rows.hidden


def _dual(row: Mapping[str, Any]) -> Row:
    user = filled(row, "user") or ""
    return {"sys_id": user, "user_name": filled(row, "user.user_name") or user}


async def role_containments(run: Run) -> DatasetSummary:
    """Read which roles bring admin or security_admin along."""
    return await run.table("role_containments", tables.ROLE_CONTAINMENTS, people.role_containment)


async def privileged_groups(run: Run) -> DatasetSummary:
    """Read the groups that give privileged roles, and how many members each has."""
    names, roles = dict[str, str | None](), dict[str, list[str]]()
    writer, rows = RowWriter(SCHEMAS["privileged_groups"], run.sink), run.select(tables.GROUP_ROLES)
    try:
        async for page in rows:
            for row in page:
                group = filled(row, "group") or ""
                names[group] = filled(row, "group.name")
                roles.setdefault(group, []).append(filled(row, "role.name") or "")
    except ReadError as failure:
        return writer.failed(failure)
    counts = dict.fromkeys(names, 0)
    is_read, missing = await run.join("privileged_groups", ["member_count"], lambda: _members(run, counts))
    found = [
        people.privileged_group(group, names[group], roles[group], counts[group] if is_read else None)
        for group in names
    ]
    writer.write(present, found)
    return writer.summary(hidden=rows.hidden, missing=missing)


async def _members(run: Run, counts: dict[str, int]) -> None:
    """Count the members of the groups."""

    def note(row: Mapping[str, Any]) -> None:
        group = filled(row, "group") or ""
        counts[group] = counts.get(group, 0) + 1

    for chunk in in_chunks(list(counts), tables.IDS_PER_QUERY):
        await run.select(tables.members(chunk)).each(note)


async def mfa_criteria(run: Run) -> DatasetSummary:
    """Read the criteria that ask users for a second factor."""
    return await run.table("mfa_criteria", tables.MFA_CRITERIA, people.mfa_criterion)


async def identity_providers(run: Run) -> DatasetSummary:
    """Read the identity providers of single sign-on."""
    return await run.table("identity_providers", tables.IDENTITY_PROVIDERS, people.identity_provider)
