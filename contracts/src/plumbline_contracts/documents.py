"""YAML files that people write (connections, controls), with the line of every key for messages."""

import re
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
_ANCHOR = re.compile(r"(?:^|[\s\[{,])&[^\s&]", re.MULTILINE)
"""Where a value may be given a name for aliases; without one, a document is no larger than its text."""


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
        if path.exists() and not path.is_file():
            raise DocumentError(f"{path}:1: not a file")
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
        fault = _fault(node) or (_excess(node) if _ANCHOR.search(text) else None)
        if fault:
            raise DocumentError(f"{path}:{fault[0].start_mark.line + 1}: {fault[1]}")
        return Document(path, loader.construct_document(node), node)
    finally:
        loader.dispose()


def _fault(root: yaml.Node) -> tuple[yaml.Node, str] | None:
    """A key that its mapping has had before, of which YAML would silently take the last value, or a nest too deep.

    Each node is seen once.
    """
    waiting, seen = [(root, 1)], set()
    while waiting:
        node, depth = waiting.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if depth > DEEPEST:
            return node, f"there are more than {DEEPEST} values inside one another"
        if isinstance(node, yaml.SequenceNode):
            waiting += [(value, depth + 1) for value in node.value]
            continue
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if repeated := _first_repeated(keys):
            return repeated, f"the key {repeated.value} stands here twice"
        waiting += [(value, depth + 1) for _, value in node.value]
    return None


def _first_repeated(keys: list[yaml.ScalarNode]) -> yaml.ScalarNode | None:
    names: set[str] = set()
    for key in keys:
        if key.value in names:
            return key
        names.add(key.value)
    return None


def _excess(root: yaml.Node) -> tuple[yaml.Node, str] | None:
    """Where aliases make more of a document than memory should hold, or a value that holds itself."""
    sizes: dict[int, int] = {}
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
        size = 1 + sum(sizes[id(part)] for part in _parts(node))
        if size > MOST_NODES:
            return node, f"there are more than {MOST_NODES:,} values, those of aliases counted; write less"
        sizes[id(waiting.pop())] = size
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
