"""Holds Python code back by Python's audit events, where the system has nothing better.

It keeps accidents in, and not somebody who means it: a call of the C library raises no event.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NETWORK_EVENTS = {
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
}
PROCESS_EVENTS = {
    "os.kill",
    "os.killpg",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.startfile/2",
    "pty.spawn",
    "subprocess.Popen",
    "_winapi.CreateProcess",
}
LOOK_EVENTS = {"open", "os.listdir", "os.scandir", "os.chdir"}
FORK_EVENTS = {"os.fork", "os.forkpty"}
CHANGE_EVENTS = {
    "shutil.rmtree",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "os.utime",
}


def restrict(folder: Path, hidden: tuple[Path, ...], *, may_fork: bool) -> None:
    """Refuse Python code in this process, for good, what would reach beyond it: the network, other processes, writing
    outside ``folder``, reading in ``hidden``. For where there are no namespaces; code that is not Python is not held.

    ``may_fork`` where whatever it starts will be found and ended.
    """
    inside, secret = os.path.realpath(folder), tuple(os.path.realpath(path) for path in hidden)
    process = os.getpid()

    def lies_in(path: Any, folders: Iterable[str]) -> bool:
        if isinstance(path, int) or path is None:
            return False
        full = os.path.realpath(os.fsdecode(path))
        return any(full == each or full.startswith(each + os.sep) for each in folders)

    def refuse(event: str, arguments: tuple) -> None:
        if event in NETWORK_EVENTS and not (event.startswith("socket.") and _is_local(arguments)):
            raise PermissionError("there is no network while an answer is graded")
        if event in PROCESS_EVENTS and not (event == "os.kill" and arguments[0] == process):
            raise PermissionError("other processes are out of reach while an answer is graded")
        if event in FORK_EVENTS and not may_fork:
            raise PermissionError("other processes are out of reach while an answer is graded")
        if event in LOOK_EVENTS and lies_in(arguments[0], secret) and not lies_in(arguments[0], (inside,)):
            raise PermissionError("this place is out of reach while an answer is graded")
        # `os.open`: a folder opened so could be written in by names that are relative to it, which no event tells.
        if (
            event == "open"
            and arguments[1] is None
            and not lies_in(arguments[0], (inside,))
            and os.path.isdir(arguments[0])
        ):
            raise PermissionError("only the folder it starts in can be opened while an answer is graded")
        writes = event in CHANGE_EVENTS or (event == "open" and _writes(arguments))
        places = [path for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike)]
        if writes and any(not lies_in(path, (inside, os.devnull)) for path in places[: 1 if event == "open" else 2]):
            raise PermissionError("only the folder it starts in can be changed while an answer is graded")

    sys.addaudithook(refuse)


def _is_local(arguments: tuple) -> bool:
    """Whether a socket's event is about one of this machine, whose address is a path."""
    return len(arguments) > 1 and isinstance(arguments[1], str | bytes)


def _writes(arguments: tuple) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
