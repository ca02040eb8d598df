"""What Linux gives to cut a process off: namespaces, a file system of its own, no privileges. By calls of the C library,
since Python has names for few of them (and for `unshare` only from 3.12 on).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import signal
import stat
import sys
from pathlib import Path
from typing import Any

HOME = "/home/student"
"""The student's folder as their code sees it."""

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
# What a mount has already must be asked for again when it is made read-only: inside a user namespace these are locked.
KEPT = {
    "ST_NOSUID": 2,
    "ST_NODEV": 4,
    "ST_NOEXEC": 8,
    "ST_NOATIME": 1024,
    "ST_NODIRATIME": 2048,
    "ST_RELATIME": 1 << 21,
}
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 38, 36

KEYCTL, KEYCTL_JOIN_SESSION_KEYRING = {"x86_64": 250, "aarch64": 219}, 1

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/fonts",
    "/etc/mime.types",
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _called(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, value: int) -> None:
    _called(_libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Make every process below this one, whose parent ends, a child of this one."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def leave_namespaces(*, own_user: bool) -> None:
    """Leave the machine's namespaces but that of files, which the keeper needs; ``own_user`` makes a user namespace
    first, which needs no privilege.
    """
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    _called(_libc().unshare(flags | (CLONE_NEWUSER if own_user else 0)), "unshare")
    if own_user:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")


def _mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else os.fsencode(value)

    result = _libc().mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data))
    _called(result, f"mount {source} on {target}")


def make_own_root(folder: Path, size: int, account: int | None, hidden: tuple[Path, ...]) -> int:
    """Make a file system of Python, its packages and an empty folder, all but the folder and /tmp read-only.

    The student's folder is `HOME`, in memory, of at most ``size`` bytes, and gone at the end. What comes back is a handle
    on ``folder``, to bring results out (`bring_out`).
    """
    root = str(folder.parent)
    _called(_libc().unshare(CLONE_NEWNS), "unshare")
    outside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # the new root is laid over it
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)
    shown = _shown()
    _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path in ("/tmp", "/dev/shm"):  # before what is shown, some of which may lie in /tmp
        os.makedirs(root + path, exist_ok=True)
        _mount("tmpfs", root + path, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size // 4},nr_inodes=2k,mode=1777")
    for path in shown:
        _show(path, root + path)
    for path in hidden:
        if os.path.isdir(f"{root}{path}"):
            _mount("tmpfs", f"{root}{path}", "tmpfs", MS_RDONLY, "size=4k")
    os.makedirs(root + HOME)
    owner = f",uid={account},gid={account}" if account is not None else ""
    _mount("tmpfs", root + HOME, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},nr_inodes=10k,mode=700{owner}")
    os.makedirs(f"{root}/proc")
    with contextlib.suppress(OSError):  # Some containers do not allow it; nothing here needs it.
        _mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount("none", root, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chroot(root)
    os.chdir("/")
    return outside


def bring_out(name: str, outside: int, largest: int) -> None:
    """Copy the files of `HOME` whose names begin with ``name`` to the folder that ``outside`` is a handle on.

    To be called by the first process when it is the last one: it ends all others before, so that nothing is changed
    meanwhile. Plain files alone, together at most ``largest`` bytes.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    for place in sorted(Path(HOME).glob(f"{name}*")):
        with contextlib.suppress(OSError):
            source = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            found = os.fstat(source)
            if stat.S_ISREG(found.st_mode) and found.st_size <= largest:
                largest -= found.st_size
                target = os.open(place.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=outside)
                with open(source, "rb") as data, open(target, "wb") as copy:
                    shutil.copyfileobj(data, copy)


def _shown() -> list[str]:
    """What the student's code may read, none of it inside another one: the system's libraries, Python, its packages,
    labutils and the bundled weights.
    """
    package = Path(__file__).resolve().parents[2]
    packages = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
    wanted = [sys.prefix, sys.base_prefix, *packages, str(package), str(package.parent / "data" / "models")]
    wanted = [os.path.realpath(path) for path in wanted] + [sys.prefix]
    paths = [path for path in dict.fromkeys([*SYSTEM, *SYSTEM_FILES, *wanted]) if os.path.lexists(path)]
    return [path for path in paths if not any(path != other and path.startswith(f"{other}/") for other in paths)]


def _show(path: str, place: str) -> None:
    """Put a folder, file or link of this machine at ``place``, to be read and not to be written."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), place)
        return
    if os.path.isdir(path):
        os.mkdir(place)
    else:
        Path(place).touch()
    _mount(path, place, flags=MS_BIND | MS_REC)
    device = stat.S_ISCHR(os.stat(path).st_mode)
    had = os.statvfs(place).f_flag
    flags = sum(flag for name, flag in KEPT.items() if had & getattr(os, name))
    _mount("none", place, flags=MS_REMOUNT | MS_BIND | flags | MS_NOSUID | (0 if device else MS_RDONLY | MS_NODEV))


def give_up_privileges() -> None:
    """No capability, and none to be had again by running a program that would give some."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if platform.machine() in KEYCTL:  # the keys of the session that started the grading are none of its business
        _libc().syscall(KEYCTL[platform.machine()], KEYCTL_JOIN_SESSION_KEYRING, None)

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))

    header, none = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _called(_libc().capset(ctypes.byref(header), none), "capset")
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of account has cleared it
