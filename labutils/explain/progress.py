"""A progress bar for long work, that stays away from short work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Progress = None | bool | Callable[[int, int], object]
"""None: a bar once the work has taken two seconds; True: at once; False: never; or a function of (done, total)."""

Item = TypeVar("Item")


def track(items: Sequence[Item], progress: Progress, title: str) -> Iterator[Item]:
    """Go through items and show how far it is.

    Parameters
    ----------
    items : sequence
        The pieces of work.
    progress : None, bool or callable
        None shows a bar once the work has taken two seconds, True at once, False never; a function is called with
        (pieces done, pieces in all) after each piece.
    title : str
        What the bar says.
    """
    if callable(progress):
        for done, item in enumerate(items, start=1):
            yield item
            progress(done, len(items))
    elif progress is False:
        yield from items
    else:
        from tqdm.auto import tqdm

        yield from tqdm(items, desc=title, delay=0 if progress else 2, leave=False)
