"""The lint: the driver stays in repositories and the composition root, and every query takes the tenant and uses it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "services/score-api/src/plumbline_score_api"
FILES = sorted(SOURCE.rglob("*.py"))
REPOSITORIES = [path for path in FILES if path.name == "repository.py"]
DRIVERS = {"motor", "pymongo", "bson", "gridfs", "importlib"}
WITHOUT_TENANT = {
    "history.HistoryRepository.prepare": "creates indexes",
    "history.HistoryRepository.pending": "the projector serves all tenants; each answer names its own",
    "history.HistoryRepository.findings_due": "the projector serves all tenants; each answer names its own",
    "findings.FindingRepository.requested": "the projector serves all tenants; each answer names its own",
    "history.HistoryRepository.prune": "retention is the same for all tenants",
    "bulk.replace": "writes documents that its callers have made for a tenant",
    "bulk.unless_newer": "writes what its callers have made for a tenant, or definitions",
    "changes.ChangeLogRepository.prepare": "creates indexes",
    "changes.ChangeLogRepository.of_all": "the projector serves all tenants; each answer names its own",
    "changes.ChangeLogRepository.prune": "retention is the same for all tenants",
    "changes.ChangeLogRepository.key": "the key belongs to the log; what it seals names its tenant",
    "changes.ChangeLogRepository.after": "one reader per replica serves all tenants; each entry names its own",
    "changes.ChangeLogRepository.heads": "the numbers of a partition go over all tenants",
    "changes.ChangeLogRepository.first": "the numbers of a partition go over all tenants",
    "changes.ChangeLogRepository.deleted": "retention is the same for all tenants",
    "changes.ChangeLogRepository._delete": "retention is the same for all tenants",
    "changes.ChangeLogRepository._lasting": "how the log is read, not what",
    "changes._last": "the numbers of a partition go over all tenants",
    "audit.AuditRepository.prepare": "creates indexes",
    "decisions.DecisionRepository.prepare": "creates indexes",
    "decisions.DecisionRepository.pending": "the projector serves all tenants; each answer names its own",
    "decisions.DecisionRepository.unrecorded": "the projector serves all tenants; each answer names its own",
    "decisions.DecisionRepository.due": "the projector serves all tenants; each answer names its own",
    "controls.ControlRepository.generations": "the catalogue belongs to no tenant",
    "controls.ControlRepository.definitions": "the catalogue belongs to no tenant",
    "instances.DisconnectionRepository.prepare": "creates indexes",
    "instances.DisconnectionRepository.pending": "the projector serves all tenants; each answer names its own",
    "instances.InsightsRepository.prepare": "creates indexes",
    "instances.InsightsRepository.pending": "the projector serves all tenants; each answer names its own",
    "instances.InsightsRepository.unrecorded": "the projector serves all tenants; each answer names its own",
    "pictures.PictureRepository.definitions": "the catalogue belongs to no tenant",
    "projection.ProjectionRepository.due": "the projector serves all tenants; each answer names its own",
    "projection.ProjectionRepository.prune_setting_changes": "retention is the same for all tenants",
    "zones.ZoneRepository.prepare": "creates indexes",
    "zones.ZoneRepository.pending": "the projector serves all tenants; each answer names its own",
    "projection.ProjectionRepository.unsettled": "the projector serves all tenants; each answer names its own",
    "projection.ProjectionRepository.prepare": "creates indexes",
    "projection.ProjectionRepository.write_definitions": "the catalogue belongs to no tenant",
    "projection.ProjectionRepository.defined": "the catalogue belongs to no tenant",
    "projection.ProjectionRepository.waiting": "the projector serves all tenants; each answer names its own",
    "webhooks.WebhookRepository.prepare": "creates indexes",
    "webhooks.WebhookRepository.tenants": "the projector serves all tenants; each answer names its own",
    "webhooks.DeliveryRepository.prepare": "creates indexes",
    "webhooks.DeliveryRepository.due": "the projector serves all tenants; each answer names its own",
    "webhooks.DeliveryRepository.queue": "how much waits is measured over all tenants",
    "webhooks.DeliveryRepository.prune": "retention is the same for all tenants",
    "webhooks.ProgressRepository.cursor": "the numbers of a partition go over all tenants",
    "webhooks.ProgressRepository.advance": "the numbers of a partition go over all tenants",
    "keys.KeyRepository.prepare": "creates indexes",
    "keys.KeyRepository.find": "the tenant comes out of the key",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _misplaced(tree: ast.Module, *, errors_allowed: bool) -> Iterator[str]:
    """Imports of the driver, and uses of a database, that belong into a repository."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module
            and not (errors_allowed and node.module == "pymongo.errors")
        ):
            names = [node.module]
        elif isinstance(node, ast.Name) and node.id == "__import__":
            names = ["importlib"]
        yield from (f"imports {name}" for name in names if name.split(".")[0] in DRIVERS)
        if isinstance(node, ast.Subscript | ast.Attribute) and "database" in ast.unparse(node.value).split("."):
            yield f"uses {ast.unparse(node)}"


def _functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Every function of a module with its name, those of classes and nested ones included."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    owners: list[tuple[str, ast.Module | ast.ClassDef]] = [("", tree), *((f"{node.name}.", node) for node in classes)]
    for prefix, owner in owners:
        for node in owner.body:
            if isinstance(node, Function):
                yield f"{prefix}{node.name}", node
                nested = [inner for inner in ast.walk(node) if isinstance(inner, Function) and inner is not node]
                yield from ((f"{prefix}{node.name}.{inner.name}", inner) for inner in nested)


def _touches(function: Function) -> bool:
    """Whether a function can reach the database: it is asynchronous, or a method that uses its object."""
    is_method = bool(function.args.args) and function.args.args[0].arg == "self" and function.name != "__init__"
    return isinstance(function, ast.AsyncFunctionDef) or is_method


def _is_scoped(function: Function) -> bool:
    """Whether the tenant is the first argument and goes into what the function does."""
    arguments = [argument.arg for argument in function.args.args]
    used = {node.id for part in function.body for node in ast.walk(part) if isinstance(node, ast.Name)}
    return arguments[:2] == ["self", "tenant"] and "tenant" in used


def _unscoped(tree: ast.Module, folder: str) -> list[str]:
    named = ((f"{folder}.{name}", function) for name, function in _functions(tree))
    return [name for name, function in named if _touches(function) and not _is_scoped(function)]


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_driver_is_used_by_repositories_and_the_composition_root_only(path: Path) -> None:
    if path.name != "repository.py" and path != SOURCE / "app.py":
        assert list(_misplaced(_tree(path), errors_allowed=path == SOURCE / "cli.py")) == []


@pytest.mark.parametrize("path", REPOSITORIES, ids=lambda path: path.parent.name)
def test_every_query_takes_the_tenant_first_and_uses_it(path: Path) -> None:
    assert [name for name in _unscoped(_tree(path), path.parent.name) if name not in WITHOUT_TENANT] == []


def test_every_exception_is_still_one() -> None:
    found = {name for path in REPOSITORIES for name in _unscoped(_tree(path), path.parent.name)}
    assert found == set(WITHOUT_TENANT)


@pytest.mark.parametrize(
    "source",
    [
        "class R:\n async def find(self, name):\n  return await self._c.find_one({'_id': name})",
        "class R:\n async def find(self, tenant, name):\n  return await self._c.find_one({'_id': name})",
        "class R:\n async def _find(self, name):\n  return await self._c.find_one({'_id': name})",
        "class R:\n def cursor(self, name):\n  return self._c.find({'_id': name})",
        "class R:\n @property\n def everything(self):\n  return self._c.find({})",
        "async def find(collection, name):\n return await collection.find_one({'_id': name})",
        "class R:\n async def find(self, tenant):\n  async def g(name):\n   await self._c.find(name)\n  return tenant",
    ],
)
def test_the_lint_sees_a_query_without_tenant(source: str) -> None:
    assert _unscoped(ast.parse(source), "x")


@pytest.mark.parametrize(
    "source",
    [
        "import motor.motor_asyncio",
        "def f():\n from pymongo import MongoClient",
        "from pymongo.errors import PyMongoError",
        "import importlib\nimportlib.import_module('pymongo')",
        "__import__('pymongo')",
        "def f(database):\n return database['findings']",
        "def f(self):\n return self.database.findings.find({})",
    ],
)
def test_the_lint_sees_the_driver_outside_of_a_repository(source: str) -> None:
    assert list(_misplaced(ast.parse(source), errors_allowed=False))
