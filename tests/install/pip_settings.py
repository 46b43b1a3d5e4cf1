"""What `requirements/install.py` tells uv, asked in a process that has no pip settings but those that are given."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "requirements"


def settings(**environment: str) -> dict[str, str]:
    """Return them."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SSL_"))}
    code = f"import json, sys; sys.path.insert(0, {str(SCRIPT)!r}); import install; print(json.dumps(install.pip_settings()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare | environment, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found
