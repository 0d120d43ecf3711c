"""`voxgraft deidentify`: take what identifies the patients out of a DICOM tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxgraft.plugin import print_fitted, print_result

if TYPE_CHECKING:
    from .key import Key
    from .options import Options
    from .report import Result


PATH = click.Path(path_type=Path)


@click.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("--key", "key_file", type=PATH, help="File with the secret key from which new UIDs are derived.")
@click.option("--new-key", is_flag=True, help="Create the key file that --key names.")
@click.option(
    "--dates",
    default="remove",
    show_default=True,
    help="Dates: remove, shift (by the same days for one patient) or keep.",
)
@click.option(
    "--shift-days", type=int, default=365, show_default=True, help="Largest shift of dates in days, back or forward."
)
@click.option(
    "--descriptors", default="remove", show_default=True, help="Descriptions: remove, clean (by words), keep."
)
@click.option("--retain", default="", metavar="A,B", help="Attributes to keep: device, institution, patient, private.")
@click.option(
    "--pixels-checked", is_flag=True, help="Confirm that you looked at the pixels; no kind of image is held back."
)
@click.option("--pseudonyms", type=PATH, help="CSV table with the columns patient_id and pseudonym.")
@click.option(
    "--write-pseudonyms", type=PATH, help="Write the pseudonym table here (contains patient IDs: keep it safe)."
)
@click.option("--quarantine", type=PATH, help="Folder for copies of the files that are held back.")
@click.option(
    "--nifti",
    "with_nifti",
    is_flag=True,
    help="Also copy NIfTI files, with cleaned headers; by default they are left out.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Number of processes; by default one for each core, 8 at most."
)
@click.option("--dry-run", is_flag=True, help="Do everything except writing files.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def deidentify(
    source: Path,
    target: Path,
    key_file: Path | None,
    new_key: bool,
    dates: str,
    shift_days: int,
    descriptors: str,
    retain: str,
    pixels_checked: bool,
    pseudonyms: Path | None,
    write_pseudonyms: Path | None,
    quarantine: Path | None,
    with_nifti: bool,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """De-identify the DICOM files of SOURCE into the new folder TARGET, by the PS3.15 basic profile.

    With the same --key, a patient, study or image gets the same new name in every call. Files whose pixels or texts
    may name the patient are not written. A second call does only what is missing. Exit code 3: some files failed, or
    still named the patient and were not written.
    """
    import json

    from voxgraft.plugin import Progress

    from .file import Settings
    from .key import read_pseudonyms
    from .key import write_pseudonyms as write_table
    from .options import Options
    from .tree import check_places
    from .tree import deidentify as deidentify_tree

    names = frozenset(name.strip() for name in retain.split(",") if name.strip())
    options = Options(dates, shift_days, descriptors, names, pixels_checked)
    check_places(source, target, quarantine)
    _outside(target, {"--key": key_file, "--pseudonyms": pseudonyms, "--write-pseudonyms": write_pseudonyms})
    progress = Progress(quiet=as_json)
    table = read_pseudonyms(pseudonyms) if pseudonyms is not None else {}
    key = _key(key_file, new_key, progress)
    settings = Settings(key, options, None if dry_run else target, table)
    result = deidentify_tree(
        source,
        target,
        settings,
        quarantine=quarantine,
        resumable=key_file is not None,
        with_nifti=with_nifti,
        workers=workers,
        progress=progress,
    )
    if write_pseudonyms is not None and not dry_run:
        write_table(write_pseudonyms, {old: new for old, new in (one.patient for one in result.outcomes) if old})
    if as_json:
        print_result(json.dumps(_document(result, options, dry_run), indent=2, ensure_ascii=False))
    else:
        _show(result, target, dry_run)
    click.get_current_context().exit(result.exit_code)


def _outside(target: Path, files: dict[str, Path | None]) -> None:
    from voxgraft.plugin import UsageError

    for name, path in files.items():
        if path is not None and path.resolve().is_relative_to(target.resolve()):
            raise UsageError(f"{name} {path}: lies within TARGET, which will be shared; choose another place")


def _key(path: Path | None, new: bool, progress: Any) -> Key:
    from voxgraft.plugin import UsageError

    from .key import random_key, read_key

    if path is not None:
        return read_key(path, new=new)
    if new:
        raise UsageError("--new-key: say with --key FILE where the key is to be kept")
    progress.say(
        "no --key: the new UIDs and pseudonyms are valid for this call only, and a later call cannot reuse them"
    )
    return random_key()


def _document(result: Result, options: Options, dry_run: bool) -> dict[str, Any]:
    return {
        **result.counts,
        "dry_run": dry_run,
        "options": options.document(),
        "rules": result.rules,
        "notes": result.notes,
        "files": [outcome.document() for outcome in result.outcomes],
    }


def _show(result: Result, target: Path, dry_run: bool) -> None:
    from .tree import REPORT

    words = {"written": "would be written" if dry_run else "written", "skipped": "skipped (done before)"}
    words |= {"not_dicom": "not DICOM", "directories": "DICOMDIR left out", "quarantined": "held back"}
    said = [f"{number} {words.get(name, name)}" for name, number in result.counts.items() if number]
    print_fitted(", ".join(said) or "nothing to do")
    reasons = {outcome.rule: outcome.reason for outcome in result.of("quarantined")}
    for rule, number in result.rules.items():
        print_fitted(f"held back, {rule}: {number} ({reasons[rule]})")
    for note in result.notes:
        print_fitted(f"note: {note}")
    for outcome in result.of("failed"):
        print_fitted(f"failed: {result.paths[outcome.mark]}: {outcome.reason}", error=True)
    if not dry_run:
        print_fitted(f"next: look at {target / REPORT}, which says of each file what became of it")
