"""Jobs side by side in processes of their own, which end with the one that asked for them.

Each job computes on one thread, also where it is the last one or the only one: sums over several
threads are rounded in another order, so the results of a run would change with how many jobs an
earlier one, that was stopped, has left.
"""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection
from typing import Any

import torch

from fimetric.arguments import whole_or_none
from fimetric.gradients.machine import one_thread
from fimetric.progress import progress as show_progress

Job = tuple[float, Callable[..., Any], tuple[Any, ...]]  # work, function, arguments


def do(what: str, jobs: Sequence[Job], processes: int | None, progress: bool) -> list[Any]:
    """Do jobs and return their results in the order of the jobs.

    Arguments:
        what: what is being done, for the progress bar.
        jobs: the work of each (in any unit), a function and its arguments.
        processes: at most so many side by side, by default one a core; 1 does all in this process.
        progress: whether to show a bar.
    """
    whole_or_none("jobs", processes)
    processes = min(processes or os.cpu_count() or 1, max(len(jobs), 1))
    total = sum(work for work, _, _ in jobs)
    with show_progress(what, round(total), progress and bool(jobs)) as advance:
        if processes > 1:
            return _side_by_side(jobs, processes, advance)
        results = []
        with one_thread():
            for work, function, arguments in jobs:
                results.append(function(*arguments))
                advance(round(work))
        return results


def _side_by_side(jobs: Sequence[Job], processes: int, advance: Callable[..., None]) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with ours, theirs, ProcessPoolExecutor(processes, context, _begin, (theirs,)) as pool:
        futures = {pool.submit(f, *arguments): work for work, f, arguments in jobs}
        try:
            for done in as_completed(futures):
                done.result()
                advance(round(futures[done]))
        except BaseException:
            ours.close()  # the processes end now, not after their jobs
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _begin(connection: Connection) -> None:
    """Prepare a process: one thread, few messages, and its end with the other end of a pipe."""
    torch.set_num_threads(1)
    logging.getLogger("fimetric").setLevel(logging.WARNING)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()


def _end_with(connection: Connection) -> None:
    """Wait until the other end is closed, if only because its process was killed; then leave.

    At once: all that is kept is in files that are whole or not there.
    """
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)
