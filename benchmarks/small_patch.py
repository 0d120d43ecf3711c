"""Train the hippocampus with the patch that covers small scans and with that of their median, and compare Dice.

    python benchmarks/small_patch.py [--steps 300] [--seeds 3] [--out benchmarks/results/small_patch.json]

The plan covers a scan of 35x51x35 voxels with one window of 40x56x40, where the patch of the median (32x48x32) takes
eight; if prediction alone took fewer windows, Dice would fall. So both are trained and scored with the patch that they
predict with: the same steps from the same seeds, which are more voxels a step for the larger patch (see `cpu_s`), one
thread, in turns. The file is written after each training, so that a run that is stopped leaves what it found.
"""

from __future__ import annotations

from bf16_training import compare

ARMS = {
    "as planned, which covers small scans": ["training.patch=auto"],
    "the median's": ["training.patch=[32, 48, 32]"],
}

if __name__ == "__main__":
    compare(__doc__, "small_patch", ARMS)
