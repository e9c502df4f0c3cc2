"""The document as files of the source tree: the current one, and the one of the last release."""

import json
from pathlib import Path
from typing import Any

CURRENT = "docs/reference/openapi.json"
RELEASED = "docs/reference/released/openapi.json"


def text(document: dict[str, Any]) -> str:
    """The file of a document."""
    generated = {"x-generated": "By `score-api openapi generate`; do not edit."}
    return json.dumps({**document, **generated}, indent=2, ensure_ascii=False) + "\n"


def read(path: Path) -> dict[str, Any]:
    """The document of a file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(path: Path, content: str) -> bool:
    """Write a file unless that is what it holds; whether it was written."""
    if path.is_file() and path.read_text(encoding="utf-8") == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return True
