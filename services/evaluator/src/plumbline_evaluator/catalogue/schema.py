"""The JSON Schema of a control file, with which editors complete and check it (`controls/control.schema.json`)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import Product

from plumbline_evaluator.catalogue.frameworks import load_frameworks
from plumbline_evaluator.catalogue.model import Control

FILE = "control.schema.json"
Schema = dict[str, Any]


def build_schema(frameworks: Path) -> Schema:
    """The schema of draft 2020-12: the format, and the datasets and framework ids that there are."""
    schema = Control.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Plumbline control"
    properties = schema["properties"]
    properties["frameworks"] = _frameworks(load_frameworks(frameworks, []).declared)
    condition = properties["applies_when"]
    properties["applies_when"] = {"anyOf": [condition["items"], {k: v for k, v in condition.items() if k != "title"}]}
    names = sorted({name for product in Product for name in datasets(product)})
    for definition in schema["$defs"].values():
        if "dataset" in definition.get("properties", {}):
            definition["properties"]["dataset"] = {"enum": names, "description": "A dataset of the control's product"}
    return schema


def _frameworks(declared: Mapping[str, frozenset[str]]) -> Schema:
    def ids(known: frozenset[str]) -> Schema:
        return {"type": "array", "items": {"enum": sorted(known)}, "minItems": 1}

    return {
        "type": "object",
        "description": "Framework to the ids of its requirements that the control serves",
        "properties": {name: ids(known) for name, known in sorted(declared.items())},
        "additionalProperties": False,
    }


def schema_text(frameworks: Path) -> str:
    """The schema as it stands in the file."""
    return json.dumps(build_schema(frameworks), indent=2, ensure_ascii=False) + "\n"
