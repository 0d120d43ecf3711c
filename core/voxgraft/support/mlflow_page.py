"""How a person opens MLflow's own page, which is not part of a plain installation."""

from __future__ import annotations

import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path


def page_command(store: str) -> str:
    """The command that shows what a registry holds, after the one that installs MLflow's page where it is missing."""
    call = f"MLFLOW_DISABLE_TELEMETRY=true {shlex.join([_program(), 'ui', '--backend-store-uri', store])}"
    # The module mlflow is there in any case; the page is served by Flask.
    return call if find_spec("flask") else f"pip install 'voxgraft[mlflow]' && {call}"


def _program() -> str:
    """`mlflow`, by its path where the shell would not find this environment's."""
    own = Path(sys.executable).with_name("mlflow")
    executable = shutil.which("mlflow")
    return str(own) if own.exists() and (executable is None or Path(executable) != own) else "mlflow"
