"""What an operator changes of the shipped controls without copying them: `overrides.yaml` of the custom folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plumbline_contracts.documents import Document, DocumentError, Place, read_document
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from plumbline_evaluator.catalogue.mistakes import mistakes
from plumbline_evaluator.catalogue.model import Control

OVERRIDES = "overrides.yaml"


class OverridesFile(BaseModel):
    """`overrides.yaml`: control id to parameter to its default here, and the controls that are left out."""

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
        problems += [self.document.at(place, message) for place, message in self._problems(controls)]
        kept = {name: control for name, control in controls.items() if name not in self.content.disabled}
        return {name: self._with_parameters(control) for name, control in kept.items()}

    def _with_parameters(self, control: Control) -> Control:
        wanted = self.content.parameters.get(control.id, {})
        changed = {
            name: param.model_copy(update={"default": wanted[name]} if name in wanted else {})
            for name, param in control.params.items()
        }
        return control.model_copy(update={"params": changed}) if wanted else control

    def _problems(self, controls: dict[str, Control]) -> Iterator[tuple[Place, str]]:
        for number, name in enumerate(self.content.disabled):
            if name not in controls:
                yield ("disabled", number), f"there is no control {name}"
        for name, wanted in self.content.parameters.items():
            if name not in controls:
                yield ("parameters", name), f"there is no control {name}"
                continue
            for param, value in wanted.items():
                if problem := _problem_with(controls[name], param, value):
                    yield ("parameters", name, param), problem


def _problem_with(control: Control, name: str, value: JsonValue) -> str | None:
    if name not in control.params:
        return f"{control.id} has no such parameter; it has {', '.join(control.params) or 'none'}"
    return control.params[name].problem_with(value)


def load_overrides(path: Path, problems: list[str]) -> Overrides | None:
    """The overrides in a file; None when there is none. Mistakes are appended to `problems`."""
    if not path.exists():
        return None
    try:
        document = read_document(path)
        return Overrides(OverridesFile.model_validate(document.content), document)
    except DocumentError as error:
        problems.append(str(error))
    except ValidationError as error:
        problems += [document.at(place, message) for place, message in mistakes(error, OverridesFile)]
    return None
