"""What a model refuses in a file, in the words of the person who wrote the file."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from plumbline_contracts.documents import Place
from pydantic import BaseModel, ValidationError


def mistakes(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Place, str]]:
    """Place and text of every mistake; an unknown key comes with the keys that are known in its place."""
    for entry in error.errors(include_url=False):
        place = entry["loc"]
        yield place, _unknown_key(model, place) if entry["type"] == "extra_forbidden" else entry["msg"]


def _unknown_key(model: type[BaseModel], place: Place) -> str:
    kind: Any = model
    for part in place[:-1]:
        kind = _inner(kind, part)
    known = (field.alias or name for name, field in _bare(kind).model_fields.items())
    return f"unknown key; known here: {', '.join(known)}"


def _bare(kind: Any) -> Any:  # noqa: ANN401 - a type annotation of any form
    """A type without `Annotated` and without `| None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not NoneType]
        return _bare(members[0]) if len(members) == 1 else kind
    return kind


def _inner(kind: Any, part: int | str) -> Any:  # noqa: ANN401 - a type annotation of any form
    """The type one step further into a place: an item, a value, a field, or the member of a union by its `kind`."""
    kind = _bare(kind)
    if get_origin(kind) in (list, dict):
        return get_args(kind)[-1]
    if get_origin(kind) in (Union, UnionType):
        members = [_bare(member) for member in get_args(kind)]
        return next(member for member in members if part in get_args(member.model_fields["kind"].annotation))
    fields = _bare(kind).model_fields
    return next(field.annotation for name, field in fields.items() if part in (name, field.alias))
