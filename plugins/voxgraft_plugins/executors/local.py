"""The executor of one machine: threads or processes, by what the batch has to use."""

from __future__ import annotations

from voxgraft.plugin import Executor, ExecutorOptions

from .options import gpus
from .processes import Processes
from .threads import Threads


def local(options: ExecutorOptions) -> Executor:
    """Processes for several GPUs, or for several workers on a CPU, or where a limit is to be kept; else threads.

    One GPU is kept busy by one copy of the model, with scans read and written beside it; a second copy would only take
    its memory.
    """
    if options.seconds is not None or options.gigabytes is not None:
        return Processes(options)
    if (options.workers or 1) > 1 and gpus(options.device) != 1:
        return Processes(options)
    return Threads(options)
