"""The executor of one machine: threads or processes, by what the batch has to use."""

from __future__ import annotations

from voxgraft.plugin import Executor, ExecutorOptions

from .options import gpus


def local(options: ExecutorOptions) -> Executor:
    """Processes for several GPUs, or for several workers on a CPU, or where a limit is to be kept; else threads.

    One GPU is kept busy by one copy of the model, with scans read and written beside it; a second copy would only take
    its memory.
    """
    limited = options.seconds is not None or options.gigabytes is not None
    if limited or ((options.workers or 1) > 1 and gpus(options.device) != 1):
        from .processes import Processes

        return Processes(options)
    from .threads import Threads

    return Threads(options)
