"""Writes the JSON Schema that events for SIEMs are checked against: OCSF's Compliance Finding, profile datetime.

`make generate` runs it, `make generated` with `--check`. The source is the schema that the Open Cybersecurity Schema
Framework publishes (Apache-2.0, schema.ocsf.io), as the development dependency ocsf-json-schema carries it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

VERSION = "1.8.0"
CLASS = "compliance_finding"
PROFILES = ["datetime"]
FOLDER = Path(__file__).parents[1] / "src" / "plumbline_score_api" / "findings" / "generated"
FILE = FOLDER / f"ocsf-{VERSION}-{CLASS.replace('_', '-')}.json"
GENERATED = "By `make generate`; do not edit. OCSF, Apache-2.0, https://schema.ocsf.io"


def text() -> str:
    """The file: keys and enumerations in order, so that the same source always gives the same text."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION)).get_class_schema(CLASS, profiles=PROFILES)
    return json.dumps(_ordered({**schema, "$comment": GENERATED}), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _ordered(value: Any, key: str = "") -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {name: _ordered(each, name) for name, each in value.items()}
    if isinstance(value, list):
        each_ordered = [_ordered(each) for each in value]
        return sorted(each_ordered, key=json.dumps) if key in ("enum", "required", "anyOf", "type") else each_ordered
    return value


def main() -> int:
    """Write the file; with `--check` only say whether it is current. 1 when it is not."""
    parser = argparse.ArgumentParser(description="The JSON Schema of OCSF's Compliance Finding")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is not current")
    wanted = text()
    if parser.parse_args().check:
        is_current = FILE.is_file() and FILE.read_text(encoding="utf-8") == wanted
        if not is_current:
            sys.stderr.write(f"{FILE} is not current; run `make generate`\n")
        return int(not is_current)
    FOLDER.mkdir(parents=True, exist_ok=True)
    FILE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
