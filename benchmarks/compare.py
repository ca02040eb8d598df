"""One method, ours and everybody else's, in turns: seconds, passes, and how far the maps agree."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.agreement import Agreement, agreement
from benchmarks.libraries import Library, Rival, rivals_of
from benchmarks.methods import Method, Options
from benchmarks.scene import Scene
from benchmarks.timing import Timing, interleaved

LABUTILS = "labutils"
FORWARD = "one forward pass"
SECONDS = 20.0
"""A method's rounds end when its block has taken so long, though not before the second."""


@dataclass
class Row:
    """A line of the table.

    Attributes
    ----------
    method : str
        The function of `labutils.explain`.
    library, calls : str
        Whose, and what it is called there.
    timing, forward : Timing or None
        Seconds of the work, and of one forward pass of the same network in the same framework, in the same turns.
    passes : str
        Image-passes forwards and backwards, as counted; of labutils only.
    agreement : Agreement or None
        With our map.
    differs : str
        What is not the same by design.
    fails : str
        Why it could not be run.
    memory : float or None
        MB that it added to the loaded model in a process of its own.
    """

    method: str
    library: str
    calls: str
    timing: Timing | None = None
    forward: Timing | None = None
    passes: str = ""
    agreement: Agreement | None = None
    differs: str = ""
    fails: str = ""
    memory: float | None = None


def compare(method: Method, scene: Scene, options: Options, rounds: int) -> list[Row]:
    """Run one method with every library that has it."""
    from labutils.explain import count_passes

    print(f"{method.name} {dict(options)}", file=sys.stderr, flush=True)
    image = scene.images[:1]
    work: dict[str, Callable[[], Any]] = {FORWARD: lambda: scene.forward(image)}
    work[LABUTILS] = lambda: method.run(scene, options)
    scene.forward(image)
    with count_passes() as passes:
        work[LABUTILS]()
    rows = [Row(method.name, LABUTILS, method.name, passes=f"{passes.forward} + {passes.backward}")]

    reference = method.map(scene, options)
    for library, rival in rivals_of(method.name):
        row, run = _tried(library, rival, scene, options, reference)
        rows.append(row)
        if run is not None:
            work[_key(row)] = run
            if library.own_forward:
                work[f"{library.name} {FORWARD}"] = _own_forward(library, scene)

    timings = interleaved(work, rounds, budget=SECONDS, warm_up=False)
    for row in rows:
        row.timing = timings.get(_key(row))
        row.forward = timings.get(f"{row.library} {FORWARD}", timings[FORWARD])
    return rows


def _key(row: Row) -> str:
    return LABUTILS if row.library == LABUTILS else f"{row.library} {row.calls}"


def _tried(
    library: Library, rival: Rival, scene: Scene, options: Options, reference: Any
) -> tuple[Row, Callable[[], Any] | None]:
    """A rival's row, with its agreement, and its work, warmed up; no work where it fails."""
    row = Row(rival.method, library.name, rival.calls, differs=rival.differs)
    try:
        run = rival.prepare(scene, options)
        theirs = run()
        if rival.compared is not None:
            theirs = rival.compared(scene, options)()
        if theirs is not None and reference is not None:
            row.agreement = agreement(reference, theirs)
    except Exception as error:  # another library's failure is a result, not the end of the run
        row.fails = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
        return row, None
    return row, run


def _own_forward(library: Library, scene: Scene) -> Callable[[], None]:
    from importlib import import_module

    run = import_module(f"benchmarks.libraries.{library.file}").forward(scene)
    run()
    return run
