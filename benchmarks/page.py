"""Write docs/speed.md from the figures in benchmarks/results, so that no figure is typed by hand.

python benchmarks/page.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from figures import head, line, load, machine, page, said, section
from measured import RESULTS, ROOT

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
        _equal,
        _training,
        _small_patch,
        _convolutions,
        _large,
        _gpu,
        _spoiled,
        _round_trips,
    )
    return page(part() for part in parts)


def _head() -> Iterator[str]:
    yield "# Speed and exactness, measured side by side"
    yield ""
    yield "Written by `python benchmarks/page.py` from the files in `benchmarks/results/`, each of which names its"
    yield "command, the machine and the versions. Methods are timed alternately within one run, with files in the page"
    yield "cache; the figures are medians, and the ratio is a method's time over VoxGraft's. All give equal results, or"
    yield "the run fails."
    first, second = machine(load("read_nifti"), _SHOWN)
    yield from ("", f"{first}, where nothing else is said.", second)


def _lines(text: str) -> list[str]:
    return wrap(text, 110)


def _told(text: str) -> list[str]:
    """A paragraph, and the empty line behind it."""
    return [*_lines(text), ""]


_SHOWN = ("numpy", "torch", "monai", "nibabel", "pydicom", "SimpleITK", "highdicom")


def _reading() -> Iterator[str]:
    document = load("read_nifti")
    yield from section("Reading `.nii.gz`", document["command"])
    yield f"{_sentence(document['job'])}; {document['rounds']} rounds."
    yield from _times(document["times"], document["times_as_long"], "VoxGraft")


def _series() -> Iterator[str]:
    document = load("read_dicom")
    yield from section("Reading DICOM", document["command"])
    plain, packed = document["slices"]["plain"], document["slices"]["jpeg2000"]
    titles = {
        "plain": f"{plain} files of 512x512 pixels, uncompressed, with headers of {document['elements']} elements",
        "jpeg2000": f"{packed} files of 512x512 pixels in JPEG 2000",
        "sorting": f"Sorting {plain} files by their headers alone",
    }
    for name, ways in document["tables"].items():
        yield f"{titles[name]}; {document['rounds']} rounds."
        yield from _times(ways, {way: row["times_voxgraft"] for way, row in ways.items()}, "VoxGraft")


def _writing() -> Iterator[str]:
    document = load("write_mask")
    yield from section("Writing a mask", document["command"])
    for name, mask in document["masks"].items():
        yield f"A mask of {name}; {mask['rounds']} rounds."
        yield from _times(mask["times"], mask["times_as_long"], "VoxGraft, first axis fastest", mask["bytes"])


def _scoring() -> Iterator[str]:
    document = load("scoring")
    yield from section("Scoring", document["command"])
    for measured in document["tables"]:
        yield f"{measured['what'].replace('^3', ' voxels a side')}:"
        yield from head("method", "seconds", "CPU seconds", "ratio", "rounds")
        yield from (line(*cells) for cells in map(_scored, *zip(*measured["rows"].items(), strict=True)))
        yield ""
    yield "The masks are ellipsoids; the prediction is shifted by two voxels, with a frayed border (near), or far away"
    yield "(far). On labels that look like noise all over the volume the gain over nnU-Net's overlap counts is smaller"
    yield "(38 times, measured once)."
    yield ""


def _scored(name: str, row: Mapping[str, Any]) -> list[object]:
    if "absent" in row:
        return [name, row["absent"], "", "", ""]
    return [name, f"{row['seconds']:.3f}", f"{row['cpu_seconds']:.3f}", f"{row['times_ours']:.1f}", row["rounds"]]


def _window() -> Iterator[str]:
    document = load("sliding_overhead")
    yield from section("Sliding window with many classes", document["command"])
    yield from _lines(
        "The cost of the framework alone, around a network that costs nothing: 192x192x128 voxels in windows of 64 "
        "that overlap by half; and the cost of bringing 96x160x128 logits of 30 classes onto the scan's grid, the same "
        f"or 1.6 times as fine along each axis. One thread, CPU seconds, the minimum of {document['rounds']} "
        "alternating rounds on a busy machine; memory is what the call adds. nnU-Net's method for logits (interpolate "
        "all classes, then argmax) is repeated with torch's functions, the fastest that it uses. The ratio is ours to "
        "theirs.",
    )
    yield from head("job", "classes", "VoxGraft: s, GiB", "beside", "s, GiB", "ratio of time", "of memory")
    for job in document["tables"]:
        ((_, ours), *peers) = job["ways"].items()
        for peer, theirs in peers:
            yield line(job["job"], job["classes"], _pair(ours), peer, _pair(theirs), *_ratios(ours, theirs))
    yield ""
    missed = [
        f'"{job["job"]}"'
        for job in document["tables"]
        for (_, ours), (_, theirs) in [list(job["ways"].items())[:2]]
        if "grid" in job["job"] and ours["cpu_s"] > 0.4 * theirs["cpu_s"]
    ]
    yield from _told(
        "Logits are interpolated only where neighbours disagree. Organs (finer grid) are ellipsoids in a background; "
        "blobs fill the volume with 30 classes; noise has a border at every voxel, which a few planes show at once: "
        "there all logits are interpolated, a row at a time. Labels are the same either way, and VoxGraft's time "
        "includes the probability of the winning class, which the other method does not compute. The goal, 0.4 of the "
        f"time and 0.3 of the memory, is {_missed(missed)}: where neighbours disagree, any class may win between them, "
        "so all are read.",
    )


def _missed(jobs: Sequence[str]) -> str:
    return f"missed for {' and '.join(jobs)}" if jobs else "met everywhere"


_RESAMPLED = {
    "linear": "a CT of 512x512x200 voxels to 1.5 mm, linear",
    "cubic": "the same, cubic",
    "mask": "a mask of 256x256x128 voxels with 40 structures",
}


def _resampling() -> Iterator[str]:
    document = load("resampling")
    yield from section("Resampling to the network's spacing", document["command"])
    yield from _lines(
        f"Each call in a process of its own with one thread, CPU seconds, the minimum of {document['rounds']} "
        f"alternating rounds on a busy machine (load {document['load']:.1f}); memory is what the call adds. The "
        "ratio is ours to theirs. All agree up to the rounding of coordinates, except MONAI, which aligns "
        "the grids differently. nnU-Net's default for images is SciPy's cubic splines.",
    )
    yield from head("job", "method", "seconds", "MiB", "ratio of time", "of memory")
    for job in document["tables"]:
        for way, row in job["ways"].items():
            yield line(*_resampled(job, way, row))
    yield ""


def _resampled(job: Mapping[str, Any], way: str, row: Mapping[str, float]) -> list[str]:
    ratio = job["ratio"].get(way, {"cpu_s": 1.0, "mib": 1.0})
    memory = "" if ratio["mib"] is None else f"{ratio['mib']:.2f}"
    return [_RESAMPLED[job["job"]], way, f"{row['cpu_s']:.3f}", f"{row['mib']:.0f}", f"{ratio['cpu_s']:.2f}", memory]


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
    jobs = load("speed_cpu")["jobs"]
    yield from section("Training, prediction and preparation on one CPU core", "python benchmarks/speed_cpu.py")
    about = next(iter(jobs.values()))["about"]
    loads = [job["about"]["load"] for job in jobs.values()]
    yield from _lines(
        f"CPU seconds of {about['threads']} thread, medians of the rounds (minimum to maximum in brackets), "
        f"alternating on a busy machine (load {min(loads)} to {max(loads)}). The CPU supports bfloat16. The ratio is "
        "the time of each method over that of the first.",
    )
    for name, title in _JOBS.items():
        if rows := jobs.get(name, {}).get("rows"):
            yield from _rounds(f"{title} ({jobs[name]['about']['machine']['processor']})", rows)
            if absent := jobs[name].get("absent"):
                yield ""
                yield f"Not measured: {', '.join(absent)}."
    if rows := jobs.get("prediction", {}).get("layouts"):
        yield from _rounds("One window of that network, by number format and memory format", rows)
    yield ""
    yield from _empty_windows(jobs.get("empty", {}))
    yield from _body_alone(jobs.get("body", {}))
    yield from _goals(jobs)


def _rounds(title: str, rows: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    yield from head("method", "CPU seconds", "ratio")
    yield from (line(*cells) for cells in map(_took, *zip(*rows.items(), strict=True)))


def _took(method: str, row: Mapping[str, Any]) -> list[str]:
    digits = 3 if row["cpu_s"] >= 0.02 else 4
    spread = f"{min(row['rounds']):.{digits}f} to {max(row['rounds']):.{digits}f}"
    return [method, f"{row['cpu_s']:.{digits}f} ({spread})", f"{row['times_as_long']:.2f}"]


def _empty_windows(job: Mapping[str, Any]) -> Iterator[str]:
    """How many windows a scan has, and how many of them are computed."""
    if "windows" not in job:
        return
    equal = job["equal_on"].values()
    yield from _lines(
        f"Windows with a single value are computed once; on {sum(row['equal'] for row in equal)} of "
        f"{sum(row['scans'] for row in equal)} real scans (CT, MR, PET) that were compared, this gave the same labels "
        "as computing every window. For the torso CT, clipped from -200 to 300 HU, as it is and with air of -1000 HU "
        "around it, as in a scanner's field of view:",
    )
    yield from head(
        "scan, spacing, edge of a window", "windows", "computed", "gain", "windows over the body's box alone"
    )
    for name, row in job["windows"].items():
        yield line(name, row["windows"], row["computed"], f"{row['gain']:.2f}", row.get("over_the_box", ""))
    yield ""
    boxed = [row["windows"] / row["over_the_box"] for row in job["windows"].values() if row.get("over_the_box")]
    fewer = [gain for gain in boxed if gain > 1]
    if fewer:
        yield from _told(
            "A scan that is cropped to the body has hardly any window with a single value, so nothing can be left out "
            f"without changing labels. With air around it, windows over the body's box alone are {min(fewer):.1f} to "
            f"{max(fewer):.1f} times fewer than all.",
        )


def _body_alone(job: Mapping[str, Any]) -> Iterator[str]:
    """The whole scan searched, or the body."""
    if "rows" not in job:
        return
    yield "### The body alone"
    yield ""
    yield from _lines(
        "The torso CT in the field of view of a scanner (516x501 mm, air with a noise of 15 HU), 3 mm, windows of 48; "
        f"a network of 41 organs that learned for {job['steps']} steps from 30 slices of that torso. Labels and Dice "
        "are compared with those of the whole scan; the network is weak, so that many voxels near borders are "
        "undecided. VoxGraft leaves out windows of the scan; if they are laid out again over the body's box, as after "
        f"a crop, they lie elsewhere. Finding the body took {job['finding_the_body_s']:.2f} s, which is included. As "
        f"it is, the scan is cropped to the body: {job['as_it_is']}, and the whole scan is searched.",
    )
    yield from head("method", "windows", "CPU seconds", "ratio", "labels changed", "mean Dice of structures", "lost")
    for name, row in job["rows"].items():
        cells = [row["windows"], f"{row['cpu_s']:.2f}", f"{row['times_as_long']:.2f}"]
        yield line(name, *cells, f"{100 * row['labels_changed']:.2f} %", f"{row['mean_dice']:.3f}", row["lost"])
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


def _equal() -> Iterator[str]:
    """Whether faster ways give the labels of the plain one, on the scans of every data set."""
    document = load("equal_labels")
    yield from section("Are the labels of faster prediction the same?", "python benchmarks/equal_labels.py")
    yield from said(
        "Each scan, or as many as the time allowed, in its own grid: the plain way (float32, each window of the whole "
        "scan by itself, one slab of logits) beside each faster way, with a model trained for so many steps, far from "
        "finished. `body` and `bf16` are used here whether or not the package allows them; VoxGraft uses them only "
        "where the package's held-out cases agree. Labelled: voxels of the plain masks that are not background; "
        "differing: voxels per million labelled ones; Dice: of the worst scan, between the two masks. Where nothing is "
        "labelled, the model found nothing yet, and equal masks prove nothing."
    )
    yield from head("data", "steps", "scans", "labelled", "way", "differing", "Dice")
    for found in document["sets"]:
        for row in found["ways"]:
            share = 1e6 * row["voxels_that_differ"] / max(found["labelled_voxels"], 1)
            yield line(
                f"{found['data']}, {found['dims']}D",
                found["steps"],
                row["scans"],
                f"{found['labelled_voxels']:,}",
                row["way"],
                f"{share:,.1f}" if row["scans"] == found["scans"] else f"{row['voxels_that_differ']:,} voxels",
                f"{row['worst_dice']:.4f}",
            )
    rows = [row for found in document["sets"] for row in found["ways"]]
    exact = min(row["worst_dice"] for row in rows if "bf16" not in row["way"] and "body" not in row["way"])
    body = min((row["worst_dice"] for row in rows if row["way"] == "body"), default=1.0)
    yield ""
    yield from said(
        f"In float32, with all of a scan searched, the worst Dice of these scans is {exact:.4f}; the goal, 0.9999, is "
        f"{_met(exact >= 0.9999)}. With the body alone it is {body:.4f}: so young a model also finds something in the "
        "air. That is why a package's own held-out cases decide, for the body as for bfloat16."
    )


def _training() -> Iterator[str]:
    document = load("bf16_training")
    yield from section("Training on a CPU in bfloat16", document["command"])
    arms = document["trainings"]
    seconds = [document["summary"][arm]["cpu_s_median"] for arm in arms]
    yield from _lines(
        f"The hippocampus, a smaller network than the workflow's, {document['steps']} steps, {document['cases']} "
        f"held-out cases, {len(arms['float32'])} seeds, one thread: bfloat16 took {seconds[1] / seconds[0]:.2f} of "
        "the CPU seconds. Dice on the network's grid, seed by seed; in the last, neither finds one of the two "
        "structures in so few steps. Three seeds show no difference, and cannot rule out a small one: "
        "`precision: auto` stays float32.",
    )
    yield from head("number format", "Dice by seed", "CPU seconds")
    for arm, runs in arms.items():
        yield line(
            arm,
            ", ".join(f"{run['dice']['dice']:.4f}" for run in runs),
            f"{document['summary'][arm]['cpu_s_median']:.1f}",
        )
    yield ""


def _small_patch() -> Iterator[str]:
    document = load("small_patch")
    yield from section("A patch that covers small scans", document["command"])
    arms = document["trainings"]
    planned, median = (document["summary"][arm] for arm in arms)
    yield from _lines(
        f"The hippocampus, {document['steps']} steps, {document['cases']} held-out cases, "
        f"{len(next(iter(arms.values())))} seeds, one thread. With the larger patch a step sees more voxels and takes "
        f"{planned['cpu_s_median'] / median['cpu_s_median']:.1f} times as long, and segmenting takes "
        f"{planned['look_cpu_s_median'] / median['look_cpu_s_median']:.2f} of the time. Some seeds have not found both "
        "structures after so few steps, with either patch: what Dice the patch costs or gains is not settled by this.",
    )
    yield from head("patch", "Dice by seed", "CPU seconds of training", "of segmenting")
    for arm, runs in arms.items():
        means = document["summary"][arm]
        dice = ", ".join(f"{run['dice']['dice']:.4f}" for run in runs)
        yield line(arm, dice, f"{means['cpu_s_median']:.1f}", f"{means['look_cpu_s_median']:.1f}")
    yield ""


def _convolutions() -> Iterator[str]:
    document = load("convolutions")
    yield from section("Networks on a CPU, as they are and as VoxGraft applies them", document["command"])
    yield from _lines(
        f"{document['machine']['processor']}; what its units for bfloat16 gain, another processor's may not. "
        f"CPU seconds of one window at one thread, the least of {document['rounds']} rounds on a busy machine; torch "
        "as it is, which is what MONAI's and nnU-Net's sliding windows get, and the same as VoxGraft applies it. "
        "There maps lie channels-last (a window of one channel says so by its strides, or all maps behind it lie "
        "otherwise), convolutions of volumes are oneDNN's (for a batch of one torch uses its own where channels x "
        "depth x height are at most 20,480), volumes are averaged by the pooling of pictures (torch's own knows one "
        "order of memory, and float32 alone), each channel is normalised as a group of one, and weights are cast once. "
        "Weights are random; labels: the share of voxels where VoxGraft's "
        "bfloat16 gives another class than torch in float32.",
    )
    ways = ("torch, float32", "VoxGraft, float32", "torch, bfloat16", "VoxGraft, bfloat16")
    parts = list(document["rows"][0]["bfloat16_spent_on"])
    yield from head("network", "window", *ways, "float32 / bfloat16", "labels", *parts)
    for row in document["rows"]:
        took = row["cpu_s"]
        gain = took["VoxGraft, float32"] / took["VoxGraft, bfloat16"]
        others = row["share_of_other_labels"]["VoxGraft, bfloat16"]
        times = (f"{took[way]:.3f}" for way in ways)
        spent = (f"{100 * row['bfloat16_spent_on'][part]:.0f} %" for part in parts)
        size = "x".join(map(str, row["window"]))
        yield line(row["network"], size, *times, f"{gain:.2f}", f"{100 * others:.2f} %", *spent)
    yield ""
    yield from _lines(
        "The last columns are the shares of VoxGraft's bfloat16, by torch's profiler; the rest are activations, sums "
        "and what Python costs. Only convolutions are computed by the processor's units for bfloat16.",
    )
    yield ""


def _large() -> Iterator[str]:
    path = RESULTS / "large_scan.json"
    if not path.is_file():
        return
    document = load("large_scan")
    yield from section("A large scan of many classes", "python benchmarks/large_scan.py")
    part = document.get("percent_of_first_columns")
    until = "" if part is None else f" (stopped after {part} % of the windows of the first columns)"
    yield from _told(
        f"{'x'.join(map(str, document['shape']))} voxels and {document['classes']} classes in "
        f"{document['limit_gib']:g} GiB: {document['promised_gib']:.2f} GiB were estimated before the first window, "
        f"{document['peak_gib']:.2f} GiB were used at most, Python and torch included{until}. The slab of logits was "
        f"cut into {document['columns']} columns.",
    )
    whole = load("large_scan_eighth")
    yield from _told(
        f"An eighth of it, {'x'.join(map(str, whole['shape']))} voxels in {whole['limit_gib']:g} GiB, was segmented to "
        f"the end: {whole['promised_gib']:.2f} GiB were estimated, {whole['peak_gib']:.2f} GiB used, with "
        f"{whole['columns']} columns.",
    )


def _gpu() -> Iterator[str]:
    yield from section("On a GPU", "python benchmarks/gpu.py")
    path = RESULTS / "gpu.json"
    if not path.is_file():
        yield from _told(
            "Not measured yet: no machine with a GPU was available. The script takes at most eight minutes, carries "
            "its own data and writes one JSON: training in mixed precision beside MONAI's and nnU-Net's networks, a "
            "scan of a torso's size in float32 and in half precision, a forced shortage of memory, and two processes "
            "on two GPUs. Tests run all of it on a CPU.",
        )
        return
    document = load("gpu")
    yield f"{document['machine']['gpu']}:"
    yield from head("part", "method", "figures")
    for part, rows in document["parts"].items():
        for method, row in rows.items():
            yield line(
                part,
                method,
                ", ".join((f"{key} {value}" for key, value in row.items())) if isinstance(row, dict) else row,
            )
    yield ""


def _pair(row: Mapping[str, float]) -> str:
    return f"{row['cpu_s']:.2f}, {row['gib']:.2f}"


def _ratios(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Iterator[str]:
    return (f"{ours[key] / theirs[key]:.2f}" for key in ("cpu_s", "gib"))


def _spoiled() -> Iterator[str]:
    document = load("fuzz")
    yield from section("Corrupted files (fuzzing)", document["command"])
    files, seconds, faults = document["files"], document["seconds"], document["faults"]
    yield f"{files:,} files were corrupted and read, in {seconds:.0f} s. Crashes, hangs, wrong volumes and unreadable"
    yield f"error messages: {faults}. Confirmed: an independent reader of the same bytes gives the same."
    columns = ["refused", "as before", "confirmed", "read with a warning", "read here alone"]
    yield from head("kind", *columns)
    for name, row in document["kinds"].items():
        yield line(name, *(row.get(column, 0) for column in columns))
    yield ""


def _round_trips() -> Iterator[str]:
    document = load("roundtrip")["summary"]
    yield "## Masks through DICOM objects and back"
    yield ""
    series = document["series"]
    yield f"`python benchmarks/roundtrip.py`: masks on {series} series (axial, sagittal, coronal, oblique, real ones),"
    yield "written as DICOM SEG, RTSTRUCT and TID 1500 report, read back by others. More in [the page on DICOM"
    yield "objects](dicom_objects.md)."
    seg = document["seg_by_dcmqi"]
    yield from head("what", "found")
    yield line("SEG read by dcmqi: largest difference of centroids (mm)", f"{seg['centroid_mm']:.4f}")
    yield line("SEG read by dcmqi: largest difference of voxel counts", f"{seg['voxels']:.0f}")
    yield line("SEG read by VoxGraft: voxels that differ", document["seg_by_own"])
    yield line("report read by dcmqi: largest difference of volumes (mL)", f"{document['sr_by_dcmqi_ml']:.4f}")
    yield line(
        "errors that dciodvfy finds in SEG, RTSTRUCT, report",
        ", ".join(str(count) for count in document["dciodvfy_errors"].values()),
    )


def _times(
    times: Mapping[str, Any], ratios: Mapping[str, float], own: str, sizes: Mapping[str, int] | None = None
) -> Iterator[str]:
    yield from head("method", "seconds", "ratio", *(["MB"] if sizes else []))
    for name, row in times.items():
        yield line(
            name,
            f"{row['median_s']:.3f}",
            f"{(1 if name == own else ratios[name]):.2f}",
            *([f"{sizes[name if name in sizes else own] / 1000000.0:.2f}"] if sizes else []),
        )
    yield ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(render())
