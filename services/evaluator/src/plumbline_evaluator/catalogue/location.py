"""Where the catalogue lies when nobody says: PLUMBLINE_CONTROLS, the source tree, or beside the package."""

import os
from pathlib import Path


def default_folder() -> Path:
    """The first of: PLUMBLINE_CONTROLS, `controls/` of the source tree, `/usr/share/plumbline/controls`."""
    if stated := os.environ.get("PLUMBLINE_CONTROLS"):
        return Path(stated)
    source_tree = Path(__file__).parents[5] / "controls"
    return source_tree if source_tree.is_dir() else Path("/usr/share/plumbline/controls")
