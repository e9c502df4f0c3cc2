"""`score-api keys`: making, listing and ending keys."""

import os
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from plumbline_score_api.app import Database
from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.schemas import ApiKey, Caller
from plumbline_score_api.services import Services

from tests.integration.parts import BIN
from tests.integration.score_api.events import status
from tests.integration.score_api.in_process import ALL_ROLES, projection_into
from tests.integration.score_api.stage import Stage
from tests.polling import free_port


def _done(stage: Stage, *arguments: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PLUMBLINE_MONGODB_URL": stage.mongodb_url, "COLUMNS": str(columns)}
    return subprocess.run([BIN / "score-api", *arguments], env=env, capture_output=True, text=True, timeout=60)


def _run(stage: Stage, *arguments: str, code: int = 0) -> str:
    done = _done(stage, *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def _made(stage: Stage, tenant: str = "contoso", *more: str) -> str:
    """A new key, which stands alone on the standard output."""
    done = _done(stage, "keys", "create", f"--tenant={tenant}", "--name=siem", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _key_id(stage: Stage, tenant: str, key_id: str) -> str:
    """Keep a key of this id."""
    now = datetime.now(UTC)
    key = ApiKey(key_id=key_id, secret_hash="", tenant=tenant, name="x", roles=frozenset(), created_at=now)
    stage.ask(lambda database, _: KeyRepository(database).insert(tenant, key))
    return key_id


def _opens(stage: Stage, key: str) -> str | None:
    found: Caller | None = stage.ask(lambda _, services: services.keys.authenticate(key))
    return found.tenant if found else None


def _ended_at(stage: Stage, key_id: str) -> datetime:
    document = stage.ask(lambda database, _: database["keys"].find_one({"_id": key_id}))
    assert document is not None
    found: datetime = document["revoked_at"]
    return found


def test_a_printed_key_opens_its_tenant_with_its_roles(stage: Stage) -> None:
    key = _made(stage)
    assert _opens(stage, key) == "contoso"
    caller = stage.ask(lambda _, services: services.keys.authenticate(key))
    assert caller.roles == {"SecureScore.Read"}
    assert _opens(stage, key[:-1] + ("A" if key[-1] != "A" else "B")) is None


def test_a_written_key_is_private_and_is_made_once(stage: Stage, tmp_path: Path) -> None:
    out = tmp_path / "new" / "key"
    create = ("keys", "create", "--tenant=contoso", "--name=local", f"--out={out}")
    shown = _run(stage, *create)
    key = out.read_text().strip()
    assert key not in shown
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    out.chmod(0o644)
    assert "holds a valid key" in _run(stage, *create)
    assert out.read_text().strip() == key
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    _run(stage, *create, f"--roles={','.join(ALL_ROLES)}")
    assert out.read_text().strip() != key, "the key lacked roles"
    assert stage.count("keys") == 2


def test_a_restricted_key_sees_what_it_says(stage: Stage, tmp_path: Path) -> None:
    key = _made(stage, "contoso", "--instances=sales-eu, support", "--products=salesforce")
    found: Caller = stage.ask(lambda _, services: services.keys.authenticate(key))
    assert str(found.restriction) == "instances sales-eu, support; products salesforce"
    assert "sales-eu, support" in _run(stage, "keys", "list", "--tenant=contoso")
    out = tmp_path / "k"
    written = []
    for more in ("--instances=a", "--instances=a", "--instances=b"):
        _run(stage, "keys", "create", "--tenant=contoso", "--name=x", f"--out={out}", more)
        written.append(out.read_text())
    assert written[0] == written[1] != written[2], "a key that sees something else is no such key"


@pytest.mark.parametrize("wrong", ["--instances=a b", "--products=jira", "--instances=a,,b"])
def test_a_wrong_restriction_is_told(stage: Stage, wrong: str) -> None:
    assert "no restriction" in _run(stage, "keys", "create", "--tenant=contoso", "--name=x", wrong, code=2)


def test_a_restricted_key_that_makes_keys_is_refused(stage: Stage) -> None:
    told = _run(stage, "keys", "create", "--tenant=c", "--name=x", "--roles=Keys.Manage", "--instances=a", code=2)
    assert "could make one without" in told


def test_a_list_shows_no_secret_and_no_other_tenant(stage: Stage) -> None:
    key = _made(stage)
    _run(stage, "keys", "create", "--tenant=fabrikam", "--name=theirs")
    shown = _run(stage, "keys", "list", "--tenant=contoso")
    assert key.split("_")[1] in shown
    assert "siem" in shown
    assert "theirs" not in shown
    assert key.split("_", 2)[2] not in shown


def test_a_revoked_key_opens_nothing(stage: Stage) -> None:
    key = _made(stage)
    key_id = key.split("_")[1]
    assert "has no key" in _run(stage, "keys", "revoke", "--tenant=fabrikam", key_id, code=1)
    assert _opens(stage, key) == "contoso"
    _run(stage, "keys", "revoke", "--tenant=contoso", key_id)
    assert _opens(stage, key) is None
    first = _ended_at(stage, key_id)
    _run(stage, "keys", "revoke", "--tenant=contoso", key_id)
    assert _ended_at(stage, key_id) == first


def test_the_audit_trail_knows_what_the_command_line_did(stage: Stage) -> None:
    key_id = _made(stage).split("_")[1]
    _run(stage, "keys", "revoke", "--tenant=contoso", key_id)

    async def trail(database: Database, _: Services) -> list[tuple[str, str, bool]]:
        entries = await AuditRepository(database).page("contoso", {}, None, None, None, 10)
        return [(entry.action, entry.who, key_id in str(entry.detail)) for _, entry in entries]

    assert stage.ask(trail) == [("key_revoked", "command line", True), ("key_created", "command line", True)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--tenant=contoso", "--name=x", "--roles=Admin"), "SecureScore.Read"),
        (("--tenant=no/slash", "--name=x"), "no tenant id"),
        (("--tenant=contoso", "--name=x", "--expires-days=0"), "expires-days"),
    ],
)
def test_wrong_arguments_are_told(stage: Stage, arguments: tuple[str, ...], told: str) -> None:
    assert told in _run(stage, "keys", "create", *arguments, code=2)
    assert stage.count("keys") == 0


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_an_id_is_whole_on_any_terminal(stage: Stage, columns: int) -> None:
    key_id = _made(stage).split("_")[1]
    assert key_id in _done(stage, "keys", "list", "--tenant=contoso", columns=columns).stdout


def test_the_start_of_an_id_ends_the_one_key_that_has_it(stage: Stage) -> None:
    alike = [_key_id(stage, "contoso", f"0123456789abcde{last}") for last in "01"]
    theirs = _key_id(stage, "fabrikam", "fedcba9876543210")
    told = _run(stage, "keys", "revoke", "--tenant=contoso", "0123456789", code=1)
    assert all(key_id in told for key_id in alike)
    assert "has no key" in _run(stage, "keys", "revoke", "--tenant=contoso", theirs[:8], code=1)
    assert "too short" in _run(stage, "keys", "revoke", "--tenant=fabrikam", theirs[:7], code=2)
    assert stage.count("keys", {"revoked_at": None}) == 3
    assert theirs in _run(stage, "keys", "revoke", "--tenant=fabrikam", theirs[:8])
    assert stage.count("keys", {"revoked_at": None, "tenant": "contoso"}) == 2
    assert stage.count("keys", {"revoked_at": None}) == 2


def test_a_key_for_a_tenant_without_instances_is_made_with_a_warning(stage: Stage) -> None:
    create = ("keys", "create", "--tenant=contoso", "--name=siem")
    early = _done(stage, *create)
    assert _opens(stage, early.stdout.strip()) == "contoso"
    assert early.stderr.startswith("warning: no instance of tenant contoso is known")
    stage.ask(lambda database, _: projection_into(database).take_status(status()))
    later = _done(stage, *create)
    assert _opens(stage, later.stdout.strip()) == "contoso"
    assert later.stderr == ""


def test_a_database_that_is_away_is_told_in_one_line(stage: Stage) -> None:
    port = free_port()
    stage.mongodb_url = f"mongodb://somebody:s3cret@127.0.0.1:{port}/posture"
    told = _run(stage, "keys", "create", "--tenant=contoso", "--name=x", code=1)
    assert f"the database at 127.0.0.1:{port}/posture does not answer" in told
    assert "check PLUMBLINE_MONGODB_URL" in told
    assert "s3cret" not in told
    assert "somebody" not in told
    assert "Traceback" not in told
