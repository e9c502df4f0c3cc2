"""The lint: the driver stays in repositories and the composition root, and every query takes the tenant."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "services/score-api/src/plumbline_score_api"
FILES = sorted(SOURCE.rglob("*.py"))
REPOSITORIES = [path for path in FILES if path.name == "repository.py"]
DRIVERS = {"motor", "pymongo", "bson", "gridfs"}
MAY_IMPORT_ERRORS = {"cli.py"}
WITHOUT_TENANT = {
    "prepare": "creates indexes",
    "find": None,
    "write_definitions": "the catalogue belongs to no tenant",
    "definitions": "the catalogue belongs to no tenant",
}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "pymongo.errors":
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_driver_is_imported_by_repositories_and_the_composition_root_only(path: Path) -> None:
    is_allowed = path.name == "repository.py" or path == SOURCE / "app.py"
    assert is_allowed or not _imports(path) & DRIVERS


def _public_methods() -> list[tuple[str, ast.AsyncFunctionDef]]:
    return [
        (f"{path.parent.name}.{node.name}.{method.name}", method)
        for path in REPOSITORIES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.AsyncFunctionDef) and not method.name.startswith("_")
    ]


@pytest.mark.parametrize(
    ("name", "method"), _public_methods(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_query_takes_the_tenant_first(name: str, method: ast.AsyncFunctionDef) -> None:
    arguments = [argument.arg for argument in method.args.args]
    if name == "keys.KeyRepository.find":
        assert arguments == ["self", "key_id"], "the tenant comes out of the key"
    elif WITHOUT_TENANT.get(method.name):
        assert "tenant" not in arguments
    else:
        assert arguments[:2] == ["self", "tenant"]
