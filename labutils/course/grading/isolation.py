"""The place where a student's code runs: a process of its own, watched from outside, cut off as far as the system allows.

On Linux a process is forked from one that has imported everything already, so a fresh place costs tens of milliseconds.
Three processes stand one above the other. The *keeper* watches time, memory and output, and ends what passes a limit.
The *first* one inside the namespaces owns all that the student's code starts: when it ends, everything ends. The *student*'s
process gives up every privilege before it runs a line of theirs.

With namespaces (started as root, or where users may make user namespaces) the student's code sees no network, no process but its own, and a
file system that holds Python, its packages and an empty folder. Without them the limits stay, and Python's audit events
keep Python code from the network, from other processes and from files (`audit`); `Isolation.words` says which it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from labutils.course.grading import audit, linux

MB = 2**20
LINUX = sys.platform.startswith("linux")

FREE_USERS = (1_900_000_000, 61_200)
"""Where numbers begin that no system gives to accounts: above systemd's containers, else (inside some containers only the
first 65,536 exist) among those that it gives to services while they run."""


@dataclass(frozen=True)
class Limits:
    """What one answer may use. Sizes in bytes; ``memory`` is what it may take beyond what Python and TensorFlow hold."""

    seconds: float = 60.0
    notebook_seconds: float = 600.0
    memory: int = 4096 * MB
    processes: int = 128
    file: int = 64 * MB
    folder: int = 256 * MB
    output: int = 10 * MB
    record: int = 32 * MB


class End(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    SECONDS = "seconds"
    MEMORY = "memory"
    OUTPUT = "output"
    FOLDER = "folder"
    DIED = "died"


@dataclass(frozen=True)
class Ended:
    """How a run ended; ``detail`` is a signal's name or an exit status where it died."""

    how: End
    detail: str = ""


@dataclass(frozen=True)
class Isolation:
    """What separates a student's code from this machine.

    ``namespaces``: no network, own processes, own file system. ``user``: an account that owns nothing. ``why`` says
    why there are no namespaces.
    """

    namespaces: bool
    user: bool
    why: str = ""

    def words(self) -> str:
        """What an instructor should know, in one line."""
        account = "an account that owns nothing" if self.user else "your own account"
        if self.namespaces:
            return f"no network, no file but Python's own, as {account} (Linux namespaces)"
        sees = "it sees what every account may see" if self.user else "it can read and change what you can"
        return (
            f"limits on time, memory and output; Python code is kept from network, processes and files, as {account}: {sees} "
            f"({self.why}; grade submissions that you do not trust on Linux, in a container or a virtual machine)"
        )


def available(scratch: Path) -> Isolation:
    """Find out, by trying it, what this machine allows; ``scratch`` is an empty folder to try it in.

    `PermissionError` where no account but this one could run anything, and this one is root.
    """
    if not LINUX:
        return Isolation(False, False, f"{sys.platform} has no namespaces")
    user, limits = os.geteuid() == 0, Limits(seconds=30)
    ended = run(lambda: _read_python, scratch, limits, Isolation(True, user))
    if ended.how is End.FINISHED:
        return Isolation(True, user)
    without = Isolation(False, user, f"this system allows no namespaces: {ended.detail or ended.how}")
    if run(lambda: _read_python, scratch, limits, without).how is End.FINISHED:
        return without
    raise PermissionError(
        f"started as root, and the account that students' code gets may not read {sys.base_prefix}; "
        "start as an ordinary user, or with Python where every account can read it"
    )


def _read_python() -> None:
    """What an answer may need at any time: a part of Python that is read only when it is used, and labutils."""
    Path(os.__file__).read_bytes()
    Path(__file__).read_bytes()


# ---------------------------------------------------------------------------------------------------------------------
# The keeper
# ---------------------------------------------------------------------------------------------------------------------


def run(
    prepare: Callable[[], Callable[[], None]],
    folder: Path,
    limits: Limits,
    isolation: Isolation,
    hidden: Iterable[Path] = (),
    results: str = "",
) -> Ended:
    """Run what ``prepare`` gives, in a fork of this process and within limits, and wait until nothing of it is left.

    Linux alone. ``prepare`` is called in a fork as well: this process, and so the next run, never holds what it reads.
    It runs in an empty folder, from which the files whose names begin with ``results`` come to be in ``folder``.
    ``hidden`` are folders that it must not see even where they lie inside of what it may read.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    answer, says = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(answer)
        try:
            account = _free_account() if isolation.user else None
            ended = _keep(_Run(prepare(), folder, limits, isolation, tuple(hidden), account, results))
        except BaseException as error:
            ended = Ended(End.DIED, f"{type(error).__name__}: {error}")
        os.write(says, json.dumps(asdict(ended)).encode())
        os._exit(0)
    os.close(says)
    with os.fdopen(answer, "rb") as reports:
        report = reports.read()
    os.waitpid(keeper, 0)
    if not report:
        return Ended(End.DIED, "its keeper was ended from outside")
    ended = json.loads(report)
    return Ended(End(ended["how"]), ended["detail"])


@dataclass(frozen=True)
class _Run:
    """What `run` was asked for; ``account`` is the number of the user that it runs as, None for this one's."""

    target: Callable[[], None]
    folder: Path
    limits: Limits
    isolation: Isolation
    hidden: tuple[Path, ...]
    account: int | None
    results: str


def _keep(run: _Run) -> Ended:
    os.setsid()
    linux.die_with_parent()
    linux.adopt_orphans()  # what the student's code leaves behind becomes a child of the keeper
    if run.account is not None:
        os.chown(run.folder, run.account, run.account)
    output, printed = os.pipe()
    status, tells = os.pipe()
    before = resident_bytes([os.getpid()])
    started = time.monotonic()
    if run.isolation.namespaces:
        linux.leave_namespaces(own_user=not run.isolation.user)
    first = os.fork()
    if first == 0:
        os.close(output)
        os.close(status)
        _first(run, printed, tells)
    os.close(printed)
    os.close(tells)
    ended = _watch(run, first, output, status, before, started)
    _end_all(first, None if run.isolation.namespaces else run.account)
    return ended


def _watch(run: _Run, first: int, output: int, status: int, before: int, started: float) -> Ended:
    """Wait for the end of the run, or for a limit that it passes."""
    bytes_printed, next_look, open_ends = 0, started, [output, status]
    while True:
        ready, _, _ = select.select(open_ends, [], [], 0.05)
        if status in ready:
            said = os.read(status, 200).decode()
            return Ended(End.FINISHED) if said == "0" else Ended(End.DIED, said or "killed")
        if output in ready:
            data = os.read(output, 65536)
            bytes_printed += len(data)
            if not data:
                open_ends.remove(output)
        now = time.monotonic()
        if now - started > run.limits.seconds:
            return Ended(End.SECONDS)
        if bytes_printed > run.limits.output:
            return Ended(End.OUTPUT)
        if now > next_look:
            next_look = now + 0.2
            if _memory_below(first, before, run.limits.memory) > run.limits.memory:
                return Ended(End.MEMORY)
            if _bytes_in(run.folder, run.limits.folder) > run.limits.folder:
                return Ended(End.FOLDER)


def _memory_below(first: int, before: int, enough: int) -> int:
    """Bytes of memory that a process and all its descendants hold, each beyond what it began with, and in memory files."""
    import psutil

    try:
        processes = [child.pid for child in psutil.Process(first).children(recursive=True)]
    except psutil.Error:
        return 0
    held = sum(max(0, resident_bytes([process]) - before) for process in processes)
    return held if held > enough else held + sum(map(_memory_files, processes))


def _memory_files(process: int) -> int:
    """Bytes in a process's open files that are in memory alone, whether it has them mapped or not."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(f"/proc/{process}/fd") as files:
        for file in files:
            with contextlib.suppress(OSError):
                if os.readlink(file.path).startswith("/memfd:"):
                    total += os.stat(file.path).st_blocks * 512
    return total


def resident_bytes(processes: Iterable[int]) -> int:
    """Bytes of memory that processes hold; one that has ended holds none."""
    import psutil

    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(process).memory_info().rss
    return total


def _bytes_in(folder: Path, enough: int) -> int:
    """Bytes that the files below a folder take, each at least one block; counting stops at ``enough``."""
    total, folders = 0, [folder]
    while folders and total <= enough:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += max(4096, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                if total > enough:
                    break
    return total


def _end_all(first: int, account: int | None) -> None:
    """End the first process and all that is left of the run, and wait until it is gone.

    With namespaces the end of the first process is the end of all; without, ``account`` says whose processes these are.
    """
    import psutil

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if account is not None:
            _kill_account(account)
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
        except ChildProcessError:
            return


def _kill_account(account: int) -> None:
    """End every process of an account at once: what forks faster than it can be listed does not escape this."""
    killer = os.fork()
    if killer == 0:
        with contextlib.suppress(OSError):
            os.setresuid(account, account, account)
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(killer, 0)


def _free_account() -> int:
    """A user number that no account has, another for every keeper that runs at the same time."""
    for first in FREE_USERS:
        wanted = first + os.getpid() % 4_000
        trial = os.fork()
        if trial == 0:
            try:
                os.setresuid(wanted, wanted, wanted)
            except OSError:
                os._exit(1)
            os._exit(0)
        if os.waitpid(trial, 0)[1] == 0:
            return wanted
    raise OSError("there is no free account to run an answer as")


# ---------------------------------------------------------------------------------------------------------------------
# Inside
# ---------------------------------------------------------------------------------------------------------------------


def _first(run: _Run, printed: int, tells: int) -> None:
    """The first process inside: lays out the file system, starts the student's process, says how that ended."""
    try:
        linux.die_with_parent()
        outside = None
        if run.isolation.namespaces:
            outside = linux.make_own_root(run.folder, run.limits.folder, run.account, run.hidden)
        student = os.fork()
        if student == 0:
            _student(run, printed)
        os.close(printed)
        while True:
            process, status = os.wait()
            if process == student:
                break
        code = os.waitstatus_to_exitcode(status)
        if outside is not None and run.results:
            linux.bring_out(run.results, outside, run.limits.record)
        os.write(tells, (signal.Signals(-code).name if code < 0 else str(code)).encode())
    except BaseException as error:
        os.write(tells, f"{type(error).__name__}: {error}"[:200].encode())
    os._exit(0)


def _student(run: _Run, printed: int) -> None:
    """The student's process: gives up what it may do, then runs its target."""
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for stream, source in enumerate((nothing, printed, printed)):
            os.dup2(source, stream)
        os.closerange(3, 4096)
        os.chdir(linux.HOME if run.isolation.namespaces else run.folder)
        _limit(run.limits, alone=run.account is not None)
        if run.account is not None:
            os.setgroups([])
            os.setresgid(run.account, run.account, run.account)
            os.setresuid(run.account, run.account, run.account)
        linux.give_up_privileges()
        if not run.isolation.namespaces:
            audit.restrict(run.folder, run.hidden, may_fork=True)
        run.target()
        sys.stdout.flush()
        status = 0
    finally:
        os._exit(status)


def _limit(limits: Limits, *, alone: bool) -> None:
    import resource

    import psutil

    with open("/proc/self/statm", encoding="ascii") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    # The system counts an account's threads everywhere; one that only we use has none yet.
    others = 0 if alone else sum(process.info["num_threads"] or 0 for process in psutil.process_iter(["num_threads"]))
    for what, most in (
        (resource.RLIMIT_AS, held + limits.memory),
        (resource.RLIMIT_CPU, int(limits.seconds) + 1),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NPROC, others + limits.processes),
        (resource.RLIMIT_NOFILE, 512),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":  # Asked by the grader in a process of its own: a fork of one that runs TensorFlow may hang.
    print(json.dumps(asdict(available(Path(sys.argv[1])))))
