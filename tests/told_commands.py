"""The commands in documents, word for word: blocks of `sh` are run, and the `text` blocks after them are compared with
what they print; everything else names only what exists.

Servers are asked whether they are well and stopped, and readers of a batch decide as its page would.
"""

from __future__ import annotations

import http.cookiejar
import json
import re
import shlex
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHORT = ["training.budget=6 steps", "evaluation.metrics=[dice]", "registry.promote=always"]
"""Set in each `voxgraft run`: documents speak of minutes, a test of steps, after which no model would be champion."""

SERVERS = (["voxgraft", "serve"], ["voxgraft", "review"])
"""Commands that run until they are stopped by hand, unless one of these is asked for."""
NO_PAGE = {"--summary", "--export"}

NUMBER = r"\d+(?:\.\d+)?(?: %|%)?"
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCED.findall(page.read_text()) if name == language]


def commands(page: Path) -> list[str]:
    """The lines of its blocks of `sh`, continued ones joined."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def calls(page: Path) -> Iterator[list[str]]:
    """The words of every `voxgraft ...` in its blocks and in its text."""
    text = page.read_text()
    spans = re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    lines = [line for _, block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *spans]:
        if found := re.search(r"(?<!import )(?<!from )(?<![\w.-])voxgraft ([a-z]+\b[^|>#]*)", line):
            yield found[1].split()


def shown_after(page: Path) -> dict[str, list[str]]:
    """The lines of each `text` block that follows a block of `sh` in its section, by the last command of that."""
    shown = {}
    for section in re.split(r"^## ", page.read_text(), flags=re.M):
        last = ""
        for language, text in FENCED.findall(section):
            if language == "text" and last:
                shown[last] = text.splitlines()
            last = text.replace("\\\n", " ").splitlines()[-1] if language == "sh" else ""
    return shown


def missing_from(output: str, shown: list[str]) -> list[str]:
    """The lines of a page that a command did not print; numbers may differ, and `...` stands for any text."""
    printed = re.sub(NUMBER, "#", " ".join(output.split()))
    parts = ([re.escape(re.sub(NUMBER, "#", " ".join(part.split()))) for part in line.split("...")] for line in shown)
    patterns = map(".*?".join, parts)
    return [line for line, pattern in zip(shown, patterns, strict=True) if not re.search(pattern, printed)]


def carry_out(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Do what a line says, with trainings cut short, and give what it prints; it must end with 0."""
    words = shlex.split(command)
    if words[:2] in SERVERS and not NO_PAGE & set(words):
        answer_and_stop([*words, "--port", "0"], folder, environment)
        return ""
    if words[:2] == ["voxgraft", "run"] and "--dry-run" not in words:
        short = (word for one in SHORT for word in ("--set", one))
        command = f"{shlex.join([*words[:3], *short])} {' '.join(map(shlex.quote, without_budget(words[3:])))}"
    command = re.sub(r"--minutes \d+", "--minutes 0.5", command)
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return f"{done.stdout}\n{done.stderr}"


def answer_and_stop(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Start a server, ask whether it is well, decide where it is a review, and stop it as Ctrl-C does."""
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        late = threading.Timer(120, process.kill)  # what never says its address must not keep the tests
        late.start()
        try:
            assert process.stdout is not None
            address = next((match for line in process.stdout if (match := re.search(r"http://[0-9.:]+", line))), None)
            assert address is not None, f"{words}: ended with {process.wait()} before it served"
            with urllib.request.urlopen(f"{address.group()}/healthz", timeout=30) as answer:
                assert answer.status == 200
            if words[1] == "review":
                accept_all(address.group())
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            late.cancel()
            process.kill()


def accept_all(address: str) -> None:
    """Accept each structure of each scan that is open, as a reader does in the page."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def ask(path: str, body: Any = None, **headers: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{address}/api/{path}", data, {"Content-Type": "application/json", **headers})
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)

    csrf = {"X-VoxGraft-CSRF": ask("session")["csrf"], "Origin": address}
    for row in ask("worklist?state=open")["scans"]:
        scan = ask(f"scans/{row['case']}")
        for structure in scan["structures"]:
            decision = {
                "structure": structure["name"],
                "verdict": "accepted",
                "seconds": 9,
                "mask": scan["mask"]["sha256"],
            }
            ask(f"scans/{row['case']}/decisions", decision, **csrf)


def without_budget(words: list[str]) -> list[str]:
    """The words of a call without its own `--set training.budget=...`."""
    kept: list[str] = []
    for word in words:
        if word.startswith("training.budget="):
            kept.pop()
        else:
            kept.append(word)
    return kept
