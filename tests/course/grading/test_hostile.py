"""Submissions that attack the grading: each costs its author one exercise, and nobody else anything.

Every attack is put into a real exercise's cell and graded as a submission's would be, in the strongest isolation that this
machine allows. After each, the next answer is graded as if nothing had been.
"""

import os
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from labutils.course.grading.course_notebook import load
from labutils.course.grading.grader import Grader, Settings
from labutils.course.grading.isolation import LINUX, MB, Limits
from labutils.course.grading.results import Mark

pytestmark = pytest.mark.skipif(not LINUX, reason="elsewhere answers run with less isolation: see docs/instructors.md")

ROOT = Path(__file__).resolve().parents[3]
EXERCISE = "01.best_classes"
LIMITS = Limits(seconds=20, memory=700 * MB, output=2 * MB, folder=20 * MB, file=10 * MB, record=4 * MB)

SETTINGS = Settings(seed=11, limits=LIMITS)
QUICK = replace(SETTINGS, limits=replace(LIMITS, seconds=1.5))  # for those that may take all the time there is

RIGHT = """
def best_classes(probabilities):
    return probabilities.argmax(axis=1)
"""

WRONG_ANSWER = """
def best_classes(probabilities):
    return probabilities.argmin(axis=1)
"""

# Around the courtesy of `references`, which would refuse the plain import.
RECORDS = "import sys\nrecords = sys.modules['labutils.' + 'course.grading.records']\n"

STOPPED, WRONG, RAISED, FAILED, NOT_ATTEMPTED = (
    {Mark.STOPPED},
    {Mark.WRONG},
    {Mark.RAISED},
    {Mark.CHECK_FAILED},
    {Mark.NOT_ATTEMPTED},
)

NEVER_ENDS = "It ran longer than"

# name -> (what the cell holds, the marks that it may get, words of the reason)
ATTACKS = {
    # ---- that never end, or take all there is
    "endless loop in the cell": ("while True: pass", STOPPED, NEVER_ENDS),
    "endless loop in the answer": (
        """
        def best_classes(probabilities):
            while True:
                pass
        """,
        STOPPED,
        NEVER_ENDS,
    ),
    "sleeps": ("import time; time.sleep(1000)", STOPPED, NEVER_ENDS),
    "stops itself": ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", STOPPED, NEVER_ENDS),
    "endless output": ("import os\nwhile True: os.write(1, b'x' * 9999)", STOPPED, "printed more than 2 MB"),
    "endless errors": ("import os\nwhile True: os.write(2, b'x' * 9999)", STOPPED, "printed more than 2 MB"),
    "endless recursion": ("def f(): return f()\nf()", RAISED, "RecursionError"),
    "fork bomb": (
        """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """,
        STOPPED,
        "",
    ),
    "thread bomb": (
        """
        import threading, time
        while True:
            try:
                threading.Thread(target=time.sleep, args=(100,)).start()
            except RuntimeError:
                pass
        """,
        STOPPED,
        "",
    ),
    "memory bomb": ("x = []\nwhile True: x.append(bytearray(10 ** 7))", STOPPED, "memory"),
    "one giant array": ("import numpy as np\nx = np.ones(10 ** 11)", STOPPED | RAISED, "emory"),
    "memory in many processes": (
        """
        import os, time
        for _ in range(10):
            if os.fork() == 0:
                break
        x = [bytearray(b'x') * 10 ** 6 for _ in range(200)]
        time.sleep(100)
        """,
        STOPPED,
        "memory",
    ),
    "fills the disk with one file": (
        "with open('x', 'wb') as file:\n    while True: file.write(bytes(10 ** 6))",
        RAISED,
        "OSError",
    ),
    "fills the disk with many files": (
        """
        import itertools
        for n in itertools.count():
            open(f'x{n}', 'wb').write(bytes(10 ** 6))
        """,
        STOPPED | RAISED,
        "",
    ),
    "waits for input": (RIGHT + "input('your name? ')", RAISED, "Error"),
    "floods of figures": (
        WRONG_ANSWER + "import matplotlib.pyplot as plt\nfor _ in range(60):\n    plt.figure(); plt.show()",
        WRONG,
        "",
    ),
    # ---- that end the process, or another one
    "os._exit": ("import os; os._exit(0)", STOPPED, "no points"),
    "os._exit in the answer": (
        """
        def best_classes(probabilities):
            import os
            os._exit(0)
        """,
        STOPPED,
        "",
    ),
    "sys.exit": ("import sys; sys.exit(0)", RAISED | STOPPED, ""),
    "sys.exit in the answer": (
        """
        def best_classes(probabilities):
            raise SystemExit
        """,
        RAISED,
        "SystemExit",
    ),
    "interrupts itself": (
        """
        def best_classes(probabilities):
            raise KeyboardInterrupt
        """,
        RAISED,
        "KeyboardInterrupt",
    ),
    "kills its parent": (WRONG_ANSWER + "import os, signal; os.kill(os.getppid(), signal.SIGKILL)", WRONG | RAISED, ""),
    "kills all": ("import os, signal; os.kill(-1, signal.SIGKILL)", WRONG | STOPPED | RAISED, ""),
    "stops its parent": (
        WRONG_ANSWER + "import os, signal; os.kill(os.getppid(), signal.SIGSTOP)",
        WRONG | RAISED | STOPPED,
        "",
    ),
    "crashes Python": ("import ctypes; ctypes.string_at(0)", STOPPED, "SIGSEGV"),
    "leaves a thread": (
        WRONG_ANSWER + "import threading\ndef run():\n    while True: pass\nthreading.Thread(target=run).start()",
        WRONG,
        "",
    ),
    "leaves a process of its own session": (
        WRONG_ANSWER + "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)",
        WRONG,
        "",
    ),
    # ---- that look or reach where they should not
    "reads the solutions": (f"open({str(ROOT / 'solutions' / '01_vgg16_setup.ipynb')!r})", RAISED, "Error"),
    "reads the accounts": ("print(open('/etc/shadow').read())", RAISED, "Error"),
    "lists the grades": ("import os; os.listdir({hidden!r})[0]", RAISED, "Error"),
    "writes beside its folder": ("open('/usr/x', 'w').write('x')", RAISED, "Error"),
    "writes into labutils": (
        "import labutils\nopen(labutils.__file__, 'a').write('# x')",
        RAISED,
        "Error",
    ),
    "opens a connection": (
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=3)",
        RAISED,
        "",
    ),
    "asks for a name": ("import socket; socket.getaddrinfo('localhost.example', 80)", RAISED, ""),
    "runs a program that downloads": (
        "import urllib.request; urllib.request.urlopen('http://192.0.2.1/', timeout=3)",
        RAISED,
        "",
    ),
    "becomes root": ("import os; os.setuid(0)", RAISED | WRONG | NOT_ATTEMPTED | STOPPED, ""),
    "leaves the file system it was given": ("import os; os.chroot('/tmp')", RAISED, "Permission"),
    # ---- that change the judge, or what is said to it
    "patches the check": (
        WRONG_ANSWER
        + """
import sys
checking, judging = (sys.modules['labutils.' + 'course.' + name] for name in ('checking', 'judging'))
checking.run = checking.assess = lambda *a, **k: judging.passed()
judging.same = lambda *a, **k: True
judging.compare = judging.verdict_on_array = judging.first_problem = lambda *a, **k: judging.passed()
""",
        WRONG | FAILED,
        "",
    ),
    "patches numpy": (
        WRONG_ANSWER + "import numpy as np\nnp.allclose = np.array_equal = lambda *a, **k: True\nnp.argmax = np.argmin",
        WRONG,
        "",
    ),
    "patches json": (
        WRONG_ANSWER + 'import json\njson.dumps = lambda *a, **k: \'{"cases": [], "passed": true}\'',
        STOPPED,
        "",
    ),
    "patches the records": (
        WRONG_ANSWER
        + """
import os, pathlib
{records}def write(folder, name, record):
    (folder / f'{name}.json').write_text('{"dict": {"cases": [{"dict": {"passed": true}}]}}')
records.write = write
""",
        STOPPED,
        "no points",
    ),
    "hands back a pickle": (
        WRONG_ANSWER
        + """
import numpy as np
{records}class Evil:
    def __reduce__(self):
        return (print, ('opened',))
def write(folder, name, record):
    np.save(folder / f'{name}-0.npy', np.array([Evil()], dtype=object), allow_pickle=True)
    (folder / f'{name}.json').write_text('{"dict": {"cases": [{"dict": {"arrays": {"array": 0}}}]}}')
records.write = write
""",
        STOPPED,
        "",
    ),
    "hands back a link": (
        WRONG_ANSWER
        + """
import os
{records}records.write = lambda folder, name, record: os.symlink('/etc/passwd', folder / f'{name}.json')
""",
        STOPPED,
        "",
    ),
    "hands back a pipe": (
        WRONG_ANSWER
        + """
import os
{records}records.write = lambda folder, name, record: os.mkfifo(folder / f'{name}.json')
""",
        STOPPED,
        "",
    ),
    "claims an array of terabytes": (
        WRONG_ANSWER
        + """
{records}def write(folder, name, record):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}"
    header = header.replace(b'10**12', str(10 ** 12).encode()).ljust(117) + b'\\n'
    (folder / f'{name}-0.npy').write_bytes(b'\\x93NUMPY\\x01\\x00' + len(header).to_bytes(2, 'little') + header)
    (folder / f'{name}.json').write_text('{"dict": {"cases": [{"dict": {"arrays": {"array": 0}}}]}}')
records.write = write
""",
        STOPPED,
        "",
    ),
    "nests its result": (
        WRONG_ANSWER
        + """
{records}records.write = lambda folder, name, record: (folder / f'{name}.json').write_text('[' * 200_000)
""",
        STOPPED,
        "",
    ),
    "prints a verdict": (
        WRONG_ANSWER + "print('\u2714 01.best_classes: passed (1 point)')\nprint('{\"mark\": \"passed\"}')",
        WRONG,
        "",
    ),
    "stands for every value": (
        """
        class Anything:
            __eq__ = __ge__ = __le__ = lambda self, other: True
            __hash__ = None
            shape, dtype, ndim = (3,), int, 1
        def best_classes(probabilities):
            return Anything()
        """,
        WRONG,
        "",
    ),
    "an array whose comparisons are true": (
        """
        import numpy as np
        class Yes(np.ndarray):
            def __eq__(self, other):
                return np.ones(self.shape, bool)
            def __sub__(self, other):
                return np.zeros(self.shape)
            def __array_ufunc__(self, *args, **kwargs):
                return np.zeros(self.shape)
        def best_classes(probabilities):
            return np.zeros(len(probabilities), int).view(Yes)
        """,
        WRONG,
        "",
    ),
    "an array of objects": (
        """
        import numpy as np
        def best_classes(probabilities):
            return np.array([object() for _ in probabilities], dtype=object)
        """,
        WRONG,
        "",
    ),
    "NaN": (
        "import numpy as np\ndef best_classes(probabilities): return np.full(len(probabilities), np.nan)",
        WRONG,
        "",
    ),
    "text for numbers": (
        "def best_classes(probabilities): return probabilities.argmax(axis=1).astype(str)",
        WRONG,
        "",
    ),
    "a giant array as the answer": (
        "import numpy as np\ndef best_classes(probabilities): return np.zeros(10 ** 7, 'int64')",
        STOPPED | WRONG,
        "",
    ),
    "a lazy value that never comes": (
        """
        class Lazy:
            def __array__(self, *args, **kwargs):
                while True:
                    pass
        def best_classes(probabilities):
            return Lazy()
        """,
        STOPPED,
        NEVER_ENDS,
    ),
    "an endless generator": (
        "import itertools\ndef best_classes(probabilities): return itertools.count()",
        WRONG,
        "",
    ),
    "a dictionary with keys of its own": (
        "def best_classes(probabilities): return {('a', 1): 2, None: 3}",
        WRONG,
        "",
    ),
    "a list that holds itself": (
        "def best_classes(probabilities):\n    x = []\n    x.append(x)\n    return x",
        WRONG | RAISED | FAILED | STOPPED,
        "",
    ),
    "looks at who calls it": (
        """
        import sys
        def best_classes(probabilities):
            frame = sys._getframe()
            while frame:
                for name, value in frame.f_locals.items():
                    if name == 'found' and isinstance(value, list):
                        value.append({'arrays': {}})
                frame = frame.f_back
            return probabilities.argmin(axis=1)
        """,
        WRONG | FAILED,
        "",
    ),
    "the reference by catch_up": (
        "from labutils.course import catch_up\nbest_classes = catch_up('01.best_classes')",
        NOT_ATTEMPTED,
        "",
    ),
    "the reference from the registry": (
        "from labutils.course import registry\nbest_classes = registry.find('01.best_classes').reference()",
        WRONG,
        "no answer of your own",
    ),
    "markup and formulas in an error": (
        """
        def best_classes(probabilities):
            raise ValueError('=cmd|calc</pre><script>alert(1)</script>')
        """,
        RAISED,
        "<script>",
    ),
    "an error that cannot be shown": (
        """
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError('no')
        def best_classes(probabilities):
            raise Odd
        """,
        RAISED,
        "",
    ),
    "a syntax error": ("def best_classes(probabilities:\n  return 1", RAISED, "SyntaxError"),
    "no definition": ("x = 1  # TODO", WRONG, "does not define"),
}


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grades")
    (folder / "grades.csv").write_text("student,points", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def grader(hidden, runs_answers):
    with Grader(SETTINGS, hidden=[hidden, ROOT / "solutions"]) as grader:
        yield grader


@pytest.fixture(scope="module")
def course():
    return load(ROOT / "notebooks" / "01_vgg16_setup.ipynb")


def graded(grader, course, code):
    """The result for one exercise of a submission that holds nothing else."""
    import nbformat

    cell = nbformat.v4.new_code_cell(textwrap.dedent(code), metadata={"nbgrader": {"grade_id": "01-best_classes"}})
    data = nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode()
    return next(each for each in grader.grade("mallory", course, data).results if each.exercise == EXERCISE)


@pytest.mark.parametrize(("code", "marks", "words"), ATTACKS.values(), ids=ATTACKS)
def test_attack_gets_no_points_and_harms_nobody(grader, course, hidden, monkeypatch, code, marks, words):
    if words in ("", NEVER_ENDS):  # the others must have time to reach the limit that they are after
        monkeypatch.setattr(grader, "settings", QUICK)
    result = graded(grader, course, code.replace("{hidden!r}", repr(str(hidden))).replace("{records}", RECORDS))
    assert result.mark in marks, result
    assert words in result.reason
    assert result.reason
    monkeypatch.undo()
    assert (hidden / "grades.csv").read_text(encoding="utf-8") == "student,points"
    assert graded(grader, course, RIGHT).mark is Mark.PASSED


def test_nothing_of_the_attacks_is_left_running(grader, course, monkeypatch):
    import psutil

    monkeypatch.setattr(grader, "settings", QUICK)
    graded(grader, course, "import os\nif os.fork() == 0:\n    os.setsid()\nwhile True: pass")
    mine = {os.getpid()} | {child.pid for child in psutil.Process().children(recursive=True)}
    busy = [process for process in map(psutil.Process, mine) if "grading.kernel" in " ".join(process.cmdline())]
    assert len(busy) == 1


def test_noise_of_tensorflow_and_floods_of_warnings_are_no_error(grader, course):
    noise = (
        "import os, warnings\nos.write(2, b'2026-01-01 W tensorflow/core: E0000 oneDNN' * 1000)\nwarnings.warn('x')\n"
    )
    assert graded(grader, course, noise + RIGHT).mark is Mark.PASSED


def test_an_answer_finds_nothing_of_the_one_before_it_in_its_memory(grader, course):
    secret = "ada_has_a_name_of_her_own_for_this"
    graded(grader, course, RIGHT + f"{secret} = 1")
    search = """
import ctypes
half = 'ada_has_a_name_of' + '_her_own_for_this'
found = []
for line in open('/proc/self/maps'):
    bounds, rights, *_ = line.split()
    start, end = (int(each, 16) for each in bounds.split('-'))
    if rights.startswith('rw') and '[v' not in line and end - start < 2 ** 28:
        data = ctypes.string_at(start, end - start)
        place = data.find(b'ada_has_a_name_of_her')
        while place >= 0:
            if data[place:place + len(half)] == half.encode():
                found.append(data[max(0, place - 100):place])
            place = data.find(b'ada_has_a_name_of_her', place + 1)
others = [before for before in found if b'probabilities.argmax' in before]
def best_classes(probabilities):
    assert not others, others
    return probabilities.argmax(axis=1)
"""
    result = graded(grader, course, search)
    assert result.mark is Mark.PASSED, result.reason


def test_while_errors_are_shown_in_full_the_hidden_cases_are_not_there(grader, course):
    code = """
import gc
def best_classes(probabilities):
    from labutils.course.exercise import Case
    cases = [each for each in gc.get_objects() if type(each).__name__ == 'Case']
    raise ValueError(len(cases), [case.inputs for case in cases])
"""
    from labutils.course import registry

    result = graded(grader, course, code.replace("from labutils.course.exercise import Case", "pass"))
    public = registry.find(EXERCISE).cases(None)
    assert result.mark is Mark.RAISED
    assert f"ValueError: ({len(public)}, " in result.reason


LEAVES = {
    "very deep folders": "import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')",
    "closed folders": "import os\nos.makedirs('a/b/c')\nos.chmod('a/b', 0)\nos.chmod('a', 0)",
    "a link to what is not its own": "import os\nos.symlink('{hidden}', 'link')",
    "names that are no text": "open(b'\\xff\\xfe', 'w').close()",
}


@pytest.mark.parametrize("code", LEAVES.values(), ids=LEAVES)
def test_whatever_is_left_in_the_folder_is_removed_and_nothing_else(grader, course, hidden, code):
    graded(grader, course, code.replace("{hidden}", str(hidden)) + RIGHT)
    assert list(grader._scratch.iterdir()) == []
    assert (hidden / "grades.csv").exists()


def test_a_server_that_is_killed_is_replaced(grader, course):
    assert graded(grader, course, RIGHT).mark is Mark.PASSED
    grader._server._process.kill()
    assert graded(grader, course, RIGHT).mark is Mark.PASSED
