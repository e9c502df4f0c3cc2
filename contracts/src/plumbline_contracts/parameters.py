"""Parameters of controls: what an operator may set per instance, and what is wrong with a value."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

LARGEST = 2**63 - 1


class ParameterSchema(BaseModel):
    """The type and bounds of one parameter of a control."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    type: Literal["int", "bool", "string", "string_list"]
    minimum: int | None = None
    maximum: int | None = None
    choices: list[str] | None = None

    def problem_with(self, value: JsonValue) -> str | None:
        """What is wrong with `value`, or None when it is allowed."""
        if not self._is_of_type(value):
            return f"expected {self.type}, got {value!r}"
        if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            return f"{value} needs more than 64 bits"
        if self.minimum is not None and isinstance(value, int) and value < self.minimum:
            return f"{value} is below the minimum of {self.minimum}"
        if self.maximum is not None and isinstance(value, int) and value > self.maximum:
            return f"{value} is above the maximum of {self.maximum}"
        if self.choices is not None and value not in self.choices:
            return f"{value!r} is none of {', '.join(self.choices)}"
        return None

    def _is_of_type(self, value: JsonValue) -> bool:
        match self.type:
            case "int":
                return isinstance(value, int) and not isinstance(value, bool)
            case "bool":
                return isinstance(value, bool)
            case "string":
                return isinstance(value, str)
            case "string_list":
                return isinstance(value, list) and all(isinstance(item, str) for item in value)
