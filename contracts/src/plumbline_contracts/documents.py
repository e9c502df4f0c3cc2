"""YAML files that people write (connections, controls), with the line of every key for messages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where PyYAML was built with it: the same language, ten times as fast."""

Place = tuple[int | str, ...]

MOST_BYTES = 4 * 1024 * 1024
MOST_NODES = 500_000
"""Of keys and values, each use of an alias counted: more than any honest file has, less than memory holds."""


class DocumentError(ValueError):
    """A file that is no YAML or cannot be read; the message begins with `file:line`."""


DEEPEST = 100


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
    """Parse a YAML file.

    Raises DocumentError when it cannot be read, is empty or too large, is no YAML, repeats a key, or grows beyond
    measure through aliases.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DocumentError(f"{path}:1: the file is larger than {MOST_BYTES >> 20} MB; divide it")
        text = path.read_text(encoding="utf-8")
        return _parse(path, text)
    except RecursionError as error:
        raise DocumentError(f"{path}:1: not YAML that anyone writes: it is nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        line = min(line, max(1, len(text.splitlines())))
        raise DocumentError(f"{path}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}:1: not YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}:1: not UTF-8 text") from error
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}") from error


def _parse(path: Path, text: str) -> Document:
    """The document, from one pass over the text."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise DocumentError(f"{path}:1: the file is empty")
        if key := _repeated_key(node):
            raise DocumentError(f"{path}:{key.start_mark.line + 1}: the key {key.value} stands here twice")
        if excess := _excess(node):
            raise DocumentError(f"{path}:{excess[0].start_mark.line + 1}: {excess[1]}")
        return Document(path, loader.construct_document(node), node)
    finally:
        loader.dispose()


def _repeated_key(root: yaml.Node) -> yaml.ScalarNode | None:
    """A key that its mapping has had before: YAML would silently take the last value. Each node is seen once."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if repeated := _first_repeated(keys):
                return repeated
            waiting += [value for _, value in node.value]
    return None


def _first_repeated(keys: list[yaml.ScalarNode]) -> yaml.ScalarNode | None:
    names: set[str] = set()
    for key in keys:
        if key.value in names:
            return key
        names.add(key.value)
    return None


def _excess(root: yaml.Node) -> tuple[yaml.Node, str] | None:
    """Where a document has too many values (each use of an alias counted), is nested too deeply or holds itself."""
    sizes: dict[int, tuple[int, int]] = {}
    opened: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting[-1]
        missing = [part for part in _parts(node) if id(part) not in sizes]
        if id(node) in opened and any(id(part) in opened for part in missing):
            return node, "an alias stands inside of what it stands for"
        if missing:
            opened.add(id(node))
            waiting += missing
            continue
        inner = [sizes[id(part)] for part in _parts(node)]
        values, depth = 1 + sum(size for size, _ in inner), 1 + max((deep for _, deep in inner), default=0)
        if values > MOST_NODES:
            return node, f"there are more than {MOST_NODES:,} values, those of aliases counted; write less"
        if depth > DEEPEST:
            return node, f"there are more than {DEEPEST} values inside one another"
        sizes[id(waiting.pop())] = values, depth
    return None


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _child(node: yaml.Node, part: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None
