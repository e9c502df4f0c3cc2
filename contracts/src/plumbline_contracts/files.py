"""Where the registry, the dataset schemas and the generated index lie: in the wheel, or in the source tree."""

from functools import cache
from pathlib import Path


@cache
def data_folder() -> Path:
    """The folder with `topics.yaml`, `datasets/` and `generated/`."""
    packaged = Path(__file__).parent / "data"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]
