"""YAML files that no honest person writes are refused before they cost memory or time."""

from pathlib import Path

import pytest
from plumbline_contracts.documents import MOST_BYTES, DocumentError, read_document

BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join(['*' + chr(97 + level)] * 9)}]\n" for level in range(9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, ":6: there are more than 500,000 values"),
        ("a: 1\nb: &b [*b]\n", ":2: an alias stands inside of what it stands for"),
        ("a: 1\nb: &b {c: *b}\n", ":2: an alias stands inside of what it stands for"),
        ("a: " + "[" * 5000 + "]" * 5000, ":1: there are more than 100 values inside one another"),
        ("a: '" + "x" * MOST_BYTES + "'", ":1: the file is larger than 4 MB"),
        ("a: 1\nb: 2\na: 3\n", ":3: the key a stands here twice"),
    ],
    ids=["bomb", "list in itself", "mapping in itself", "deep", "large", "key twice"],
)
def test_a_hostile_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError) as caught:
        read_document(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_aliases_that_stay_small_are_read(tmp_path: Path) -> None:
    path = tmp_path / "honest.yaml"
    path.write_text("row: &row {a: 1}\nrows: [*row, *row]\nmore: {<<: *row, b: 2}\n")
    assert read_document(path).content == {"row": {"a": 1}, "rows": [{"a": 1}, {"a": 1}], "more": {"a": 1, "b": 2}}
