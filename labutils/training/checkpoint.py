"""Checkpoints that a killed run goes on from: every variable of a run, and what it remembers besides."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FILE = "checkpoint.npz"


def save(work: Path, variables: Sequence[Any], note: Mapping[str, Any]) -> None:
    """Write the variables' values and a note, which JSON must hold, to ``work``: whole or not at all."""
    work.mkdir(parents=True, exist_ok=True)
    half = work / "checkpoint.tmp.npz"
    np.savez(half, note=json.dumps(note), **{f"a{i}": variable.numpy() for i, variable in enumerate(variables)})
    os.replace(half, work / FILE)


def restore(work: Path, variables: Sequence[Any], made_with: Mapping[str, Any]) -> dict[str, Any] | None:
    """Put the values of the checkpoint in ``work`` back into the variables; returns its note, None without a checkpoint.

    Raises
    ------
    ValueError
        Where the note differs from ``made_with``, a mapping of such entries of the note: what differs.
    """
    path = work / FILE
    if not path.exists():
        return None
    with np.load(path) as saved:
        note = json.loads(str(saved["note"]))
        different = []
        for key, now in json.loads(json.dumps(made_with)).items():
            if isinstance(now, dict):
                different += [part for part, value in now.items() if note[key].get(part) != value]
            elif note[key] != now:
                different.append(key)
        if different:
            what = ", ".join(different)
            raise ValueError(f"{path} is of another run (different: {what}); delete it or choose another --work")
        for i, variable in enumerate(variables):
            variable.assign(saved[f"a{i}"])
    return note
