"""The catalogue of one product, compiled: which expressions run on which dataset."""

from collections.abc import Iterator
from dataclasses import dataclass

from plumbline_contracts.datasets import DatasetSchema, FieldType, datasets
from plumbline_contracts.events import Product

from plumbline_evaluator.catalogue.model import (
    AppliesWhen,
    Control,
    CountCheck,
    DocumentCheck,
    LeafCheck,
    PropertyCheck,
    RowCheck,
    RowsCheck,
)
from plumbline_evaluator.expressions import Expression, ExpressionError, Language

PROPERTIES = "system_properties"
RELEASE = "instance"
VALUE_TYPES: dict[str, FieldType] = {"bool": "bool", "int": "int", "string": "string"}

Problem = tuple[str, tuple[int | str, ...], str]


class PlanError(ValueError):
    """Controls that cannot be compiled: (control id, place in its file, message) each."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{control}: {message}" for control, _, message in problems))
        self.problems = problems


@dataclass(frozen=True)
class Leaf:
    """One compiled check of a control. `name` is empty unless it is a sub-check."""

    control: str
    name: str
    check: LeafCheck
    dataset: DatasetSchema
    language: Language
    passes: Expression | None
    where: Expression | None
    partial: tuple[tuple[Expression, float], ...] = ()


@dataclass(frozen=True)
class Gate:
    """A control's `applies_when`, compiled."""

    dataset: DatasetSchema
    language: Language
    expression: Expression


@dataclass(frozen=True)
class CompiledControl:
    """A control with its compiled checks."""

    control: Control
    leaves: tuple[Leaf, ...]
    gate: Gate | None


@dataclass(frozen=True)
class ProductPlan:
    """All active controls of a product, compiled."""

    product: Product
    controls: tuple[CompiledControl, ...]

    @property
    def dataset_names(self) -> frozenset[str]:
        """The datasets that any control reads."""
        leaves = [leaf for compiled in self.controls for leaf in compiled.leaves]
        named = {leaf.dataset.name for leaf in leaves}
        named |= {compiled.gate.dataset.name for compiled in self.controls if compiled.gate}
        if any(isinstance(leaf.check, PropertyCheck) and leaf.check.absent.releases for leaf in leaves):
            named.add(RELEASE)
        return frozenset(named)


def build_plan(product: Product, controls: list[Control]) -> ProductPlan:
    """Compile the active controls of a product. Raises PlanError with every problem."""
    compiler = _Compiler(product, [control for control in controls if control.status == "active"])
    compiled = [compiler.compile(control) for control in controls if control.status == "active"]
    if compiler.problems:
        raise PlanError(compiler.problems)
    return ProductPlan(product, tuple(compiled))


class _Compiler:
    def __init__(self, product: Product, controls: list[Control]) -> None:
        self.problems: list[Problem] = []
        self._product = product
        self._schemas = datasets(product)
        params = {c.id: {name: param.type for name, param in c.params.items()} for c in controls}
        self._languages = {
            name: Language({field: spec.type for field, spec in schema.fields.items()}, params)
            for name, schema in self._schemas.items()
        }
        self._value_languages = {kind: Language({"value": kind}, params) for kind in VALUE_TYPES.values()}

    def compile(self, control: Control) -> CompiledControl:
        leaves = []
        for name, check in control.leaves().items():
            place: tuple[int | str, ...] = ("check", "checks", name) if name else ("check",)
            leaf = self._leaf(control, name, check, place)
            if leaf is not None:
                leaves.append(leaf)
                self._check_details(control, leaf, place)
        gate = self._gate(control.id, control.applies_when) if control.applies_when else None
        return CompiledControl(control, tuple(leaves), gate)

    def _schema(self, control: str, dataset: str, place: tuple[int | str, ...]) -> DatasetSchema | None:
        if schema := self._schemas.get(dataset):
            return schema
        known = ", ".join(self._schemas)
        self.problems.append(
            (control, (*place, "dataset"), f"{self._product} has no dataset {dataset}; it has {known}")
        )
        return None

    def _expression(
        self, language: Language, text: str | None, control: str, place: tuple[int | str, ...]
    ) -> Expression | None:
        if text is None:
            return None
        try:
            return language.compile(text, control)
        except ExpressionError as error:
            self.problems.append((control, place, str(error)))
            return None

    def _leaf(self, control: Control, name: str, check: LeafCheck, place: tuple[int | str, ...]) -> Leaf | None:
        dataset = PROPERTIES if isinstance(check, PropertyCheck) else check.dataset
        schema = self._schema(control.id, dataset, place)
        if schema is None:
            return None
        if isinstance(check, DocumentCheck) != (schema.kind == "document"):
            self.problems.append((control.id, (*place, "kind"), f"{schema.name} is a {schema.kind} dataset"))
        language = (
            self._value_languages[VALUE_TYPES[check.type]]
            if isinstance(check, PropertyCheck)
            else self._languages[schema.name]
        )
        passes = getattr(check, "passes", None)
        where = check.where if isinstance(check, RowsCheck | CountCheck) else None
        partial = check.partial if isinstance(check, DocumentCheck) else []
        bands = [self._expression(language, p.when, control.id, (*place, "partial", i)) for i, p in enumerate(partial)]
        return Leaf(
            control=control.id,
            name=name,
            check=check,
            dataset=schema,
            language=language,
            passes=self._expression(language, passes, control.id, (*place, "pass")),
            where=self._expression(language, where, control.id, (*place, "where")),
            partial=tuple((band, p.share) for band, p in zip(bands, partial, strict=True) if band is not None),
        )

    def _gate(self, control: str, condition: AppliesWhen) -> Gate | None:
        place = ("applies_when",)
        schema = self._schema(control, condition.dataset, place)
        if schema is None:
            return None
        if schema.kind != "document":
            self.problems.append((control, (*place, "dataset"), f"{schema.name} is no document dataset"))
            return None
        language = self._languages[schema.name]
        expression = self._expression(language, condition.expression, control, (*place, "expression"))
        return Gate(schema, language, expression) if expression else None

    def _check_details(self, control: Control, leaf: Leaf, place: tuple[int | str, ...]) -> None:
        for key, message in _detail_problems(control, leaf):
            self.problems.append((control.id, (*place, key), message))


def _detail_problems(control: Control, leaf: Leaf) -> Iterator[tuple[str, str]]:
    """Fields and parameters that are named outside of expressions."""
    check = leaf.check
    named = list(check.observed) if isinstance(check, DocumentCheck) else []
    named += list(check.match) if isinstance(check, RowCheck) else []
    for field in named:
        if field not in leaf.dataset.fields:
            yield (
                "match" if isinstance(check, RowCheck) else "observed",
                f"{field} is not a field of {leaf.dataset.name}",
            )
    if isinstance(check, CountCheck):
        for band in check.bands:
            for bound in (band.minimum, band.maximum):
                if isinstance(bound, str) and bound.removeprefix("params.") not in control.params:
                    yield "bands", f"{bound} is not a number and names no parameter"
    try:
        check.expected.format(**{name: param.default for name, param in control.params.items()})
    except (KeyError, IndexError, ValueError) as error:
        yield "expected", f"`{check.expected}` names an unknown parameter: {error}"
