"""Files: weights and photos are here and intact, and what notebooks write to can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from labutils import weights
from labutils.doctor.findings import Finding, listed, ok, problem, warning
from labutils.doctor.packages import install_line

MOST_PHOTOS = 60
"""How many photos of one's own are read; a whole camera roll would take minutes."""


def folders() -> Finding:
    """The current folder and the one of the student's photos can be written."""
    from labutils import photos

    own = photos.photos_folder()
    if not own.is_dir():
        return warning(f"there is no folder for your photos: {own}", f'mkdir "{own}"')
    for folder in (Path.cwd(), own):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return problem(
                f"{folder} cannot be written ({error.strerror})",
                "copy the course to a folder of your own, or have the permissions of this one changed",
            )
    return ok(f"{Path.cwd()} and {own} can be written")


def bundled_weights() -> Finding:
    """Every bundled file has its SHA-256."""
    files = [file for file in weights.files().values() if not file.remote]
    if not files:
        return problem(f"there are none in {weights.models_folder()}", _restore_line())
    damaged = _damaged([file.name for file in files])
    if damaged:
        return problem(f"missing or damaged: {listed(damaged)}", _restore_line())
    return ok(f"{listed([file.name for file in files])}: intact")


def _restore_line() -> str:
    course = weights.models_folder().parents[1]
    if (course / ".git").exists():
        return f'git -C "{course}" checkout -- data/models'
    return f"copy data/models of the course to {weights.models_folder()}, or set LABUTILS_DATA to the course's data/"


def fetched_weights() -> Finding:
    """Those that were fetched are intact; none is needed."""
    states = {file.name: weights.state(file.name) for file in weights.files().values() if file.remote}
    here = [name for name, state in states.items() if state.state == "here"]
    troubles = {
        name: f"{name} is incomplete ({state.detail})" for name, state in states.items() if state.state == "incomplete"
    }
    troubles |= {name: f"{name} is damaged" for name, state in states.items() if state.state == "damaged"}
    troubles |= {name: f"{name} is damaged" for name in _damaged(here)}
    if troubles:
        mend = [f"labutils weights fetch {name}" for name in troubles]
        return warning(f"{listed(list(troubles.values()))}; it is not used", *mend)
    return ok(f"{listed(here)}: intact" if here else "none, and none is needed: the bundled ones do")


def _damaged(names: list[str]) -> list[str]:
    found = []
    for name in names:
        try:
            weights.verify(name)
        except weights.WeightsError:
            found.append(name)
    return found


def sample_photos() -> Finding:
    """Each sample photo can be read."""
    from labutils import photos

    bad = []
    for name in photos.sample_names():
        try:
            photos.sample(name, (32, 32))
        except (OSError, ValueError) as error:
            bad.append(str(error))
    if bad:
        return problem(f"{len(bad)} of {len(photos.sample_names())} cannot be read: {bad[0]}", install_line())
    return ok(f"{listed(photos.sample_names())}: readable")


def own_photos() -> Finding | None:
    """Each photo in data/photos can be read; the notebooks leave out those that cannot."""
    from labutils import photos

    folder = photos.photos_folder()
    if not folder.is_dir():
        return None  # `folders` says so.
    entries = sorted(entry for entry in folder.iterdir() if entry.name.lower() not in photos._LITTER)
    if not entries:
        return ok(f"none in {folder}; the notebooks take sample photos")
    bad = []
    for entry in entries[:MOST_PHOTOS]:
        try:
            photos.load(entry, (32, 32))
        except (OSError, ValueError) as error:
            bad.append(f"{entry.name}: {str(error).removeprefix(f'{entry} ')}")
    seen = f"the first {MOST_PHOTOS} of {len(entries)}" if len(entries) > MOST_PHOTOS else f"{len(entries)}"
    if bad:
        return warning(f"{len(bad)} of {seen} in {folder} cannot be read and are left out", *bad)
    return ok(f"{seen} in {folder}{os.sep}: readable")
