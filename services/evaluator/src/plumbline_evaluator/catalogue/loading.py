"""Loads the catalogue from its folder and refuses every mistake with file and line."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from plumbline_contracts.datasets import datasets
from plumbline_contracts.documents import Document, DocumentError, Place, read_document
from plumbline_contracts.events import ControlDefinition, Product
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plumbline_evaluator.catalogue import case_data
from plumbline_evaluator.catalogue.frameworks import Framework, Frameworks, load_frameworks
from plumbline_evaluator.catalogue.mistakes import mistakes
from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.catalogue.overrides import OVERRIDES, load_overrides
from plumbline_evaluator.judging.plan import PlanError, ProductPlan, build_plan

HEADER = "catalogue.yaml"
FRAMEWORKS = "frameworks"
"""The folder beside the products' that says which frameworks and ids a control may name."""


class CatalogueError(ValueError):
    """The catalogue cannot be used. `problems` are lines `file:line: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CatalogueFile(BaseModel):
    """`controls/catalogue.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    generation: int = Field(ge=0)


@dataclass(frozen=True)
class Catalogue:
    """All controls, compiled per product. `digest` changes whenever a judgement or a text could."""

    version: str
    generation: int
    controls: dict[str, Control]
    digests: dict[str, str]
    plans: dict[Product, ProductPlan]
    frameworks: Mapping[str, Framework]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the digests of all controls and the generation."""
        content = json.dumps([self.generation, sorted(self.digests.items())])
        return hashlib.sha256(content.encode()).hexdigest()

    def definitions(self) -> Iterator[ControlDefinition]:
        """What `control-catalogue` holds of each control."""
        for control in self.controls.values():
            yield definition(control, self.digests[control.id], self.generation)


def definition(control: Control, digest: str, generation: int) -> ControlDefinition:
    """A control as it is published: texts, points and mappings, without check and cases."""
    schemas = datasets(control.product)
    needed = [schemas[leaf.dataset].permission for leaf in control.leaves().values() if hasattr(leaf, "dataset")]
    if any(leaf.kind == "property" for leaf in control.leaves().values()):
        needed.append(schemas["system_properties"].permission)
    return ControlDefinition(
        control_id=control.id,
        digest=digest,
        catalogue_generation=generation,
        max_points=control.points,
        permissions=list(dict.fromkeys([*needed, *control.permissions])),
        **{name: getattr(control, name) for name in _PUBLISHED},
    )


_PUBLISHED = (
    "version", "status", "manual_reason", "product", "title", "category", "severity", "aliases", "user_impact",
    "implementation_cost", "threats", "description", "rationale", "remediation", "frameworks",
)  # fmt: skip


def control_digest(control: Control) -> str:
    """SHA-256 of everything in a control but its cases."""
    content = control.model_dump(mode="json", by_alias=True, exclude={"cases"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load(folder: Path, custom: Path | None = None, *, with_overrides: bool = True) -> Catalogue:
    """The catalogue in `folder`, compiled. Raises CatalogueError with every problem found.

    `custom` is a folder of an operator's own: its controls are added, or stand in the place of those with their id,
    its frameworks are added, and its `overrides.yaml` sets defaults of parameters and leaves controls out, unless the
    controls are asked for as their authors wrote them, for which their cases hold.
    """
    header = _load_header(folder / HEADER)
    problems = [*_unreadable(folder), *_strangers(folder, _why_not_shipped)]
    frameworks = load_frameworks(folder / FRAMEWORKS, problems)
    sources = _sources(_control_files(folder), problems)
    overrides = None
    if custom is not None:
        problems += _unusable(custom) or _unreadable(custom)
        problems += _strangers(custom, _why_not_custom)
        frameworks = frameworks.with_those_of(load_frameworks(custom / FRAMEWORKS, problems))
        sources |= _sources([*_control_files(custom), *_flat_files(custom)], problems)
        overrides = load_overrides(custom / OVERRIDES, problems)
    problems += _problems_between(sources, frameworks)
    if not sources and not problems:
        problems.append(f"{folder}: no control in it; expected <product>/<ID>.yaml")
    controls = {name: source.control for name, source in sorted(sources.items())}
    if overrides and with_overrides:
        controls = overrides.applied_to(controls, problems)
    plans = _plans(controls, sources, problems)
    if problems:
        raise CatalogueError(problems)
    digests = {name: control_digest(control) for name, control in controls.items()}
    return Catalogue(header.version, header.generation, controls, digests, plans, frameworks.known)


def _unusable(custom: Path) -> list[str]:
    if custom.is_dir():
        return []
    return [f"{custom}: the folder of custom controls is not there; mount it, or name another one"]


def nothing_in(custom: Path) -> str | None:
    """What to say of an operator's folder that changes nothing; None when there is something in it.

    An empty folder is no mistake that must stop anything, but nobody mounts one on purpose.
    """
    frameworks = list((custom / FRAMEWORKS).glob("*.yaml"))
    if frameworks or _control_files(custom) or _flat_files(custom) or (custom / OVERRIDES).exists():
        return None
    return f"{custom}: no control, framework or {OVERRIDES} in it; fill the folder, or do not name it"


def _unreadable(folder: Path) -> list[str]:
    """Folders that cannot be listed: what is in them is not known, and must not count as gone."""
    problems = []
    for each in (folder, *(folder / name for name in (*Product, FRAMEWORKS))):
        try:
            with os.scandir(each):
                pass
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            problems.append(f"{each}: the folder cannot be read: {error.strerror}")
    return problems


def _control_files(folder: Path) -> list[Path]:
    return sorted(path for product in Product for path in folder.glob(f"{product}/*.yaml"))


def _flat_files(custom: Path) -> list[Path]:
    """Controls directly in the folder, which is how a Kubernetes ConfigMap is mounted."""
    return sorted(path for path in custom.glob("*.yaml") if path.name not in (HEADER, OVERRIDES))


def _strangers(folder: Path, why_not_read: Callable[[Path], str | None]) -> Iterator[str]:
    """YAML files that look as if they were of the catalogue and would not be read; hidden ones are nobody's."""
    for path in sorted({*folder.glob("*/*"), *folder.rglob("*")}):
        place = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in place.parts)
        if path.suffix.lower() in (".yml", ".yaml") and not is_hidden and (reason := why_not_read(place)):
            yield f"{path}:1: not read: {reason}"


def _why_not_custom(place: Path) -> str | None:
    """Why a YAML file of the operator's folder is not read; None when it is."""
    if place.suffix != ".yaml":
        return "the files of a catalogue end in .yaml"
    return None if len(place.parts) == 1 else _why_not_shipped(place)


def _why_not_shipped(place: Path) -> str | None:
    """Why a YAML file at this place in the catalogue's folder is not read; None when it is."""
    folders = (*Product, FRAMEWORKS)
    if place == Path(HEADER):
        return None
    if len(place.parts) == 1:
        return f"only {HEADER} stands here; controls stand in {', '.join(Product)}, frameworks in {FRAMEWORKS}"
    if place.parts[0] not in folders:
        return f"there is no product {place.parts[0]}; the folders are {', '.join(folders)}"
    if len(place.parts) > 2:
        return f"{place.parts[0]} has no folders in it"
    return None if place.suffix == ".yaml" else "the files of a catalogue end in .yaml"


def _sources(paths: Iterable[Path], problems: list[str]) -> "dict[str, _Source]":
    """The control files by control id; mistakes are appended to `problems`."""
    sources: dict[str, _Source] = {}
    for path in paths:
        try:
            source = _Source.read(path)
        except CatalogueError as error:
            problems += error.problems
            continue
        if other := sources.get(source.control.id):
            problems.append(source.at(("id",), f"control id {source.control.id} is also in {other.path}"))
        problems += _misplacements(source)
        problems += [source.at(place, message) for place, message in case_data.problems(source.control)]
        sources.setdefault(source.control.id, source)
    return sources


def _problems_between(sources: "dict[str, _Source]", frameworks: Frameworks) -> Iterator[str]:
    """Aliases that two controls share, and frameworks that nobody declares."""
    taken: dict[str, _Source] = {}
    for source in sources.values():
        for alias in source.control.aliases:
            if alias in taken:
                yield source.at(("aliases",), f"alias {alias} is also in {taken[alias].path}")
            taken.setdefault(alias, source)
        yield from (source.at(place, message) for place, message in frameworks.problems_of(source.control))


def _plans(
    controls: dict[str, Control], sources: "dict[str, _Source]", problems: list[str]
) -> dict[Product, ProductPlan]:
    plans: dict[Product, ProductPlan] = {}
    for product in Product:
        chosen = [control for control in controls.values() if control.product is product]
        try:
            plans[product] = build_plan(product, chosen)
        except PlanError as error:
            problems += [sources[control].at(place, message) for control, place, message in error.problems]
    return plans


def _load_header(path: Path) -> CatalogueFile:
    try:
        document = read_document(path)
    except DocumentError as error:
        raise CatalogueError([f"{error}; is {path.parent} the folder of the catalogue?"]) from error
    try:
        return CatalogueFile.model_validate(document.content)
    except ValidationError as error:
        problems = [document.at(place, message) for place, message in mistakes(error, CatalogueFile)]
        raise CatalogueError(problems) from error


def _misplacements(source: "_Source") -> Iterator[str]:
    control, folder = source.control, source.path.parent.name
    if source.path.stem != control.id:
        yield source.at(("id",), f"the file name and the id {control.id} differ")
    if folder in tuple(Product) and folder != control.product:
        yield source.at(("product",), f"product {control.product} does not fit the folder {folder}/")


@dataclass(frozen=True)
class _Source:
    """One control file: the control, and where each of its keys stands."""

    control: Control
    document: Document

    @classmethod
    def read(cls, path: Path) -> "_Source":
        try:
            document = read_document(path)
        except DocumentError as error:
            raise CatalogueError([str(error)]) from error
        try:
            return cls(Control.model_validate(document.content), document)
        except ValidationError as error:
            problems = [document.at(place, message) for place, message in mistakes(error, Control)]
            raise CatalogueError(problems) from error

    @property
    def path(self) -> Path:
        return self.document.path

    def at(self, place: Place, message: str) -> str:
        return self.document.at(place, message)
