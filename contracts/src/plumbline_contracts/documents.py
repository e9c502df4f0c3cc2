"""YAML files that people write (connections, controls), with the line of every key for messages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Place = tuple[int | str, ...]


class DocumentError(ValueError):
    """A file that is no YAML or cannot be read; the message begins with `file:line`."""


@dataclass(frozen=True)
class Document:
    """A parsed file and where its keys stand."""

    path: Path
    content: Any
    _root: yaml.Node

    def at(self, place: Place, message: str) -> str:
        """`file:line: key: message`, with the line of the deepest part of `place` that stands in the file."""
        node, line = self._root, self._root.start_mark.line
        for part in place:
            step = _child(node, part)
            if step is not None:
                line, node = step
        name = ".".join(str(part) for part in place)
        return f"{self.path}:{line + 1}: {name}: {message}" if name else f"{self.path}:{line + 1}: {message}"


def read_document(path: Path) -> Document:
    """Parse a YAML file. Raises DocumentError when it cannot be read, is empty or is no YAML."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DocumentError(f"{path}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}:1: not YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}:1: not UTF-8 text") from error
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}") from error
    if node is None:
        raise DocumentError(f"{path}:1: the file is empty")
    return Document(path, content, node)


def _child(node: yaml.Node, part: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None
