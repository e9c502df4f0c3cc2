"""The frameworks that controls are mapped to (`controls/frameworks/<id>.yaml`): which ids a control may name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from plumbline_contracts.documents import Document, DocumentError, Place, read_document
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plumbline_evaluator.catalogue.mistakes import mistakes
from plumbline_evaluator.catalogue.model import Control


class Reference(BaseModel):
    """One requirement of a framework."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    title: str | None = None


class Framework(BaseModel):
    """A file of `controls/frameworks/`: what the framework is, under which terms it is named, and its ids."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    version: str
    publisher: str
    url: str = Field(pattern=r"^https://")
    licence: str
    licence_url: str | None = Field(default=None, pattern=r"^https://")
    notice: str | None = None
    ids: list[Reference] = Field(min_length=1)

    def with_ids_of(self, other: "Framework") -> "Framework":
        """This framework with the ids that only `other` has behind its own."""
        known = {reference.id for reference in self.ids}
        added = [reference for reference in other.ids if reference.id not in known]
        return self.model_copy(update={"ids": [*self.ids, *added]})


@dataclass(frozen=True)
class Frameworks:
    """All frameworks of a catalogue, by id."""

    known: Mapping[str, Framework]

    @cached_property
    def declared(self) -> dict[str, frozenset[str]]:
        """Framework id to the ids of its requirements."""
        return {name: frozenset(reference.id for reference in it.ids) for name, it in self.known.items()}

    def with_those_of(self, others: "Frameworks") -> "Frameworks":
        """Both; of a framework that both declare, the ids of both."""
        shared = {name: it.with_ids_of(others.known[name]) for name, it in self.known.items() if name in others.known}
        return Frameworks({**self.known, **others.known, **shared})

    def problems_of(self, control: Control) -> Iterator[tuple[Place, str]]:
        """Where `control` names a framework or a requirement that is not declared."""
        for name, ids in control.frameworks.items():
            if name not in self.declared:
                known = ", ".join(sorted(self.declared)) or "none"
                yield ("frameworks", name), f"no framework {name} in frameworks/; there are {known}"
                continue
            for number, reference in enumerate(ids):
                if reference not in self.declared[name]:
                    yield ("frameworks", name, number), f"{reference} is not declared in frameworks/{name}.yaml"


def load_frameworks(folder: Path, problems: list[str]) -> Frameworks:
    """The frameworks in `folder`; mistakes are appended to `problems` as `file:line: what is wrong`."""
    known: dict[str, Framework] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            document = read_document(path)
            framework = Framework.model_validate(document.content)
        except DocumentError as error:
            problems.append(str(error))
        except ValidationError as error:
            problems += [document.at(place, message) for place, message in mistakes(error, Framework)]
        else:
            problems += _inconsistencies(framework, document)
            known[framework.id] = framework
    return Frameworks(known)


def _inconsistencies(framework: Framework, document: Document) -> Iterator[str]:
    if document.path.stem != framework.id:
        yield document.at(("id",), f"the file name and the id {framework.id} differ")
    seen: set[str] = set()
    for number, reference in enumerate(framework.ids):
        if reference.id in seen:
            yield document.at(("ids", number), f"{reference.id} stands here twice")
        seen.add(reference.id)
