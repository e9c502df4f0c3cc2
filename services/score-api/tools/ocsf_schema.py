"""Writes the JSON Schema that events for SIEMs are checked against: OCSF's Compliance Finding, profile datetime.

`make generate` runs it, `make generated` with `--check`. The source is the schema that the Open Cybersecurity Schema
Framework publishes (Apache-2.0, schema.ocsf.io), as the development dependency ocsf-json-schema carries it.
"""

import argparse
import json
import sys
from pathlib import Path

from plumbline_contracts.finding import OCSF_VERSION
from plumbline_contracts.finding_schema import CLASS, ocsf_schema

FOLDER = Path(__file__).parents[1] / "src" / "plumbline_score_api" / "findings" / "generated"
FILE = FOLDER / f"ocsf-{OCSF_VERSION}-{CLASS.replace('_', '-')}.json"
GENERATED = "By `make generate`; do not edit. OCSF, Apache-2.0, https://schema.ocsf.io"


def text() -> str:
    """The file."""
    return json.dumps({"$comment": GENERATED, **ocsf_schema()}, indent=1, ensure_ascii=False) + "\n"


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
