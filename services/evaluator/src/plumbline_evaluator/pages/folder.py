"""The folder of the pages: written, or compared with what it should hold."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from plumbline_evaluator.pages.markdown import HEADER


def differences(folder: Path, pages: Mapping[str, str]) -> list[str]:
    """A line for every page that is missing or not current, and for every file that is none of the pages."""
    stale = [f"{folder / name} is not current" for name, page in sorted(pages.items()) if _read(folder / name) != page]
    return stale + [f"{path} is none of the pages" for path in _strangers(folder, pages)]


def write_folder(folder: Path, pages: Mapping[str, str]) -> None:
    """Write the pages, and delete those that an earlier catalogue left. Files that were not generated stay."""
    for name, page in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    for path in _strangers(folder, pages):
        if (_read(path) or "").startswith(HEADER):
            path.unlink()


def _read(path: Path) -> str | None:
    """The text of a file; None when there is none, or none that is text."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _strangers(folder: Path, pages: Mapping[str, str]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in pages:
            yield path
