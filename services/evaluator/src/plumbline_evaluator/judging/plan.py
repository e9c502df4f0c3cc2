"""The catalogue of one product, compiled: which expressions run on which dataset."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
from plumbline_evaluator.expressions import Expression, ExpressionError, Language, Question, Questionnaire, quoted
from plumbline_evaluator.judging.releases import RANKS

PROPERTIES = "system_properties"
RELEASE, RANK = "instance", "family_rank"
"""The dataset that says which release runs, and its field for that; expressions over a property may name it too."""
VALUE_TYPES: dict[str, FieldType] = {"bool": "bool", "int": "int", "string": "string", "list": "string_list"}

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
    """One condition of a control's `applies_when`, compiled."""

    condition: AppliesWhen
    dataset: DatasetSchema
    language: Language
    expression: Expression


@dataclass(frozen=True)
class CompiledControl:
    """A control with its compiled checks."""

    control: Control
    leaves: tuple[Leaf, ...]
    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class ProductPlan:
    """All active controls of a product, compiled.

    `questionnaires` has, by dataset, the `where` and `pass` of all its population checks, in the order of the controls.
    """

    product: Product
    controls: tuple[CompiledControl, ...]
    questionnaires: Mapping[str, Questionnaire]

    @property
    def dataset_names(self) -> frozenset[str]:
        """The datasets that any control reads."""
        leaves = [leaf for compiled in self.controls for leaf in compiled.leaves]
        named = {leaf.dataset.name for leaf in leaves}
        named |= {gate.dataset.name for compiled in self.controls for gate in compiled.gates}
        if any(map(depends_on_release, leaves)):
            named.add(RELEASE)
        return frozenset(named)


def depends_on_release(leaf: Leaf) -> bool:
    """Whether the verdict on a property depends on the release that runs."""
    if not isinstance(leaf.check, PropertyCheck):
        return False
    return bool(leaf.check.absent.releases) or (leaf.passes is not None and RANK in leaf.passes.fields)


def build_plan(product: Product, controls: list[Control]) -> ProductPlan:
    """Compile the active controls of a product. Raises PlanError with every problem."""
    compiler = _Compiler(product, [control for control in controls if control.status == "active"])
    compiled = [compiler.compile(control) for control in controls if control.status == "active"]
    if compiler.problems:
        raise PlanError(compiler.problems)
    return ProductPlan(product, tuple(compiled), _questionnaires(compiled))


def _questionnaires(controls: Iterable[CompiledControl]) -> dict[str, Questionnaire]:
    questions: dict[str, list[Question]] = defaultdict(list)
    languages: dict[str, Language] = {}
    for leaf in (leaf for compiled in controls for leaf in compiled.leaves):
        if leaf.where is not None:
            questions[leaf.dataset.name].append((leaf.where, leaf.passes))
            languages[leaf.dataset.name] = leaf.language
    found = {name: languages[name].questionnaire(asked) for name, asked in questions.items()}
    return {name: questionnaire for name, questionnaire in found.items() if questionnaire is not None}


class _Compiler:
    def __init__(self, product: Product, controls: list[Control]) -> None:
        self.problems: list[Problem] = []
        self._product = product
        self._schemas = datasets(product)
        params = {c.id: {name: param.type for name, param in c.params.items()} for c in controls}
        self._params = params
        self._languages: dict[str, Language] = {}

    def _language(self, schema: DatasetSchema, value_type: FieldType | None = None) -> Language:
        """The language of a dataset's rows or, of a property, that of its value; made when first asked for."""
        name = f"a value of type {value_type}" if value_type else schema.name
        if name not in self._languages:
            fields = (
                {"value": value_type, RANK: "int"}
                if value_type
                else {name: f.type for name, f in schema.fields.items()}
            )
            self._languages[name] = Language(fields, self._params)
        return self._languages[name]

    def compile(self, control: Control) -> CompiledControl:
        leaves = []
        for name, check in control.leaves().items():
            place: tuple[int | str, ...] = ("check", "checks", name) if name else ("check",)
            leaf = self._leaf(control, name, check, place)
            if leaf is not None:
                leaves.append(leaf)
                self._check_details(control, leaf, place)
        gates = (self._gate(control.id, number, asked) for number, asked in enumerate(control.applies_when))
        return CompiledControl(control, tuple(leaves), tuple(gate for gate in gates if gate))

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
        value_type = VALUE_TYPES[check.type] if isinstance(check, PropertyCheck) else None
        language = self._language(schema, value_type)
        where, passes, key = _questions(check)
        partial = check.partial if isinstance(check, DocumentCheck) else []
        bands = [self._expression(language, p.when, control.id, (*place, "partial", i)) for i, p in enumerate(partial)]
        return Leaf(
            control=control.id,
            name=name,
            check=check,
            dataset=schema,
            language=language,
            passes=self._expression(language, passes, control.id, (*place, "where" if key == "of" else "pass")),
            where=self._expression(language, where, control.id, (*place, key)),
            partial=tuple((band, p.share) for band, p in zip(bands, partial, strict=True) if band is not None),
        )

    def _gate(self, control: str, number: int, condition: AppliesWhen) -> Gate | None:
        place = ("applies_when", number)
        schema = self._schema(control, condition.dataset, place)
        if schema is None:
            return None
        for problem in _selection_problems(condition, schema):
            self.problems.append((control, place, problem))
        language = self._language(schema)
        expression = self._expression(language, condition.expression, control, (*place, "expression"))
        return Gate(condition, schema, language, expression) if expression else None

    def _check_details(self, control: Control, leaf: Leaf, place: tuple[int | str, ...]) -> None:
        for key, message in _detail_problems(control, leaf):
            self.problems.append((control.id, (*place, key), message))


def _questions(check: LeafCheck) -> tuple[str | None, str | None, str]:
    """What selects a row, what is then asked of it, and the key under which the first stands."""
    match check:
        case CountCheck(of=None):
            return check.where, None, "where"
        case CountCheck():
            return check.of, check.where, "of"
        case RowsCheck():
            return check.where, check.passes, "where"
        case _:
            return None, check.passes, "where"


def _selection_problems(condition: AppliesWhen, schema: DatasetSchema) -> Iterator[str]:
    """A condition on rows must select one; a document has none to select."""
    selects = condition.key is not None or bool(condition.match)
    if selects == (schema.kind == "document"):
        yield f"{schema.name} is a document" if selects else f"{schema.name} has rows: say which by `key` or `match`"
    yield from (f"{name} is not a field of {schema.name}" for name in condition.match if name not in schema.fields)


def _detail_problems(control: Control, leaf: Leaf) -> Iterator[tuple[str, str]]:
    """What is wrong outside of expressions: fields, parameters, values and releases that a check names."""
    check = leaf.check
    match check:
        case DocumentCheck():
            yield from (
                ("observed", _no_field(name, leaf)) for name in check.observed if name not in leaf.dataset.fields
            )
        case RowCheck():
            yield from _match_problems(check, leaf)
        case CountCheck():
            bounds = [bound for b in check.bands for bound in (b.minimum, b.maximum, b.maximum_percent)]
            yield from (("bands", problem) for bound in bounds if (problem := _bound_problem(control, bound)))
        case RowsCheck():
            if problem := _target_problem(control, check.target_percent):
                yield "target_percent", problem
        case PropertyCheck():
            yield from (("absent", problem) for problem in _absent_problems(check))
    try:
        check.expected.format(**{name: param.default for name, param in control.params.items()})
    except (KeyError, IndexError, ValueError) as error:
        yield "expected", f"{quoted(check.expected)} names an unknown parameter: {error}"


def _no_field(name: str, leaf: Leaf) -> str:
    return f"{name} is not a field of {leaf.dataset.name}"


def _match_problems(check: RowCheck, leaf: Leaf) -> Iterator[tuple[str, str]]:
    for name in check.match:
        schema = leaf.dataset.fields.get(name)
        if schema is None:
            yield "match", _no_field(name, leaf)
        elif schema.type != "string":
            yield "match", f"{name} is of type {schema.type}; only strings can be matched"


def _bound_problem(control: Control, bound: int | str | None) -> str | None:
    if not isinstance(bound, str):
        return None
    prefix, _, name = bound.partition(".")
    if prefix != "params" or name not in control.params:
        return f"{bound} is not a number and names no parameter"
    kind = control.params[name].type
    return None if kind == "int" else f"{bound} is of type {kind}, expected int"


def _target_problem(control: Control, target: int | str) -> str | None:
    """A target is 1 to 100 percent, whatever an operator sets."""
    if problem := _bound_problem(control, target):
        return problem
    param = control.params[target.removeprefix("params.")] if isinstance(target, str) else None
    low, high = (param.minimum or 0, param.maximum or 101) if param else (int(target), int(target))
    return None if low >= 1 and high <= 100 else f"{target} is not bounded to 1 to 100 percent"


def _absent_problems(check: PropertyCheck) -> Iterator[str]:
    """Values in force that are not of the property's type, and releases that nobody knows."""
    absent = check.absent
    for value in (absent.value, *(band.value for band in absent.releases)):
        if value is not None and not _is_text_of(check.type, value):
            yield f"the value in force {value!r} is not of type {check.type}"
    for band in absent.releases:
        for release in (band.since, band.until):
            if release is not None and release not in RANKS:
                yield f"there is no release {release}; known are {', '.join(RANKS)}"


def _is_text_of(kind: str, text: str) -> bool:
    if kind == "int":
        return text.strip().removeprefix("-").isdecimal()
    return kind != "bool" or text.strip().lower() in ("true", "false")
