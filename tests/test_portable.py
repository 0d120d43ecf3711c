"""What only POSIX systems have is not needed to import anything: elsewhere a command can at least say what fails."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py"), *(ROOT / "registry").rglob("*.py")]
PACKAGES = ("core/voxgraft", "plugins/voxgraft_plugins", "plugins/voxgraft_dicom", "registry/voxgraft_registry")
MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
OS = {"chown", "fchmod", "fork", "geteuid", "getloadavg", "getuid", "killpg", "nice", "pread", "preadv", "pwrite"}
OS |= {"register_at_fork", "sched_getaffinity", "setpriority", "setsid", "statvfs", "sysconf", "uname"}
SIGNALS = {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "setitimer"}
GUARDED = {"core/voxgraft/advice/clock.py": 'hasattr(signal, "setitimer")'}
"""Files that ask first, and how."""


def test_every_module_is_imported_without_them(repo_path) -> None:
    names = [
        ".".join(path.relative_to((ROOT / package).parent).with_suffix("").parts).removesuffix(".__init__")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__main__.py"
    ]
    assert {name.partition(".")[0] for name in names} == {package.partition("/")[2] for package in PACKAGES}
    script = (
        "import importlib, sys\nimport torch, scipy.ndimage, monai.networks.nets\n"  # theirs are not ours to judge
        f"sys.modules.update(dict.fromkeys({sorted(MODULES)!r}))\n"
        f"for name in {sorted(names)!r}: importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=repo_path)
    assert done.returncode == 0, done.stderr


def test_nothing_calls_what_other_systems_lack() -> None:
    found = []
    for path in SOURCES:
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        if name in GUARDED:
            assert GUARDED[name] in text
        else:
            found += [f"{name}:{line}: {what}" for what, line in _lacking(ast.parse(text))]
    assert not found


def _lacking(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What a module takes of `os` and `signal` that not all systems have, and the line."""
    lacking = {"os": OS, "signal": SIGNALS}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in lacking.get(module, ()):
                yield f"{module}.{name}", node.lineno
