"""The command `voxgraft segment`: its JSON, its exit codes, its sentences."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from batch_scans import Brightness, model, write_scan
from click.testing import CliRunner, Result

from voxgraft.cli import main
from voxgraft.errors import ModelError
from voxgraft_plugins.nifti.reader import NiftiReader


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call the command with a model that knows balls by their brightness, under the name `balls`."""

    def resolve(resolver: Any, reference: str) -> Any:
        if reference != "balls":
            raise ModelError(f"{reference}: there is no such model")
        return model(tmp_path / "model")

    seen: dict[str, Any] = {}

    def trained(package: Any, catalogue: Any, **options: Any) -> Brightness:
        seen.update(options)
        return Brightness()

    monkeypatch.setattr("voxgraft.packages.references.Resolver.resolve", resolve)
    monkeypatch.setitem(sys.modules, "voxgraft.inference.predictor", type("Module", (), {"predictor_of": trained}))
    monkeypatch.setattr("voxgraft.batch.model.check_unchanged", lambda package: None)  # this one has no weights

    def invoke(*args: Any, out: Path | None = None) -> Result:
        return CliRunner().invoke(main, ["segment", *map(str, args), "--out", str(out or tmp_path / "out")])

    invoke.seen = seen  # type: ignore[attr-defined]
    return invoke


def scans(tmp_path: Path, names: str = "abc") -> list[Path]:
    return [write_scan(tmp_path / "in" / f"{name}.nii.gz") for name in names]


def broken(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "broken.nii.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x1f\x8b\x08 no gzip")
    return path


def test_the_document_names_every_scan_and_its_files(tmp_path: Path, call: Any) -> None:
    inputs = [*scans(tmp_path), broken(tmp_path)]
    result = call("balls", *inputs, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (document["done"], document["failed"], document["skipped"], document["left_out"]) == (3, 1, 0, 0)
    first, last = document["scans"][0], document["scans"][-1]
    assert {"case", "input", "state", "error", "outputs"} <= first.keys()
    assert (first["case"], first["state"], first["error"]) == ("a", "done", None)
    assert first["input"] == str(tmp_path / "in" / "a.nii.gz")
    assert all(Path(path).is_file() for path in first["outputs"])
    assert str(tmp_path / "out" / "a" / "mask.nii.gz") in first["outputs"]
    assert last["state"] == "failed" and "broken.nii.gz" in last["error"] and last["outputs"] == []
    again = json.loads(call("balls", *inputs, "--json").stdout)
    assert (again["done"], again["failed"], again["skipped"]) == (0, 1, 3)
    assert again["scans"][0] == {**first, "state": "skipped"}


def test_what_a_plugin_prints_is_no_part_of_the_document(
    tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = NiftiReader.read

    def chatty(reader: NiftiReader, item: Any) -> Any:
        print("reading", item.path.name)
        return read(reader, item)

    monkeypatch.setattr(NiftiReader, "read", chatty)
    result = call("balls", *scans(tmp_path), "--json")
    assert json.loads(result.stdout)["done"] == 3 and "reading a.nii.gz" in result.stderr


def test_exit_codes_say_how_it_went(tmp_path: Path, call: Any) -> None:
    good = scans(tmp_path)
    assert call("balls", *good).exit_code == 0
    assert call("balls", *good).exit_code == 0, "all skipped"
    assert call("balls", broken(tmp_path)).exit_code == 1
    assert call("balls", *good, broken(tmp_path)).exit_code == 3


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("none", "{scan}"), "none: there is no such model"),
        (("balls", "no/such/scan.nii.gz"), "no/such/scan.nii.gz: there is no such file or folder"),
        (("balls", "{scan}", "--writers", "nifty"), "no writer is called 'nifty'; did you mean 'nifti'?"),
        (("balls", "{scan}", "--writers", ","), "--writers names no writer"),
        (("balls", "{scan}", "--executor", "slurm"), "no executor is called 'slurm'; known: local"),
        (("balls", "{scan}", "--overlap", "1"), "--overlap"),
        (("balls", "{scan}", "--workers", "0"), "--workers"),
        (("balls",), "INPUT"),
        (("balls", "{scan}", "--part", "5/4"), "--part '5/4': write K/N"),
        (("balls", "{scan}", "--status"), "--status takes the batch's folder and nothing else"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_starts_nothing(
    tmp_path: Path, call: Any, args: tuple[str, ...], word: str
) -> None:
    (scan,) = scans(tmp_path, "a")
    result = call(*(arg.format(scan=scan) for arg in args))
    assert result.exit_code == 2 and word in result.stderr and "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) <= 4 and not (tmp_path / "out").exists()


def test_out_must_be_a_folder(tmp_path: Path, call: Any) -> None:
    (tmp_path / "file").write_text("")
    result = call("balls", *scans(tmp_path), out=tmp_path / "file")
    assert result.exit_code == 2 and "is a file; the results need a folder" in result.stderr


def test_a_call_without_a_folder_for_results_is_wrong(tmp_path: Path, call: Any) -> None:
    result = CliRunner().invoke(main, ["segment", "balls", *map(str, scans(tmp_path, "a"))])
    assert result.exit_code == 2 and "Missing option '--out'" in result.stderr


def test_a_job_array_divides_a_batch_and_its_status_adds_it_up(
    tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = scans(tmp_path, "abcd")
    for name, value in (("MIN", "0"), ("MAX", "1"), ("COUNT", "2"), ("STEP", "1")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    done = []
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        result = call("balls", *inputs, "--json")
        assert f"part {int(task) + 1}/2, as SLURM's job array says; --part 1/1 does all scans" in result.stderr
        done.append(json.loads(result.stdout)["done"])
    result = CliRunner().invoke(main, ["segment", str(tmp_path / "out"), "--status", "--json"])
    document = json.loads(result.stdout)
    assert result.exit_code == 0 and document["done"] == sum(done) == 4 and document["missing"] == 0
    assert [part["done"] for part in document["parts"]] == done
    table = CliRunner().invoke(main, ["segment", str(tmp_path / "out"), "--status"]).stdout.splitlines()
    assert table[0].split()[:3] == ["part", "done", "failed"] and table[3].split()[:3] == ["all", "4", "0"]
    assert call("balls", *inputs, "--part", "1/1", out=tmp_path / "other").stdout.startswith("4 done"), "an option wins"
    monkeypatch.setenv("SLURM_ARRAY_TASK_MAX", "7")
    result = call("balls", *inputs)
    assert result.exit_code == 2 and "do not name a part of a batch" in result.stderr


def test_the_status_of_a_folder_without_a_batch_is_one_sentence(tmp_path: Path, call: Any) -> None:
    for folder, told in ((tmp_path, "holds no ledger of a batch"), (tmp_path / "none", "there is no such folder")):
        result = CliRunner().invoke(main, ["segment", str(folder), "--status"])
        assert result.exit_code == 2 and told in result.stderr and len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_options_of_prediction_reach_the_model(tmp_path: Path, call: Any) -> None:
    call("balls", *scans(tmp_path, "a"), "--device", "cpu", "--overlap", "0.25", "--no-mirror", "--body", "on")
    assert call.seen == {"device": "cpu", "overlap": 0.25, "mirror": False, "precision": "32", "body": "on"}


def test_without_json_a_person_reads_what_came_of_it(tmp_path: Path, call: Any) -> None:
    good = scans(tmp_path)
    result = call("balls", *good, broken(tmp_path))
    first, page, last = result.stdout.strip().splitlines()
    assert first == "3 done, 1 failed; 0 to look at first" and page == str(tmp_path / "out" / "report.html")
    assert last == f"next: voxgraft review {tmp_path / 'out'}"
    assert "failed: broken: broken.nii.gz" in result.stderr
    assert call("balls", *good).stdout.startswith("3 skipped (done before); 0 to look at first")


def test_help_and_wrong_calls_load_nothing_heavy(repo_path: dict[str, str]) -> None:
    code = (
        "import sys; from voxgraft.cli import main\n"
        "try: main(['segment', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'numpy', 'nibabel', 'pydantic', 'PIL'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=repo_path)
    assert "INPUT" in done.stdout and done.stderr.strip() == "set()"


ENDED = """
import sys
from pathlib import Path
import voxgraft.packages.references
import voxgraft.inference
from batch_scans import Brightness, model
root = Path(sys.argv[1])
voxgraft.packages.references.Resolver.resolve = lambda resolver, reference: model(root / "model")
sys.modules["voxgraft.inference.predictor"] = type("M", (), {"predictor_of": lambda *a, **o: Brightness(slow=0.5)})
import voxgraft.batch.model
voxgraft.batch.model.check_unchanged = lambda package: None
from voxgraft.cli import main
main(["segment", "balls", str(root / "in"), "--out", str(root / "out"), "--json"])
"""


def test_a_request_to_end_leaves_the_ledger_in_order(
    tmp_path: Path, repo_path: dict[str, str], warm_python: list[str], call: Any
) -> None:
    import sqlite3

    scans(tmp_path, "abcdef")
    path = os.pathsep.join([repo_path["PYTHONPATH"], str(Path(__file__).parent)])
    env = {**repo_path, "PYTHONPATH": path}
    child = subprocess.Popen([*warm_python, "-c", ENDED, str(tmp_path)], env=env, stdout=-1, stderr=-1)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("[!.]*/mask.nii.gz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    _, error = child.communicate(timeout=30)
    assert child.returncode == 1 and b"Traceback" not in error
    with sqlite3.connect(tmp_path / "out" / "ledger.sqlite") as connection:
        found = connection.execute("SELECT state, tries, error_code FROM scans").fetchall()
    assert {state for state, _, _ in found} == {"done", "waiting"}
    assert {(tries, code) for state, tries, code in found if state == "waiting"} == {(0, "")}
    document = json.loads(call("balls", tmp_path / "in", "--json").stdout)
    assert document["done"] + document["skipped"] == 6 and document["skipped"] >= 1
