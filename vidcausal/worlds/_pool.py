"""A function over tasks in several processes, which end at once when they are no longer wanted.

The processes are forked: they need nothing imported anew, and use neither torch nor threads of the parent. Ctrl-C
reaches only the parent, which then ends the others; a worker whose parent has died stops after its task.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar, cast

from vidcausal.errors import VidcausalError

Task = TypeVar("Task")
Result = TypeVar("Result")

_PATIENCE = 5.0


def run(
    function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Generator[tuple[Task, Result], None, None]:
    """Each task with its result, in the order in which they are done. Close the iterator to end the processes.

    Args:
        function: of one task; what it captures is copied into each process.
        tasks: what is to be done; begun in this order.
        jobs: processes; with 1, or a single task, everything happens here.

    Raises:
        VidcausalError: one that ``function`` raised, or a process died.
        RuntimeError: ``function`` raised something else; the message has its traceback.
    """
    if min(jobs, len(tasks)) <= 1:
        for task in tasks:
            yield task, function(task)
        return
    workers: dict[Connection, BaseProcess] = {}
    try:
        _start(workers, function, min(jobs, len(tasks)))
        waiting = iter(tasks)
        doing: dict[Connection, Task] = {}
        for pipe in workers:
            _give(pipe, waiting, doing)
        while doing:
            for pipe in cast("list[Connection]", wait(list(doing))):
                task = doing.pop(pipe)
                result = _receive(pipe, workers[pipe])
                # The worker has its next task before this result is looked at.
                _give(pipe, waiting, doing)
                yield task, result
    finally:
        _end(workers)


def _start(workers: dict[Connection, BaseProcess], function: Callable[[Any], Any], count: int) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(count):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(function, theirs, os.getpid()), daemon=True)
        workers[ours] = process
        process.start()
        theirs.close()


def _give(pipe: Connection, waiting: Iterator[Task], doing: dict[Connection, Task]) -> None:
    for task in waiting:
        with contextlib.suppress(BrokenPipeError):  # its death is seen when its result is waited for
            pipe.send(task)
        doing[pipe] = task
        return


def _receive(pipe: Connection, process: BaseProcess) -> Any:
    try:
        kind, value = pipe.recv()
    except (EOFError, ConnectionError) as error:
        process.join(_PATIENCE)
        raise VidcausalError(
            f"a worker process died (exit code {process.exitcode}), perhaps for want of memory; "
            "run the same command again, if need be with fewer --jobs: what is finished is kept"
        ) from error
    if kind is None:
        return value
    raise kind(value)


def _end(workers: dict[Connection, BaseProcess]) -> None:
    for pipe, process in workers.items():
        if process.pid is not None and process.is_alive():
            process.terminate()
        pipe.close()
    for process in workers.values():
        if process.pid is None:
            continue
        process.join(_PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()


def _work(function: Callable[[Any], Any], pipe: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            # Other workers hold copies of the parent's end, so its death does not close the pipe.
            while not pipe.poll(1.0):
                if os.getppid() != parent:
                    return
            pipe.send(_outcome(function, pipe.recv()))


def _outcome(function: Callable[[Any], Any], task: Any) -> tuple[type[Exception] | None, Any]:
    """The result, or the kind and the message of an error: not every error can be sent itself."""
    try:
        return None, function(task)
    except VidcausalError as error:
        return (type(error) if type(error).__init__ is Exception.__init__ else VidcausalError), str(error)
    except Exception:
        return RuntimeError, traceback.format_exc()


def _stop(number: int, frame: FrameType | None) -> None:
    # An exception rather than the default, so that a half-written file and a running ffmpeg are cleaned up.
    raise SystemExit(0)
