"""Dataset schemas: the typed collections that a snapshot of a product can hold.

They are the contract between collector (which fills them) and evaluator (which type-checks expressions against
them). Files: `contracts/datasets/<product>.yaml`.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from plumbline_contracts.documents import read_document
from plumbline_contracts.events import Product
from plumbline_contracts.files import data_folder

FieldType = Literal["bool", "int", "double", "string", "timestamp", "string_list"]

_COUNT_OF = "count of "
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "double": (float, int),
    "string": (str,),
    "timestamp": (str,),
    "string_list": (list,),
}


class FieldSchema(BaseModel):
    """One field: its type, what it says, where it comes from and what reading it needs beyond the dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: FieldType
    description: str
    source: str = Field(description="The vendor's field or how it is derived")
    permission: str | None = Field(default=None, description="Needed for this field beyond the dataset's own")

    @property
    def counts(self) -> str | None:
        """The object whose rows are counted, where the field is such a number; None for any other field."""
        return self.source.removeprefix(_COUNT_OF) if self.source.startswith(_COUNT_OF) else None

    def accepts(self, value: JsonValue) -> bool:
        """Whether `value` is present and of this type. A bool is no int; null is never accepted."""
        if self.type in ("int", "double") and isinstance(value, bool):
            return False
        if self.type == "string_list":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        return isinstance(value, _PYTHON_TYPES[self.type])


class EntitySchema(BaseModel):
    """How a row of a dataset is named when it is exposed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    id: str
    name: str


class DatasetSchema(BaseModel):
    """One dataset: fields, source object, permission to read it, and the vendor's page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    product: Product
    kind: Literal["document", "rows"]
    description: str
    source: str
    permission: str
    remedy: str = Field(description="Where to grant the permission, in the product's own menus")
    documentation: str = Field(pattern=r"^https://")
    entity: EntitySchema | None = None
    fields: dict[str, FieldSchema]

    @model_validator(mode="after")
    def _entity_fields_exist(self) -> Self:
        if (self.kind == "rows") != (self.entity is not None):
            raise ValueError(f"{self.name}: rows datasets, and they alone, name their entity")
        named = {self.entity.id, self.entity.name} if self.entity else set()
        if unknown := named - self.fields.keys():
            raise ValueError(f"{self.name}: entity names unknown fields {sorted(unknown)}")
        return self

    def violations(self, row: Mapping[str, JsonValue]) -> list[str]:
        """What in `row` is not as declared: unknown fields and wrong types. Absent fields and nulls are allowed."""
        return [f"{name}: {problem}" for name, problem in self.faults(row)]

    def faults(self, row: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
        """The same, each with the key that it is about."""
        for name, value in row.items():
            schema = self.fields.get(name)
            if schema is None:
                yield name, f"not a field of {self.name}"
            elif value is not None and not schema.accepts(value):
                yield name, f"expected {schema.type}, got {type(value).__name__}"


@cache
def datasets(product: Product) -> dict[str, DatasetSchema]:
    """Dataset name to schema, for one product, in the order of the file."""
    document = read_document(data_folder() / "datasets" / f"{product.value}.yaml")
    entries = document.content["datasets"]
    schemas = [DatasetSchema.model_validate({"product": product, **entry}) for entry in entries]
    return {schema.name: schema for schema in schemas}
