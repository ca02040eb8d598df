"""The place where students' code runs, in every degree of isolation that this machine allows.

A process of its own tries it, since a fork of pytest's, which has threads, may hang.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from labutils.course.grading.isolation import LINUX, Isolation

pytestmark = pytest.mark.skipif(not LINUX, reason="only Linux forks")

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
DEGREES = {
    "namespaces and an account of its own": (True, True),
    "namespaces": (True, False),
    "an account of its own": (False, True),
    "neither": (False, False),
}

PROGRAM = """
import encodings.idna, json, os, signal, socket, sys, time
from dataclasses import replace
from pathlib import Path
from labutils.course.grading import isolation
from labutils.course.grading.isolation import Isolation, Limits, MB

namespaces, user, scratch = json.loads(sys.argv[1])

def loops():
    while True:
        pass

def forks():
    while True:
        try:
            os.fork()
        except OSError:
            pass

def prints():
    while True:
        os.write(1, b"x" * 10_000)

def leaves_children():
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)

def fills_memory():
    for _ in range(8):
        if os.fork() == 0:
            break
    kept = [bytearray(b"x") * 10**6 for _ in range(100)]
    time.sleep(1000)

def fills_folder():
    for number in range(1000):
        Path(f"{number}").write_bytes(bytes(10**6))

def dies():
    os.abort()

def exits():
    os._exit(3)

def stops():
    os.kill(os.getpid(), signal.SIGSTOP)

def looks():
    def tried(action):
        try:
            return str(action())
        except OSError as error:
            return type(error).__name__
    seen = {
        "connects": tried(lambda: socket.create_connection(("192.0.2.1", 80), 1)),
        "shadow": tried(lambda: open("/etc/shadow")),
        "secret": tried(lambda: open(scratch + "/secret/grades.csv").read()),
        "writes beside": tried(lambda: open(scratch + "/beside", "w")),
        "writes in labutils": tried(lambda: open(isolation.__file__, "a")),
        "becomes root": tried(lambda: os.setuid(0)) if os.getuid() else "root",
        "kills": tried(lambda: os.kill(keeper, 0)),
        "account": os.getuid(),
        "files": os.listdir("."),
    }
    Path("seen.json").write_text(json.dumps(seen))

keeper = os.getpid()
patient = Limits(seconds=30, memory=300 * MB, output=MB, folder=10 * MB)
quick = replace(patient, seconds=1.2)
ends = {}
for target in (loops, forks, prints, leaves_children, fills_memory, fills_folder, dies, exits, stops, looks):
    place = Path(scratch) / target.__name__
    place.mkdir()
    place.chmod(0o711)
    folder = place / "inside"
    folder.mkdir(mode=0o700)
    limits = quick if target in (loops, forks, stops) else patient
    ended = isolation.run(lambda target=target: target, folder, limits, Isolation(namespaces, user), [Path(scratch) / "secret"], "seen")
    ends[target.__name__] = [ended.how, ended.detail]
import psutil
left = [child.status() for child in psutil.Process().children(recursive=True)]
print(json.dumps([ends, json.loads((Path(scratch) / "looks" / "inside" / "seen.json").read_text()), left]))
"""


@pytest.fixture(scope="module", params=DEGREES.values(), ids=DEGREES)
def tried(request, tmp_path_factory):
    """How each run ended, what the last one saw, and which processes are left."""
    namespaces, user = request.param
    if user and not ROOT:
        pytest.skip("only root can hand its work to another account")
    scratch = tmp_path_factory.mktemp("scratch")
    for folder in (scratch, *list(scratch.parents)[:2]):
        folder.chmod(0o755)
    (scratch / "secret").mkdir()
    (scratch / "secret" / "grades.csv").write_text("ada,14", encoding="utf-8")
    arguments = json.dumps([namespaces, user, str(scratch)])
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if namespaces and ("namespace" in found.stderr or "unshare" in found.stderr):
        pytest.skip("this system allows no namespaces")
    assert found.returncode == 0, found.stderr
    ends, seen, left = json.loads(found.stdout)
    if namespaces and ends["looks"][0] == "died":
        pytest.skip(f"this system allows no namespaces: {ends['looks'][1]}")
    return request.param, ends, seen, left


@pytest.mark.parametrize(
    ("run", "how"),
    {
        "loops": "seconds",
        "stops": "seconds",
        "forks": "seconds",
        "prints": "output",
        "fills_memory": "memory",
        "fills_folder": "folder",
        "leaves_children": "finished",
        "looks": "finished",
    }.items(),
)
def test_each_limit_ends_what_passes_it(tried, run, how):
    (namespaces, _), ends, _, _ = tried
    if namespaces and run == "fills_folder":
        how = "died"  # there the folder itself is no larger
    assert ends[run][0] == how


def test_a_death_is_told_by_its_signal_or_status(tried):
    _, ends, _, _ = tried
    assert ends["dies"] == ["died", "SIGABRT"]
    assert ends["exits"] == ["died", "3"]


def test_nothing_is_left_running(tried):
    _, _, _, left = tried
    assert left == []


def test_the_network_other_files_and_processes_are_out_of_reach(tried):
    (namespaces, user), _, seen, _ = tried
    assert seen["connects"] in ("OSError", "PermissionError")
    assert seen["secret"] in ("FileNotFoundError", "PermissionError")
    assert seen["writes beside"] in ("OSError", "PermissionError", "FileNotFoundError")
    assert seen["writes in labutils"] in ("OSError", "PermissionError")
    assert seen["kills"] in ("ProcessLookupError", "PermissionError")
    if namespaces:
        assert seen["shadow"] == "FileNotFoundError"
        assert seen["files"] == []
    if user:
        assert seen["account"] >= 65534
        assert seen["becomes root"] == "PermissionError"


def test_the_words_say_what_is_not_kept_apart():
    assert "no network" in Isolation(True, True).words()
    plain = Isolation(False, False, "no namespaces here").words()
    assert "no namespaces here" in plain
    assert "it can read and change what you can" in plain
    assert "your own account" in plain
