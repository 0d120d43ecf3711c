"""The commands of the page on de-identification, word for word and in their order; and the words of its tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from voxgraft.cli import main
from voxgraft_dicom.deidentify.command import deidentify

PAGE = Path(__file__).parents[1] / "docs" / "deidentify.md"


def test_the_commands_of_the_page_work(data: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path / "clone")
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    told = []
    for line in block.splitlines():
        program, *words = shlex.split(line)
        assert program == "voxgraft"
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, (line, done.output, done.exception)
        told.append(done.output)
    assert "44 written, 32 held back" in told[0] and "44 skipped" in told[1] and '"written": 20' in told[2]
    assert len(list(Path("shared_scans").rglob("*.dcm"))) == 44 and not Path("shared_ct").exists()


def test_every_option_and_every_rule_is_on_the_page() -> None:
    text = PAGE.read_text()
    options = {option for parameter in deidentify.params for option in parameter.opts if option.startswith("--")}
    assert {option for option in options - {"--workers", "--json", "--key"} if f"{option}" not in text} == set()
    source = (PAGE.parents[1] / "plugins" / "voxgraft_dicom" / "deidentify" / "risk.py").read_text()
    rules = set(re.findall(r'return \(?\s*"([a-z]+(?:-[a-z]+)*)",', source))
    assert len(rules) > 8 and {rule for rule in rules if f"`{rule}`" not in text} == set()
