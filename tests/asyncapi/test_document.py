"""The reference parser of AsyncAPI takes the document without a word, and refuses what is wrong.

`make test-client`. Node and the packages of `package-lock.json` lie in `.cache`; both are fetched once.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from plumbline_contracts.topics import registry

from tests import node

HERE = Path(__file__).parent
HOME = node.ROOT / ".cache" / "asyncapi"
DOCUMENT = node.ROOT / "docs" / "reference" / "asyncapi.yaml"
SCHEMAS = node.ROOT / "contracts" / "generated" / "schemas"
CHANNEL = "compliance-findings"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    node.install(HERE, HOME)


def _parsed(path: Path) -> dict[str, Any]:
    done = node.run(HOME, node.node(), "check.mjs", path)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _changed(folder: Path, edit: Callable[[Any], object]) -> Path:
    """The document with one thing changed, in a folder of its own."""
    document = yaml.safe_load(DOCUMENT.read_text().replace("../../contracts/generated/schemas", str(SCHEMAS)))
    edit(document)
    path = folder / "asyncapi.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_parser_has_nothing_to_say() -> None:
    found = _parsed(DOCUMENT)
    assert found["diagnostics"] == []
    assert found["version"] == "3.1.0"
    assert found["channels"] == [topic.name for topic in registry().topics]


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (lambda d: d["channels"][CHANNEL]["bindings"]["kafka"].update(partitions=0), "partitions"),
        (lambda d: d["channels"][CHANNEL]["bindings"]["kafka"].update(bindingVersion="9.9.9"), "bindings.kafka"),
        (lambda d: d["operations"]["siem.receive.compliance-findings"].update(action="publish"), "action"),
        (lambda d: d["components"]["messages"]["Finding"]["payload"]["schema"].update({"$ref": "gone.json"}), "schema"),
        (lambda d: d["channels"][CHANNEL]["messages"]["Finding"].update({"$ref": "#/components/messages/X"}), CHANNEL),
    ],
    ids=["partitions", "binding", "action", "schema", "message"],
)
def test_the_parser_refuses(tmp_path: Path, edit: Callable[[Any], object], path: str) -> None:
    """So that its silence means something."""
    found = _parsed(_changed(tmp_path, edit))
    assert any(path in diagnostic["path"] for diagnostic in found["diagnostics"]), found["diagnostics"]
