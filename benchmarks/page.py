"""Write docs/speed.md from the figures in benchmarks/results, so that no figure is typed by hand.

python benchmarks/page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "speed.md"


def render() -> str:
    """The page, from the files of figures that are there."""
    parts = (
        _head,
        _reading,
        _series,
        _writing,
        _scoring,
        _window,
        _resampling,
        _one_processor,
        _training,
        _convolutions,
        _large,
        _gpu,
        _spoiled,
        _round_trips,
    )
    return "\n".join(line for part in parts for line in part()) + "\n"


def _head() -> Iterator[str]:
    yield "# Speed and exactness, measured side by side"
    yield ""
    yield "Written by `python benchmarks/page.py` from the files in `benchmarks/results/`, each of which names its"
    yield "command, the machine and the versions. Methods are timed in turns within one run, files in the page cache;"
    yield "the figures are medians, the ratio says how many times as long as VoxGraft a method took. All give equal"
    yield "results, or the run fails."
    machine = _load("read_nifti")["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if name in _SHOWN)
    yield ""
    yield f"Machine: {machine['cores']} cores of {machine['processor']}, no GPU."
    yield f"Python {machine['python']}, {packages}."


_SHOWN = ("numpy", "torch", "monai", "nibabel", "pydicom", "SimpleITK", "highdicom")


def _reading() -> Iterator[str]:
    document = _load("read_nifti")
    yield from _section("Reading `.nii.gz`", document)
    yield f"{_sentence(document['job'])}; {document['rounds']} rounds."
    yield from _times(document["times"], document["times_as_long"], "VoxGraft")


def _series() -> Iterator[str]:
    document = _load("read_dicom")
    yield from _section("Reading DICOM", document)
    plain, packed = document["slices"]["plain"], document["slices"]["jpeg2000"]
    titles = {
        "plain": f"{plain} files of 512x512 pixels, uncompressed, with headers of {document['elements']} elements",
        "jpeg2000": f"{packed} files of 512x512 pixels in JPEG 2000",
        "sorting": f"Sorting {plain} files by their headers alone",
    }
    for name, table in document["tables"].items():
        yield f"{titles[name]}; {document['rounds']} rounds."
        yield from _times(table, {way: row["times_voxgraft"] for way, row in table.items()}, "VoxGraft")


def _writing() -> Iterator[str]:
    document = _load("write_mask")
    yield from _section("Writing a mask", document)
    for name, mask in document["masks"].items():
        yield f"A mask of {name}; {mask['rounds']} rounds."
        yield from _times(mask["times"], mask["times_as_long"], "VoxGraft, first axis fastest", mask["bytes"])


def _scoring() -> Iterator[str]:
    document = _load("scoring")
    yield from _section("Scoring", document)
    for table in document["tables"]:
        yield f"{table['what'].replace('^3', ' voxels a side')}:"
        yield ""
        yield "| method | seconds | processor seconds | ratio | rounds |"
        yield "| --- | --- | --- | --- | --- |"
        for name, row in table["rows"].items():
            if "absent" in row:
                yield f"| {name} | {row['absent']} | | | |"
            else:
                figures = f"{row['seconds']:.3f} | {row['cpu_seconds']:.3f} | {row['times_ours']:.1f} | {row['rounds']}"
                yield f"| {name} | {figures} |"
        yield ""
    yield "The masks are ellipsoids and a prediction two voxels aside with a frayed border (near), or far aside (far)."
    yield "On labels that look like noise all over the volume the gain over nnU-Net's overlap counts is smaller (38"
    yield "times, seen once)."
    yield ""


def _window() -> Iterator[str]:
    document = _load("sliding_overhead")
    yield from _section("Sliding window with many classes", document)
    yield from wrap(
        "What the framework costs around a network that costs nothing, 192x192x128 voxels in windows of 64 that "
        "overlap by half; and what it costs to bring 96x160x128 logits of 30 classes onto the scan's grid, the same "
        "or 1.6 times as fine along each axis. One thread, processor seconds, the least of "
        f"{document['rounds']} rounds in turns on a busy machine; memory beyond what was there before. What nnU-Net "
        "does with logits (all classes interpolated, then argmax) is repeated with torch's functions, the fastest way "
        "it has. The ratio is ours to theirs.",
        110,
    )
    yield ""
    yield "| job | classes | VoxGraft: s, GiB | beside | s, GiB | ratio of time | of memory |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for table in document["tables"]:
        (_, ours), *peers = table["ways"].items()
        for peer, theirs in peers:
            cells = [table["job"], table["classes"], _pair(ours), peer, _pair(theirs), *_ratios(ours, theirs)]
            yield f"| {' | '.join(str(cell) for cell in cells)} |"
    yield ""
    missed = [
        f'"{table["job"]}"'
        for table in document["tables"]
        for (_, ours), (_, theirs) in [list(table["ways"].items())[:2]]
        if "grid" in table["job"] and ours["cpu_s"] > 0.4 * theirs["cpu_s"]
    ]
    yield from wrap(
        "Logits are interpolated only where neighbours disagree. Organs (finer grid) are ellipsoids in a background; "
        "blobs fill the volume with 30 classes; noise has a border at every voxel, which a few planes show at once: "
        "there all logits are interpolated, a row at a time. Labels are the same either way, and VoxGraft's time is "
        "with the probability of the winners, which the other method does not give. The goal, 0.4 of the time and 0.3 "
        f"of the memory, is {_missed(missed)}: where neighbours disagree, any class may win between them, so all are "
        "read.",
        110,
    )
    yield ""


def _missed(jobs: Sequence[str]) -> str:
    return f"missed for {' and '.join(jobs)}" if jobs else "met everywhere"


_RESAMPLED = {
    "linear": "a CT of 512x512x200 voxels to 1.5 mm, linear",
    "cubic": "the same, cubic",
    "mask": "a mask of 256x256x128 voxels with 40 structures",
}


def _resampling() -> Iterator[str]:
    document = _load("resampling")
    yield from _section("Resampling to the network's spacing", document)
    yield from wrap(
        f"Each call in a process of its own with one thread, processor seconds, the least of {document['rounds']} "
        f"rounds in turns on a busy machine (load {document['load']:.1f}); memory beyond what was there before. The "
        "ratio is ours to theirs. All give the same within the rounding of coordinates, except MONAI's, which aligns "
        "other voxels. nnU-Net's default for images, cubic splines, is SciPy's.",
        110,
    )
    yield ""
    yield "| job | method | seconds | MiB | ratio of time | of memory |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for table in document["tables"]:
        for way, row in table["ways"].items():
            ratio = table["ratio"].get(way, {"cpu_s": 1.0, "mib": 1.0})
            memory = f"{ratio['mib']:.2f}" if row["mib"] >= 1 else ""
            figures = f"{row['cpu_s']:.3f} | {row['mib']:.0f} | {ratio['cpu_s']:.2f} | {memory}"
            yield f"| {_RESAMPLED[table['job']]} | {way} | {figures} |"
    yield ""


_JOBS = {
    "training": "A training step, batch 2 of 32x48x32 (each network as its makers build it; they differ in size)",
    "small": "A scan of 35x51x35 voxels, which the plan's patch covers",
    "steps": "`check`, `plan` and `prepare`, whole processes",
    "previews": "The picture of a scan, with and without contours",
    "prediction": "A 3D network of four levels on 72x64x72 voxels in windows of 48x64x48",
    "masks": "40 classes of 256x256x128 voxels onto 133x133x85",
    "empty": "A torso CT in the field of view of a scanner, in windows of 32",
    "engines": "One window of that network in other engines",
}


def _one_processor() -> Iterator[str]:
    jobs = _load("speed_cpu")["jobs"]
    yield ""
    yield "## All jobs of one processor"
    yield ""
    yield "`python benchmarks/speed_cpu.py`"
    yield ""
    about = next(iter(jobs.values()))["about"]
    loads = [job["about"]["load"] for job in jobs.values()]
    yield from wrap(
        f"Processor seconds of {about['threads']} thread, medians of the rounds (least to most in brackets), in turns "
        f"on a busy machine (load {min(loads)} to {max(loads)}). The processor has units for bfloat16. The ratio is "
        "the time of each method over that of the first.",
        110,
    )
    for name, title in _JOBS.items():
        if rows := jobs.get(name, {}).get("rows"):
            yield from _rounds(title, rows)
            if absent := jobs[name].get("absent"):
                yield ""
                yield f"Not there: {', '.join(absent)}."
    if rows := jobs.get("prediction", {}).get("layouts"):
        yield from _rounds("One window of that network, by numbers and memory format", rows)
    yield ""
    yield from _empty_windows(jobs.get("empty", {}))
    yield from _body_alone(jobs.get("body", {}))
    yield from _goals(jobs)


def _rounds(title: str, rows: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    yield ""
    yield "| method | processor seconds | ratio |"
    yield "| --- | --- | --- |"
    for method, row in rows.items():
        digits = 3 if row["cpu_s"] >= 0.02 else 4
        spread = f"{min(row['rounds']):.{digits}f} to {max(row['rounds']):.{digits}f}"
        yield f"| {method} | {row['cpu_s']:.{digits}f} ({spread}) | {row['times_as_long']:.2f} |"


def _empty_windows(job: Mapping[str, Any]) -> Iterator[str]:
    """How many windows a scan has, and how many of them are computed."""
    if "windows" not in job:
        return
    equal = job["equal_on"].values()
    yield from wrap(
        "Windows of one value are computed once; on "
        f"{sum(row['equal'] for row in equal)} of {sum(row['scans'] for row in equal)} real scans (CT, MR, PET) that "
        "were compared, labels were those of computing every window. Of the torso CT, clipped from -200 to 300 HU, as "
        "it is and with air of -1000 HU around it, as a scanner's field of view has:",
        110,
    )
    yield ""
    yield "| scan, spacing, edge of a window | windows | computed | gain | windows over the body's box alone |"
    yield "| --- | --- | --- | --- | --- |"
    for name, row in job["windows"].items():
        yield f"| {name} | {row['windows']} | {row['computed']} | {row['gain']:.2f} | {row.get('over_the_box', '')} |"
    yield ""
    boxed = [row["windows"] / row["over_the_box"] for row in job["windows"].values() if row.get("over_the_box")]
    fewer = [gain for gain in boxed if gain > 1]
    if fewer:
        yield from wrap(
            "A scan that is cropped to the body has hardly a window of one value: nothing can be left out with the "
            f"same labels. With air around it, windows over the body's box alone are {min(fewer):.1f} to "
            f"{max(fewer):.1f} times fewer than all.",
            110,
        )
        yield ""


def _body_alone(job: Mapping[str, Any]) -> Iterator[str]:
    """The whole scan searched, or the body."""
    if "rows" not in job:
        return
    yield "### The body alone"
    yield ""
    yield from wrap(
        "The torso CT in the field of view of a scanner (516x501 mm, air with a noise of 15 HU), 3 mm, windows of 48; "
        f"a network of 41 organs that learned for {job['steps']} steps from 30 slices of that torso. Labels and Dice "
        "are beside those of the whole scan; the network is weak, so that many borders hang by a hair. VoxGraft leaves "
        "windows of the scan out; spread anew over the body's box, as after a crop, they lie elsewhere. Finding the "
        f"body took {job['finding_the_body_s']:.2f} s, which is counted. As it is, the scan is cropped to the body: "
        f"{job['as_it_is']}, and the whole is searched.",
        110,
    )
    yield ""
    yield "| method | windows | processor seconds | ratio | labels changed | mean Dice of structures | lost |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, row in job["rows"].items():
        cells = [row["windows"], f"{row['cpu_s']:.2f}", f"{row['times_as_long']:.2f}"]
        cells += [f"{100 * row['labels_changed']:.2f} %", f"{row['mean_dice']:.3f}", f"{row['lost']}"]
        yield f"| {name} | {' | '.join(map(str, cells))} |"
    yield ""


def _goals(jobs: Mapping[str, Any]) -> Iterator[str]:
    """What was aimed at, and what came of it."""
    yield "| goal | found |"
    yield "| --- | --- |"
    if rows := jobs.get("prediction", {}).get("rows"):
        gain = rows["VoxGraft, float32"]["times_as_long"]
        yield f"| bfloat16 at least 2.2 times as fast as float32 | {gain:.2f}: {_met(gain >= 2.2)} |"
    if rows := jobs.get("masks", {}).get("rows"):
        seconds = rows["VoxGraft"]["cpu_s"]
        yield f"| 40 classes onto another grid in 0.08 s | {seconds:.3f} s: {_met(seconds <= 0.08)} |"
    windows, rows = jobs.get("empty", {}).get("windows"), jobs.get("body", {}).get("rows")
    if windows and rows:
        own = max(row["gain"] for name, row in windows.items() if name.startswith("as it is"))
        wide = rows["VoxGraft, the whole scan"]["times_as_long"]
        yield (
            f"| empty space: a torso CT 1.5 times as fast | {own:.2f} as it is, cropped to the body already; "
            f"{wide:.2f} in a field of view with air: {_met(own >= 1.5)} as it is, {_met(wide >= 1.5)} with air |"
        )
    if rows := jobs.get("steps", {}).get("rows"):
        seconds = next(iter(rows.values()))["cpu_s"]
        yield f"| check, plan and prepare: 1.5 s fixed | {seconds:.2f} s on twelve cases: {_met(seconds <= 1.5)} |"
    if rows := jobs.get("previews", {}).get("rows"):
        seconds = max(row["cpu_s"] for row in rows.values())
        yield f"| a preview in 8 ms | {1000 * seconds:.1f} ms: {_met(seconds <= 0.0085)} |"
    if rows := jobs.get("engines", {}).get("rows"):
        best = min(row["times_as_long"] for name, row in rows.items() if not name.startswith("torch"))
        gain = 1 / best
        word = "reached; none is built in yet" if gain >= 1.3 else "missed, so torch stays the only engine"
        yield f"| another engine gains 1.3 times over torch's bfloat16 | {gain:.2f}: {word} |"
    yield ""


def _met(reached: bool) -> str:
    return "met" if reached else "missed"


def _training() -> Iterator[str]:
    document = _load("bf16_training")
    yield from _section("Training on a processor in bfloat16", document)
    arms = document["trainings"]
    seconds = [document["summary"][arm]["cpu_s_median"] for arm in arms]
    yield from wrap(
        f"The hippocampus, a smaller network than the workflow's, {document['steps']} steps, {document['cases']} "
        f"held-out cases, {len(arms['float32'])} seeds, one thread: bfloat16 took {seconds[1] / seconds[0]:.2f} of "
        "the processor seconds. Dice on the network's grid, seed by seed; in the last, neither finds one of the two "
        "structures in so few steps. Three seeds show no difference, and cannot rule out a small one: "
        "`precision: auto` stays float32.",
        110,
    )
    yield ""
    yield "| numbers | Dice by seed | processor seconds |"
    yield "| --- | --- | --- |"
    for arm, runs in arms.items():
        dice = ", ".join(f"{run['dice']['dice']:.4f}" for run in runs)
        yield f"| {arm} | {dice} | {document['summary'][arm]['cpu_s_median']:.1f} |"
    yield ""


def _convolutions() -> Iterator[str]:
    document = _load("convolutions")
    yield from _section("Float32 on a processor: small windows and deep maps", document)
    yield from wrap(
        "For a batch of one torch takes its plain convolution of volumes where channels x depth x height of the maps "
        "are at most 20,480, which a window of 32 voxels and the deep maps of any network are. VoxGraft computes those "
        "by oneDNN as well. Processor seconds of one window at one thread; the first column of times is what MONAI's "
        "and nnU-Net's sliding windows get. Wide networks spend their time elsewhere: there the two are equal within "
        "the noise of a busy machine.",
        110,
    )
    yield ""
    yield "| network | window | torch | oneDNN | times as fast |"
    yield "| --- | --- | --- | --- | --- |"
    for row in document["rows"]:
        window = "x".join(map(str, row["window"]))
        figures = f"{row['torch']:.3f} | {row['oneDNN']:.3f} | {row['times_as_fast']:.2f}"
        yield f"| {row['network']} | {window} | {figures} |"
    yield ""


def _large() -> Iterator[str]:
    path = RESULTS / "large_scan.json"
    if not path.is_file():
        return
    document = _load("large_scan")
    yield ""
    yield "## A large scan of many classes"
    yield ""
    yield "`python benchmarks/large_scan.py`"
    yield ""
    part = document.get("percent_of_first_columns")
    until = "" if part is None else f" (stopped after {part} % of the windows of the first columns)"
    yield from wrap(
        f"{'x'.join(map(str, document['shape']))} voxels and {document['classes']} classes in "
        f"{document['limit_gib']:g} GiB: {document['promised_gib']:.2f} GiB were promised before the first window, "
        f"{document['peak_gib']:.2f} GiB were taken at most, Python and torch included{until}. The slab of logits was "
        f"cut into {document['columns']} columns.",
        110,
    )
    yield ""


def _gpu() -> Iterator[str]:
    yield ""
    yield "## On a GPU"
    yield ""
    yield "`python benchmarks/gpu.py`"
    yield ""
    path = RESULTS / "gpu.json"
    if not path.is_file():
        yield from wrap(
            "Not measured yet: no machine with a GPU was available. The script takes at most eight minutes, carries "
            "its own data and writes one JSON: training in mixed precision beside MONAI's and nnU-Net's networks, a "
            "scan of a torso's size in float32 and in half precision, a forced lack of memory, and two processes on "
            "two GPUs. Tests walk its whole path on a CPU.",
            110,
        )
        yield ""
        return
    document = _load("gpu")
    yield f"{document['machine']['gpu']}:"
    yield ""
    yield "| part | method | figures |"
    yield "| --- | --- | --- |"
    for part, rows in document["parts"].items():
        for method, row in rows.items():
            figures = ", ".join(f"{key} {value}" for key, value in row.items()) if isinstance(row, dict) else row
            yield f"| {part} | {method} | {figures} |"
    yield ""


def _pair(row: Mapping[str, float]) -> str:
    return f"{row['cpu_s']:.2f}, {row['gib']:.2f}"


def _ratios(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Iterator[str]:
    return (f"{ours[key] / theirs[key]:.2f}" for key in ("cpu_s", "gib"))


def _spoiled() -> Iterator[str]:
    document = _load("fuzz")
    yield from _section("Corrupted files (fuzzing)", document)
    files, seconds, faults = document["files"], document["seconds"], document["faults"]
    yield f"{files:,} files were corrupted and read, in {seconds:.0f} s. Crashes, hangs, wrong volumes and unreadable"
    yield f"error messages: {faults}. Confirmed: an independent reader of the same bytes gives the same."
    yield ""
    columns = ["refused", "as before", "confirmed", "read with a warning", "read here alone"]
    yield f"| kind | {' | '.join(columns)} |"
    yield f"| --- |{' --- |' * len(columns)}"
    for name, row in document["kinds"].items():
        yield f"| {name} | {' | '.join(str(row.get(column, 0)) for column in columns)} |"
    yield ""


def _round_trips() -> Iterator[str]:
    document = _load("roundtrip")["summary"]
    yield "## Masks through DICOM objects and back"
    yield ""
    series = document["series"]
    yield f"`python benchmarks/roundtrip.py`: masks on {series} series (axial, sagittal, coronal, oblique, real ones),"
    yield "written as DICOM SEG, RTSTRUCT and TID 1500 report, read back by others. More in [the page on DICOM"
    yield "objects](dicom_objects.md)."
    yield ""
    yield "| what | found |"
    yield "| --- | --- |"
    seg = document["seg_by_dcmqi"]
    yield f"| SEG read by dcmqi: largest difference of centroids (mm) | {seg['centroid_mm']:.4f} |"
    yield f"| SEG read by dcmqi: largest difference of voxel counts | {seg['voxels']:.0f} |"
    yield f"| SEG read by VoxGraft: voxels that differ | {document['seg_by_own']} |"
    yield f"| report read by dcmqi: largest difference of volumes (mL) | {document['sr_by_dcmqi_ml']:.4f} |"
    errors = ", ".join(str(count) for count in document["dciodvfy_errors"].values())
    yield f"| errors that dciodvfy finds in SEG, RTSTRUCT, report | {errors} |"


def _section(title: str, document: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield f"`{document['command']}`"
    yield ""


def _times(
    times: Mapping[str, Any], ratios: Mapping[str, float], own: str, sizes: Mapping[str, int] | None = None
) -> Iterator[str]:
    yield ""
    yield f"| method | seconds | ratio |{' MB |' if sizes else ''}"
    yield f"| --- | --- | --- |{' --- |' if sizes else ''}"
    for name, row in times.items():
        size = f" {sizes[name if name in sizes else own] / 1e6:.2f} |" if sizes else ""
        yield f"| {name} | {row['median_s']:.3f} | {1 if name == own else ratios[name]:.2f} |{size}"
    yield ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return document


if __name__ == "__main__":
    PAGE.write_text(render())
