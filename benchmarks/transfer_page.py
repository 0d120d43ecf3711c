"""Write docs/transfer.md from the figures in benchmarks/results, so that no figure is typed by hand.

python benchmarks/transfer_page.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from textwrap import wrap
from typing import Any

import numpy as np
from figures import head, line, load, machine, page, said, section
from measured import RESULTS, ROOT
from prior import document as known

from voxgraft.scoring.comparison import holm, randomisation_p

PAGE = ROOT / "docs" / "transfer.md"


def render() -> str:
    """The page, from the files of figures that are there."""
    parts = (
        _head,
        _in_short,
        _curves,
        _minutes,
        _advised,
        _unlabelled,
        _strategies,
        _kept,
        _curve,
        _brain,
        _shift,
        _drive,
        _guard,
        _open,
    )
    return page(part() for part in parts)


def _head() -> Iterator[str]:
    machine_line, versions = machine(load("strategies"), _SHOWN)
    yield "# What transfer gave, measured"
    yield ""
    yield from said(
        "Written by `python benchmarks/transfer_page.py` from the files in `benchmarks/results/`. In each table "
        "the methods had the same scans, patches, order, new initial weights and number of steps. Intervals are 95 %, "
        "from a bootstrap over patients, paired for differences. The verdict is *better* or *worse* if the p-value of "
        "the paired randomisation test over patients is below 0.05 after Holm's correction for the "
        "table; otherwise `no evidence`. With several seeds or draws, a patient's score is the "
        "mean over them. Settings are defaults, or were chosen on other scans than those that are scored."
    )
    yield ""
    yield from said(
        f"{machine_line}, one thread for each training while others ran beside it, so seconds compare methods only "
        f"roughly. Short budgets favour methods that learn faster. {versions}"
    )


def _in_short() -> Iterator[str]:
    """What helps, when, by how much, and when not to bother; each figure from its file."""
    yield from ("", "## In short", "")
    rows = {name: load(f"curves_{name}")["differences"] for name in ("polyps", "heart")}
    told = {name: _range([row["difference"] for row in found]) for name, found in rows.items()}
    counts = {name: _range([row["labels"] for row in found], "d") for name, found in rows.items()}
    sparse = load("strategies")["comparisons"]
    l2sp = next(one for one in sparse if one["run"] == "l2-sp")
    tuned = next(one for one in sparse if one["run"] == "fine-tune")
    later = load("strategies_long")["comparisons"][0]
    vessels, longer = load("drive")["guard"]["unet"], load("drive")["longer"]["difference"]
    whole = load("curves_polyps")["longer"]
    brain = [one for one in load("brain_tissue")["comparisons"] if one["structure"] == "mean"]
    curve = [one for table in load("label_curve")["curve"] for one in table["comparisons"]]
    unlabelled = {
        f"{table['labels']} labels at {document['spacing_mm']:g} mm": next(
            one for one in table["comparisons"] if one["run"] == "self-training"
        )
        for document in map(load, SELF_TRAINING)
        for table in document["tables"]
    }
    eight = load(SELF_TRAINING[-1])
    volumes = next(one["dice"]["mean"] for one in eight["tables"][0]["arms"] if one["arm"] == "longer")
    slices = load("strategies_long")
    gained = "; ".join(f"{_difference(one)} with {which}" for which, one in unlabelled.items())
    points = (
        "**2D images and slices: begin with ImageNet weights and L2-SP.** They gained "
        f"{told['polyps']} Dice on polyps ({counts['polyps']} labels), {told['heart']} on the heart "
        f"({counts['heart']}), {_signed(l2sp)} on the atrium; fine-tuned, {_signed(vessels)} on vessels of the retina.",
        f"**Part of it is speed, on some data.** Fine-tuning gained {_signed(tuned)} on the atrium after "
        f"{load('strategies')['runs'][0]['steps']:,} steps and {_signed(later)} after "
        f"{load('strategies_long')['runs'][0]['steps']:,}, and on vessels, trained for longer, "
        f"{_signed(longer)}. On polyps it hardly does: {whole[1]['dice'] - whole[0]['dice']:+.3f} with all labels "
        f"after {whole[0]['steps']:,} steps, when the validation Dice of scratch no longer rose.",
        "**Scans of volumes: train in 3D first, with voxels that the machine can afford.** Eight labelled atria give "
        f"{volumes:.3f} in 3D from scratch at {eight['spacing_mm']:g} mm, and "
        f"{slices['arms'][1]['dice']['mean']:.3f} as slices from ImageNet weights after "
        f"{slices['runs'][0]['steps']:,} steps, on the same twenty scans (steps of the two cost different times).",
        *_best_in_minutes(),
        f"**Weights of the same organ and contrast help, also in 3D:** deepbet's on brain tissue, "
        f"{_range([one['difference'] for one in brain])}, on deformed copies of one head.",
        f"**Scans without labels:** training on a model's own masks of them, against longer training: {gained}. "
        "Filling in masked blocks, LoRA and a mean teacher changed the hippocampus by "
        f"{_range([one['difference'] for one in curve])}: not worth it where a few labelled scans are enough.",
        "**A wrong source is not called helpful** by the guard, and it misses a small gain with few patients. So where "
        "a trial cannot tell, `voxgraft advise` proposes by the figures of this page and says so; `voxgraft new` too "
        "(`benchmarks/prior.py` keeps them in `core/voxgraft/transfer/prior.json`).",
    )
    for point in points:
        yield from wrap(f"- {point}", 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _best_in_minutes() -> Iterator[str]:
    """Which way was ahead on the atrium at each number of labels, and what ImageNet weights added to slices."""
    document = load("curves_atrium")
    points: dict[int, list[dict[str, Any]]] = {}
    for point in document["points"]:
        points.setdefault(point["labels"], []).append(point)
    ahead = []
    for labels, found in sorted(points.items()):
        best = max(found, key=lambda point: float(point["dice"]))
        ahead.append(f"`{best['arm']}` with {labels} ({best['dice']:.3f})")
    rows = [row for row in document["differences"] if row["against"] == "slices-scratch"]
    gained = _range([row["difference"] for row in rows])
    (twin,) = load("curves_atrium_twin")["differences"]
    times = load("curves_atrium_long")
    long = {point["arm"]: point["dice"] for point in times["points"]}
    (gain,) = (row for row in times["differences"] if row["against"] == "slices-scratch")
    yield (
        "**In a few minutes, which way is best depends on the number of labels.** On the atrium, after three to four "
        f"minutes, it was {', '.join(ahead)}; ImageNet weights added {gained} to slices, and with one label "
        f"{_signed(twin)} to the inflated network. After four times as long, volumes from scratch lead with 4 labels "
        f"({long['scratch']:.3f} against {long['slices-imagenet']:.3f}), and the weights gain {_signed(gain)} "
        "to slices."
    )


def _range(values: Sequence[float], form: str = "+.3f") -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


TRUE_SOURCE = "ImageNet, fine-tuned"
SELF_TRAINING = ("self_training", "self_training_fine")
"""Files of the same comparison with coarse voxels and with fine ones."""
_SHOWN = ("numpy", "torch", "monai", "timm", "nibabel")


def _curves() -> Iterator[str]:
    """Dice over the number of labels on each data set whose curve was measured."""
    for name in ("polyps", "heart"):
        document = load(f"curves_{name}")
        arms = list(dict.fromkeys(point["arm"] for point in document["points"]))
        yield from section(f"How many labels does it save? {document['data']}", document["command"])
        yield from said(
            f"`{document['workflow']}`, {document['steps']} steps, {_count(document['draws']).lower()} of labelled "
            f"patients, each with its own seed, and the same {document['patients']} held-out patients. Intervals are "
            "over patients and draws together, paired between the methods. Labels saved: the number of labels with "
            "which scratch reaches the same Dice (interpolated), minus the number of labels; `more than tried` if "
            "scratch never reaches it."
        )
        yield ""
        yield f"![Dice over the number of labelled patients](images/curves_{name}.svg)"
        yield from head("labelled", *arms, *(f"{arm} minus {arms[0]}" for arm in arms[1:]), "labels saved")
        for labels in dict.fromkeys(point["labels"] for point in document["points"]):
            yield line(*_at(labels, document))
        yield from _longer(document)


def _minutes() -> Iterator[str]:
    """The atrium at equal minutes: volumes and slices, each from scratch and from ImageNet weights."""
    document = load("curves_atrium")
    yield from section("How many labels does it save? The left atrium, three to four minutes each", document["command"])
    yield from said(
        f"`{document['workflow']}` with `workflows/atrium_20.csv`: {_count(document['draws']).lower()} of labelled "
        f"scans, each with its own seed, scored on the {document['patients']} scans on which nothing was tuned. The "
        "steps were set before, so that each training takes three to four minutes of one core: a step of an inflated "
        "network costs seven times as much as one of the small network of volumes. `scratch` is a residual network "
        "on volumes at 2 mm, `inflated` EfficientNet-Lite0 with ImageNet weights in three dimensions on the same; "
        "`slices-scratch` and `slices-imagenet` are EfficientNet-Lite0 on slices at 1.25 mm. The volumes were cropped "
        "around their reference masks in x and y. Labels saved: those with which the second method reaches the Dice of "
        "the first, minus the number of labels; negative where the first would need more."
    )
    yield ""
    yield "![Dice over the number of labelled patients](images/curves_atrium.svg)"
    yield from _methods(document)
    yield ""
    yield from said(f"With one labelled scan, is it the weights or the network? {_twin()}")
    yield from _longer(document)
    times = load("curves_atrium_long")
    yield ""
    yield from said(
        f"And with few labels? Each method again for four times its steps, on {times['machine']['processor']} "
        f"(`{times['command']}`):"
    )
    yield from _methods(times)


def _methods(document: Mapping[str, Any]) -> Iterator[str]:
    """The scores of each method at each number of labels, and how they differ."""
    arms = list(dict.fromkeys(point["arm"] for point in document["points"]))
    counts = {point["labels"] for point in document["points"]}
    trainings = document["draws"] * len(counts)
    yield from head("labelled", "method", "steps", "seconds", "Dice", "interval", "by draw")
    for point in sorted(document["points"], key=lambda point: (point["labels"], arms.index(point["arm"]))):
        arm = point["arm"]
        seconds = round(document["seconds"][arm] / trainings)
        drawn = ", ".join(f"{dice:.3f}" for dice in point["by_draw"])
        yield line(
            point["labels"],
            f"`{arm}`",
            document["steps"][arm],
            seconds,
            f"{point['dice']:.3f}",
            _interval(point["ci95"]),
            drawn,
        )
    curve = len(counts) > 1  # labels saved are read from a line through several points
    yield from head("labelled", "compared", "difference", *(["labels saved"] if curve else []))
    for row in sorted(document["differences"], key=lambda row: row["labels"]):
        pair = f"`{row['arm']}` minus `{row['against']}`"
        yield line(row["labels"], pair, _signed(row), *([_saved(row)] if curve else []))


def _twin() -> str:
    """The inflated network from ImageNet weights and from scratch, with one labelled scan."""
    document = load("curves_atrium_twin")
    (row,) = document["differences"]
    dice = {point["arm"]: point["dice"] for point in document["points"]}
    return (
        f"The same network from scratch (`{document['command']}`) has {dice[row['against']]:.3f}, so the weights "
        f"gained {_signed(row)}: this is the only place where ImageNet weights helped in three dimensions."
    )


def _at(labels: int, document: Mapping[str, Any]) -> list[object]:
    """The scores of each arm with so many labels, the gains over scratch, and the labels saved."""
    gains = [row for row in document["differences"] if row["labels"] == labels]
    points = [point for point in document["points"] if point["labels"] == labels]
    dice = [f"{point['dice']:.3f} ({_interval(point['ci95'])})" for point in points]
    return [labels, *dice, *map(_signed, gains), "; ".join(map(_saved, gains))]


def _saved(row: Mapping[str, Any]) -> str:
    """Labels saved with their interval, unless all of it is beyond what was tried."""
    low, high = row["saved_ci95"]
    return f"{row['saved']}" if low == high == row["saved"] else f"{row['saved']} ({low} to {high})"


def _longer(document: Mapping[str, Any]) -> Iterator[str]:
    """Whether the budget of a curve was long enough."""
    if "longer" not in document:
        yield ""
        yield from said(
            "Longer trainings were not run: scratch may not have stopped improving, so part of the difference may be "
            "speed."
        )
        return
    told = "; ".join(
        f"{row['arm']} {row['dice']:.3f} after {row['steps']:,} steps (validation "
        + ", ".join(f"{look['dice']:.3f} at {look['step']:,}" for look in row["curve"])
        + ")"
        for row in document["longer"]
    )
    yield ""
    where = "".join(f", {name}" for name in {row["processor"]: 0 for row in document["longer"] if "processor" in row})
    yield from said(f"Was the budget long enough? All labels, seed 7{where}: {told}.")


def _guard() -> Iterator[str]:
    """What the guard says of sources that cannot help, and what it misses."""
    document = load("guard_trials")
    called = sum(row["verdict"] == "helps" and row["source"] != TRUE_SOURCE for row in document["trials"]) or "none"
    yield from section("Negative transfer: sources that cannot help", document["command"])
    yield from said(
        f"`workflows/polyps_2d.yaml`, eight labelled pictures, {document['planted']} planted trials, each against the "
        f"twin from scratch of its seed; and the true ImageNet weights, which may help. The guard called "
        f"{called} of the {document['planted']} planted ones helpful."
    )
    verdicts = document["verdicts"]
    rows = {source: [row["difference"] for row in document["trials"] if row["source"] == source] for source in verdicts}
    yield from head("source", "mean difference", "verdicts")
    for source, found in verdicts.items():
        yield line(
            source,
            f"{sum(rows[source]) / len(rows[source]):+.3f}",
            ", ".join((f"{count} `{verdict}`" for verdict, count in found.items())),
        )
    power = load("guard_power")
    yield from section("What the guard misses", power["command"])
    yield from said(
        "The share of trials in which the guard says `helps`, by the true gain in Dice and the number of held-out "
        "patients. Patients differ as those of the left atrium do between scratch and each method of transfer "
        f"(standard deviation of a patient's difference {power['spread']:.3f}); {power['trials']} trials for each "
        "cell. The rest is missed. In the row without a gain it is the rate of false alarms; the verdict is `hurts` "
        f"there in {_false_harm(power)}: a few of these patients gain much and most lose a little, and a small sample "
        "may hold none of the former."
    )
    patients = list(dict.fromkeys(row["patients"] for row in power["rows"]))
    shares = {
        gain: [row["verdicts"].get("helps", 0) / power["trials"] for row in power["rows"] if row["gain"] == gain]
        for gain in dict.fromkeys(row["gain"] for row in power["rows"])
    }
    yield from head("gain", *(f"{n} patients" for n in patients))
    for gain, cells in shares.items():
        yield line(f"{gain:.2f}", *(f"{share:.0%}" for share in cells))


def _false_harm(power: Mapping[str, Any]) -> str:
    """How often the guard says `hurts` without a gain, over the numbers of patients."""
    shares = [row["verdicts"].get("hurts", 0) / power["trials"] for row in power["rows"] if row["gain"] == 0]
    return f"{min(shares):.0%} to {max(shares):.0%}"


def _advised() -> Iterator[str]:
    """How often advise's choice is the best that the curves know."""
    yield from section("Does `voxgraft advise` choose the best?", load("advise_score")["command"])
    yield from said(
        "`advise` was run for each number of labels of the curves above, on a workflow that trains from scratch. "
        "`leads` is the arm that was ahead at the end, `proposed` the one in the workflow that it wrote. `rests on` "
        "says whether the trial found it on these data or, if it could not tell, on other data sets: the curves of "
        f"this page are among those, so such rows do not test the proposal. {_left_out()}"
    )
    yield from _trials(load("advise_score"))
    if (RESULTS / "advise_score_busy.json").exists():
        document = load("advise_score_busy")
        yield ""
        yield from said(f"On a machine that was busy with other work (`{document['command']}`):")
        yield from _trials(document)


def _left_out() -> str:
    """Whether the proposal by other data sets would have been right on each data set that it was measured on."""
    gains: dict[str, list[float]] = {}
    for row in known()["gains"]:
        if row["dims"] == 2:
            gains.setdefault(row["data"], []).extend(row["gain"])
    alike = all(min(min(rest) for name, rest in gains.items() if name != data) > 0 for data in gains)
    if not alike:
        return "The data sets do not agree."
    right = sum(min(values) > 0 for values in gains.values())
    return (
        f"With each of the {len(gains)} data sets in 2D left out in turn, the others all speak for ImageNet weights, "
        f"and these gained on it in {right} of {len(gains)}."
    )


def _trials(document: Mapping[str, Any]) -> Iterator[str]:
    """The trials of one file: how long they took, how often they chose the best, and each of them."""
    rows, best = document["rows"], document["best"]
    minutes = _range([row["minutes"] for row in rows], ".1f")
    shared = [row["processor_minutes"] for row in rows if "processor_minutes" in row]
    had = f", with {_range(shared, '.1f')} CPU minutes" if shared else ""
    before = "" if "basis" in rows[0] else " Advice changed nothing without evidence then."
    yield ""
    yield from said(
        f"With {document['minutes']:g} minutes; it took {minutes}{had}. Within {document['close']} of the best arm of "
        f"the curve: what led in {best['first']} of {document['trials']}, what was proposed in {best['proposed']}."
        f"{before}"
    )
    yield from head(
        "data", "labelled", "leads", "proposed", "rests on", "Dice lost by what leads", "by what is proposed", "verdict"
    )
    for row in rows:
        lost = "" if row["lost_by_first"] is None else f"{row['lost_by_first']:.3f}"
        basis = row.get("basis", "this data" if row["verdict"] in ("helps", "hurts") else "nothing")
        cells = [row["data"], row["labels"], row["first"] or "none", row["proposed"], basis, lost]
        yield line(*cells, f"{row['lost_by_proposed']:.3f}", row["verdict"])


def _unlabelled() -> Iterator[str]:
    """What a model's own masks of unlabelled scans add, in 3D."""
    for number, name in enumerate(SELF_TRAINING):
        document = load(name)
        spacing = f"{document['spacing_mm']:g} mm"
        title = "The left atrium in 3D: few labels, and scans without any"
        yield from section(title if not number else f"The same at {spacing}", document["command"])
        yield from said(
            f"Volumes at {spacing} from scratch, bfloat16, one core. `plain` learns from the labelled scans for "
            f"{document['steps']:,} steps; `longer` continues for {document['more']:,} more; `self-training` continues "
            "for as many on these and on the other training scans, with the masks that `plain` gave them. Scored once "
            "on twenty scans, `la_020` to `la_039`, on which nothing was tuned. They were cropped around their "
            "reference masks in x and y. The literature's V-Net has 0.800 with 8 labels and 0.911 with 80, on other "
            "scans of the same challenge."
        )
        for measured in document["tables"]:
            yield ""
            yield f"{measured['labels']} labelled scans:"
            yield from _arms(measured, "parameters")


def _strategies() -> Iterator[str]:
    document = load("strategies")
    runs = document["runs"]
    yield from section("The left atrium: eight labelled scans, 2D, ImageNet weights", document["command"])
    yield from said(
        f"`workflows/atrium_2d_strategies.yaml`: EfficientNet-Lite0 with a U-Net, {runs[0]['steps']} steps of 12 "
        f"slices, {_seeds(runs)}; scored in 3D on twenty other scans. The volumes were cropped around their "
        "reference masks in x and y, which makes finding the atrium easier than on whole scans. "
        "`freeze-cache` learns from 32 fixed patches of each scan, whose maps are computed once."
    )
    yield from _arms(document, "parameters trained")
    yield ""
    yield from said(
        "Each method gains over scratch. An earlier pilot with other code, slices of 1.6 mm and one seed gave +0.076 "
        "for fine-tuning."
    )
    yield ""
    yield from said(
        "L2-SP leads. Its difference from each of the others, paired by patient: "
        + "; ".join(f"`{arm}` {_difference(one)}" for arm, one in _paired(runs, "l2-sp").items() if arm != "scratch")
        + ". This is one data set, and the best row of a table looks better than it is because it was picked. "
        "`voxgraft new` and "
        "`voxgraft advise` propose L2-SP first where pretrained weights are available; the curves above used it."
    )
    longer = load("strategies_long")
    steps, gain = longer["runs"][0]["steps"], longer["comparisons"][0]
    first, second = longer["arms"]
    yield ""
    yield from said(
        f"How much of it is speed alone? With {steps:,} steps ({_seeds(longer['runs'])}) scratch has "
        f"{first['dice']['mean']:.4f} and {second['arm']} {second['dice']['mean']:.4f}: {_signed(gain)}, "
        f"{gain['verdict']}."
    )


def _paired(runs: Sequence[Mapping[str, Any]], arm: str) -> dict[str, dict[str, Any]]:
    """An arm less each of the others, patient by patient, over the mean of the seeds."""
    cases = sorted(runs[0]["cases"])
    means = {
        name: np.mean([[row["cases"][case] for case in cases] for row in runs if row["arm"] == name], axis=0)
        for name in dict.fromkeys(str(row["arm"]) for row in runs)
    }
    apart = {name: means[arm] - mean for name, mean in means.items() if name != arm}
    corrected = holm([randomisation_p(difference) for difference in apart.values()])
    drawn = np.random.default_rng(7).integers(0, len(cases), (5000, len(cases)))
    return {
        name: {
            "difference": float(difference.mean()),
            "ci95": np.percentile(difference[drawn].mean(axis=1), [2.5, 97.5]).tolist(),
            "verdict": "no evidence" if p >= 0.05 else "better" if difference.mean() > 0 else "worse",
        }
        for (name, difference), p in zip(apart.items(), corrected, strict=True)
    }


def _kept() -> Iterator[str]:
    document = load("kept_features")
    yield from section("Kept features", document["command"])
    yield from said(
        f"CPU seconds for a step of {document['patches'].replace(' of', ' patches of')} (left atrium), "
        "on the same fixed patches: all of the network trained, the encoder frozen, and frozen with its maps kept."
    )
    yield from head("encoder", "decoder", "all trained", "frozen", "maps kept", "times frozen", "times all trained")
    for row in document["rows"]:
        seconds = tuple(row["seconds"].values())
        (whole, frozen, kept) = seconds
        rest = (frozen, whole)
        yield line(
            row["encoder"],
            f"`{row['decoder']}`",
            *(f"{one:.3f}" for one in seconds),
            *(f"{one / kept:.1f}" for one in rest),
        )


def _curve() -> Iterator[str]:
    document = load("label_curve")
    curve = document["curve"]
    names = [one["arm"] for one in curve[0]["arms"]]
    draws = sorted({row["seed"] for point in curve for row in point["runs"]})
    yield from section("The hippocampus: Dice over the number of labelled patients", document["command"])
    yield from said(
        "`workflows/hippocampus_pretrain.yaml` filled in masked blocks of the 160 training scans for "
        f"{document['pretraining']['steps']} steps; `workflows/hippocampus_few_labels.yaml` then takes "
        f"{curve[0]['runs'][0]['steps']} steps of two patches in 3D. {_count(len(draws))} of labelled "
        "patients, 40 held-out patients. `l2-sp` and `lora` start from the self-supervised encoder; "
        "`mean-teacher` starts from nothing and learns from the unlabelled rest as well."
    )
    yield from head("labelled", *names)
    for point in curve:
        yield line(
            point["labels"], *(f"{one['dice']['mean']:.4f} ({_interval(one['dice']['ci95'])})" for one in point["arms"])
        )
    yield ""
    yield from said("Against scratch, mean difference, interval and verdict:")
    yield from head("labelled", *names[1:])
    for point in curve:
        yield line(point["labels"], *map(_difference, point["comparisons"]))
    yield ""
    few, many = curve[0], curve[-1]
    gained = many["arms"][0]["dice"]["mean"] - few["arms"][0]["dice"]["mean"]
    yield from said(
        f"No effect. From scratch, {many['labels']} labels give {gained:+.4f} over {few['labels']}: the scans are "
        "crops around the structure, so there is little to gain. Intervals are over patients and do not include the "
        "variation between seeds and draws, so differences of a few thousandths mean nothing. A step of the mean "
        "teacher took several times as long."
    )
    short = load("label_curve_300")
    rows = [(point["labels"], one) for point in short["curve"] for one in point["comparisons"]]
    lost = ", ".join(f"{one['difference']:+.4f} at {n}" for n, one in rows if one["run"] == "teacher-kept")
    found = {one["verdict"] for _, one in rows if one["run"] != "teacher-kept"}
    yield ""
    yield from said(
        f"With {short['curve'][0]['runs'][0]['steps']} steps, after {short['pretraining']['steps']} of pretraining "
        f"(`label_curve_300.json`), the first three methods had {' and '.join(f'`{one}`' for one in sorted(found))} at "
        "each number of labels. The mean teacher, which then kept the teacher, differed by "
        f"{lost}: in so short a training a teacher averages over the first steps for too long. Now the student is kept."
    )


def _brain() -> Iterator[str]:
    document = load("brain_tissue")
    yield from section("Grey and white matter: deepbet's 3D weights", document["command"])
    yield from said(
        "Blocks of ONE brain, the MNI152 template, with different deformation and simulated acquisition; the scored "
        "blocks are deformed, biased and noisy beyond those of training. This shows whether the weights suit the task, "
        "and nothing about patients: the intervals are over deformed copies of one head. "
        f"`workflows/brain_tissue_deepbet.yaml`, {document['runs'][0]['steps']} steps, "
        f"{len({row['draw'] for row in document['runs']})} draws of labelled blocks; each method has the learning rate "
        f"that did best on tuning blocks ({', '.join(f'{arm} {rate:g}' for arm, rate in document['rates'].items())})."
    )
    names = list(document["means"][0]["dice"])
    against = {(one["labelled"], one["run"]): one for one in document["comparisons"] if one["structure"] == "mean"}
    yield from head("labelled", "method", *(f"Dice, {name}" for name in names), "difference of means", "verdict")
    for one in document["means"]:
        yield line(
            one["labelled"],
            f"`{one['arm']}`",
            *(f"{one['dice'][name]['mean']:.4f}" for name in names),
            *_judged(against.get((one["labelled"], one["arm"]))),
        )


def _shift() -> Iterator[str]:
    document = load("domain_shift")
    titles = {
        "invert": "Inverted contrast",
        "warp": "Contrast warped (a power of 2.5) and half the resolution within slices",
    }
    yield from section("Another site without labels", document["command"])
    yield from said(
        "`workflows/atrium_shift.yaml`: eight labelled scans of the left atrium as they are (the source), and twelve "
        "altered ones without labels (the site). Scored on twenty further scans, altered as at the site, and as they "
        "are."
    )
    for shift, found in document["shifts"].items():
        yield ""
        yield f"{titles[shift]}; {found['runs'][0]['steps']} steps, {_seeds(found['runs'])}:"
        against = {one["run"]: one for one in found["comparisons"]}
        yield from head("method", "Dice on the site", "interval", "difference", "verdict", "Dice on the source")
        for one in found["arms"]:
            yield line(*_scored(one), *_judged(against.get(one["arm"])), f"{found['source'][one['arm']]['mean']:.4f}")
    yield ""
    yield from said(
        "`statistics` only lets BatchNorm's averages follow the site. With inverted contrast, this is most of "
        "what any method gains, and all of them stay useless: such a site needs an augmentation that inverts contrast, "
        "or a few labels. One seed."
    )
    turned = load("domain_shift_turned")["shifts"]
    told = []
    for shift, arms in turned.items():
        without, augmented = (one["dice"]["mean"] for one in arms["arms"])
        (found,) = arms["comparisons"]
        told.append(f"{augmented:.4f} instead of {without:.4f} ({shift}: {_signed(found)}, {found['verdict']})")
    before, after = turned["invert"]["source"].values()
    yield ""
    yield from said(
        "With such an augmentation, `modality: {use: mr, augmentation: {invert: 0.5}}`, and no scan of the site "
        f"(`domain_shift_turned.json`): source only has {', '.join(told)}, and on the source {after['mean']:.4f} "
        f"instead of {before['mean']:.4f}."
    )


def _drive() -> Iterator[str]:
    document = load("drive")
    arms, guards = document["arms"], document["guard"]
    yield from section("Vessels of the retina (DRIVE), five-fold cross-validation", document["command"])
    yield from said(
        "`workflows/drive_crossvalidation.yaml` (U-Net) and `workflows/drive_deeplab.yaml` (DeepLabV3+) on the twenty "
        "training images, each scored once, within its field of view, by the network that did not learn from it; "
        f"{arms[0]['steps']} steps in each fold. A U-Net of the literature has about 0.81 on the twenty official test "
        "images, which are others, after training for far longer."
    )
    yield from head("decoder", "start", "F1", "interval", "precision", "recall", "seconds of a fold")
    for one in arms:
        yield line(
            f"`{one['decoder']}`",
            one["start"],
            f"{one['dice']['mean']:.4f}",
            _interval(one["dice"]["ci95"]),
            f"{one['precision']['mean']:.4f}",
            f"{one['recall']['mean']:.4f}",
            f"{median(one['seconds']):.0f}",
        )
    yield ""
    for decoder, one in guards.items():
        yield f"- `{decoder}`, ImageNet minus scratch: {_signed(one)}, {one['verdict']}"
    more = document["longer"]
    if more:
        first, second = more["arms"]
        yield ""
        yield from said(
            f"With {first['steps']} steps on {len(first['seconds'])} of the five folds ({len(first['f1'])} images) the "
            f"U-Net has {first['dice']['mean']:.4f} from ImageNet and {second['dice']['mean']:.4f} from scratch: "
            f"{_signed(more['difference'])}, {more['difference']['verdict']}."
        )


def _open() -> Iterator[str]:
    yield ""
    yield "## Elsewhere, and not measured"
    yield ""
    yield from said(
        "[How transfer is judged](evidence.md) shows what the guard says of a planted harmful source and of twins. "
        "`workflows/atrium_3d.yaml`, the left atrium in 3D at full resolution with scans without labels, needs "
        "a GPU and was not run."
    )


def _arms(document: Mapping[str, Any], trained: str) -> Iterator[str]:
    """Each arm with its mean, its difference from the first, seconds and size."""
    against = {one["run"]: one for one in document["comparisons"]}
    first = document["arms"][0]["arm"]
    yield from head("method", "Dice", "interval", f"minus {first}", "verdict", "seconds", trained, "by seed")
    for one in document["arms"]:
        yield line(
            *_scored(one),
            *_judged(against.get(one["arm"])),
            f"{one['seconds']:.0f}",
            f"{one['trained']:,}",
            ", ".join(f"{value:.3f}" for value in one["by_seed"]),
        )


def _scored(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"`{one['arm']}`", f"{one['dice']['mean']:.4f}", _interval(one["dice"]["ci95"])


def _judged(one: Mapping[str, Any] | None) -> tuple[str, str]:
    """The difference from the first arm and the verdict; empty for the first itself."""
    return ("", "") if one is None else (_signed(one), one["verdict"])


def _difference(one: Mapping[str, Any]) -> str:
    return f"{_signed(one)}, {one['verdict']}"


def _signed(one: Mapping[str, Any]) -> str:
    low, high = one["ci95"]
    return f"{one['difference']:+.4f} ({low:+.4f} to {high:+.4f})"


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.4f} to {ends[1]:.4f}"


def _seeds(runs: Sequence[Mapping[str, Any]]) -> str:
    seeds = sorted({row["seed"] for row in runs})
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def _count(draws: int) -> str:
    return "One draw" if draws == 1 else f"{draws} nested draws"


if __name__ == "__main__":
    PAGE.write_text(render())
