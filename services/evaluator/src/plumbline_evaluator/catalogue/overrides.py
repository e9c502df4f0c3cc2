"""What an operator changes of the shipped controls without copying them: `overrides.yaml` of the custom folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from plumbline_contracts.documents import Document, DocumentError, Place, read_document
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from plumbline_evaluator.catalogue.mistakes import mistakes
from plumbline_evaluator.catalogue.model import Control

OVERRIDES = "overrides.yaml"


class OverridesFile(BaseModel):
    """`overrides.yaml`: control to parameter to its default here, and the controls that are left out.

    A control is named by its id or by one of its aliases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    disabled: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Overrides:
    """The file, and where its keys stand."""

    content: OverridesFile
    document: Document

    def applied_to(self, controls: dict[str, Control], problems: list[str]) -> dict[str, Control]:
        """The controls as the operator wants them; what cannot be applied is appended to `problems`."""
        ids = _ids(controls)
        problems += [self.document.at(place, message) for place, message in self._problems(controls, ids)]
        disabled = {ids.get(name) for name in self.content.disabled}
        wanted = {ids.get(name, name): values for name, values in self.content.parameters.items()}
        kept = {name: control for name, control in controls.items() if name not in disabled}
        return {name: _with_parameters(control, wanted.get(name, {})) for name, control in kept.items()}

    def _problems(self, controls: Mapping[str, Control], ids: Mapping[str, str]) -> Iterator[tuple[Place, str]]:
        for number, name in enumerate(self.content.disabled):
            if name not in ids:
                yield ("disabled", number), f"there is no control {name}"
        seen: dict[str, str] = {}
        for name, wanted in self.content.parameters.items():
            if name not in ids:
                yield ("parameters", name), f"there is no control {name}"
                continue
            if ids[name] in seen:
                yield ("parameters", name), f"{name} and {seen[ids[name]]} are one control; write its parameters once"
            seen.setdefault(ids[name], name)
            for param, value in wanted.items():
                if problem := _problem_with(controls[ids[name]], param, value):
                    yield ("parameters", name, param), problem


def _ids(controls: Mapping[str, Control]) -> dict[str, str]:
    """Every name of a control, its aliases included, to its id."""
    aliases = {alias: control.id for control in controls.values() for alias in control.aliases}
    return {**aliases, **{name: name for name in controls}}


def _with_parameters(control: Control, wanted: Mapping[str, JsonValue]) -> Control:
    changed = {
        name: param.model_copy(update={"default": wanted[name]} if name in wanted else {})
        for name, param in control.params.items()
    }
    return control.model_copy(update={"params": changed}) if wanted else control


def _problem_with(control: Control, name: str, value: JsonValue) -> str | None:
    if name not in control.params:
        return f"{control.id} has no such parameter; it has {', '.join(control.params) or 'none'}"
    return control.params[name].problem_with(value)


def load_overrides(path: Path, problems: list[str]) -> Overrides | None:
    """The overrides in a file; None when there is none or nothing of it can be read.

    Mistakes are appended to `problems`. A part with one is left out; what is right beside it is still looked at.
    """
    if not path.exists():
        return None
    try:
        document = read_document(path)
        return Overrides(OverridesFile.model_validate(document.content), document)
    except DocumentError as error:
        problems.append(str(error))
        return None
    except ValidationError as error:
        problems += [document.at(place, message) for place, message in mistakes(error, OverridesFile)]
        refused = {place[0] for each in error.errors(include_input=False) if (place := each["loc"])}
    if not isinstance(document.content, dict):
        return None
    rest = {key: value for key, value in document.content.items() if key not in refused}
    return Overrides(OverridesFile.model_validate(rest), document)
