"""The command works where only run-time dependencies are installed, as in images."""

import subprocess
import sys


def test_creating_topics_needs_no_development_dependency() -> None:
    code = "import sys, plumbline_contracts.cli; sys.exit('ocsf_json_schema' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
