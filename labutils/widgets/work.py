"""Work in the background: the newest request is what counts, and nothing freezes while it runs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

REPORTS_EACH_SECOND = 5
"""How often progress is handed on: every word to the browser is a message."""

KEPT = 64
"""So many results are kept; of these the ones used last."""


def threads_reach_the_browser() -> bool:
    """Whether what a thread sets in a widget is shown; Colab shows it only at the end of a cell or callback.

    https://github.com/googlecolab/colabtools/issues/3373
    """
    return "google.colab" not in sys.modules


class Stopped(Exception):
    """The work was stopped: by a click, or because something else was asked for."""


Report = Callable[[int, int], None]
"""Takes (pieces done, pieces in all); raises `Stopped` where the work is not wanted any more."""


class Job:
    """One request while it runs."""

    def __init__(self, key: Hashable, on_progress: Callable[[Job, int, int], None]):
        self.key = key
        self.over = threading.Event()
        self._unwanted = threading.Event()
        self._on_progress = on_progress
        self._reported = 0.0

    def stop(self) -> None:
        self._unwanted.set()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the job is given up."""
        self._unwanted.wait(seconds)

    @property
    def wanted(self) -> bool:
        return not self._unwanted.is_set()

    def report(self, done: int, total: int) -> None:
        """To be handed to the work as its ``progress``."""
        if not self.wanted:
            raise Stopped
        now = time.monotonic()
        if now - self._reported >= 1 / REPORTS_EACH_SECOND:
            self._reported = now
            self._on_progress(self, done, total)


class Background:
    """Does one piece of work at a time, beside the kernel's own thread, and keeps the results.

    Whoever asks again gives up what was asked for before: that work stops at its next report or, where it makes none,
    ends unheeded (its result is kept all the same). The callbacks run in the working thread.

    Parameters
    ----------
    work : callable
        ``work(key, report)`` makes the result for a key.
    finished, failed : callable
        Called with (key, result), or (key, the exception).
    progress : callable
        Called with (done, total) now and then while the work reports.
    started : callable, optional
        Called with the key when there is something to wait for.

    Attributes
    ----------
    asking : lock
        Held during every callback; whoever holds it too has no callback come in between.
    """

    def __init__(
        self,
        work: Callable[[Any, Report], Any],
        finished: Callable[[Any, Any], None],
        failed: Callable[[Any, Exception], None],
        progress: Report,
        started: Callable[[Any], None] = lambda key: None,
    ):
        self._work, self._finished, self._failed, self._progress = work, finished, failed, progress
        self._started = started
        self._results: dict[Hashable, Any] = {}
        self._newest: Job | None = None
        self.asking = threading.RLock()  # who is the newest, and what is shown, change under it alone
        self._working = threading.Lock()  # two pieces of work at once would take twice as long each

    def ask(self, key: Hashable, pause: float = 0.0) -> None:
        """Have the result for a key: now where it is kept, else when it is made.

        The work begins after a pause, in seconds, for what is asked for many times while a slider moves.
        """
        with self.asking:
            if self._newest is not None:
                if self._newest.key == key and self._newest.wanted and not self._newest.over.is_set():
                    return
                self._newest.stop()
            job = self._newest = Job(key, self._advance)
            if key in self._results:
                self._results[key] = self._results.pop(key)
                try:
                    self._finished(key, self._results[key])
                finally:
                    job.over.set()
                return
            self._started(key)
        if not threads_reach_the_browser():
            self._do(job)
            return
        # A daemon: work that nobody waits for must not keep the kernel from ending.
        threading.Thread(target=self._do, args=[job, pause], name="labutils.widgets", daemon=True).start()

    def stop(self) -> None:
        """Give up what is being done."""
        with self.asking:
            if self._newest is not None:
                self._newest.stop()

    def keeps(self, key: Hashable) -> bool:
        """Whether there is a result for a key."""
        return key in self._results

    @property
    def busy(self) -> bool:
        newest = self._newest
        return newest is not None and not newest.over.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the newest request is over, at most so many seconds; returns whether it is."""
        limit = None if seconds is None else time.monotonic() + seconds
        while self.busy:
            newest = self._newest
            if not newest.over.wait(None if limit is None else max(0.0, limit - time.monotonic())):
                return False
        return True

    def _do(self, job: Job, pause: float = 0.0) -> None:
        result, problem = None, None
        job.pause(pause)
        with self._working:
            if job.wanted:
                try:
                    result = self._work(job.key, job.report)
                    self._keep(job.key, result)
                except Exception as error:  # Whatever a model does: a widget says it and goes on.
                    problem = error
                except KeyboardInterrupt:  # the kernel's, where the work is done in its own thread
                    job.stop()
        with self.asking:
            try:
                if job is not self._newest:
                    return  # Something else is shown by now.
                if not job.wanted:
                    self._failed(job.key, Stopped())
                elif problem is not None:
                    self._failed(job.key, problem)
                else:
                    self._finished(job.key, result)
            finally:
                job.over.set()

    def _advance(self, job: Job, done: int, total: int) -> None:
        with self.asking:
            if job is self._newest and job.wanted:
                self._progress(done, total)

    def _keep(self, key: Hashable, result: Any) -> None:
        with self.asking:
            self._results[key] = result
            while len(self._results) > KEPT:
                del self._results[next(iter(self._results))]
