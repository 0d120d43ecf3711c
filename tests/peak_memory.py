"""How much memory a piece of code takes at most, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_LAST = "\nimport re\nprint(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"


def run_measured(code: str, *arguments: str) -> tuple[str, int]:
    """What Python code prints, and the MiB that it took at most, its imports included."""
    done = subprocess.run([sys.executable, "-c", code + _LAST, *arguments], capture_output=True, text=True, check=True)
    said, _, peak = done.stdout.strip().rpartition("\n")
    return said, int(peak) >> 10
