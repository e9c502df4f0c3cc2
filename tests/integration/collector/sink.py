"""Where tests let a collection put its rows."""

from plumbline_contracts.events import Row


class Rows:
    """A sink that keeps rows. `largest` is the most that came at once."""

    def __init__(self) -> None:
        self.found: dict[str, list[Row]] = {}
        self.largest = 0

    def add(self, dataset: str, rows: list[Row]) -> None:
        self.largest = max(self.largest, len(rows))
        self.found.setdefault(dataset, []).extend(rows)
