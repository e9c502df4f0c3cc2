"""Everything that `contracts generate` writes. It needs the development dependencies, which images do not have."""

import json

from plumbline_contracts.asyncapi import asyncapi
from plumbline_contracts.dataset_pages import dataset_page
from plumbline_contracts.schemas import event_schemas, schema_name
from plumbline_contracts.topic_pages import topic_pages

SCHEMAS = "contracts/generated/schemas"
ASYNCAPI = "docs/reference/asyncapi.yaml"
DATASETS = "docs/reference/datasets.md"
TOPICS = "docs/reference/topics"


def generated_files() -> dict[str, str]:
    """Path below the repository root to content."""
    schemas = {
        f"{SCHEMAS}/{schema_name(event_type)}": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for event_type, schema in event_schemas().items()
    }
    pages = {f"{TOPICS}/{name}": text for name, text in topic_pages().items()}
    return {**schemas, **pages, ASYNCAPI: asyncapi(), DATASETS: dataset_page()}
