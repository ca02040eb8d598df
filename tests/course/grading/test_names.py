"""What a piece of code reads and binds, told from its text."""

import pytest

from labutils.course.grading.names import LONGEST, names_of, statements_of

NEEDS = {
    "a plain read": ("print(a)", {"print", "a"}),
    "bound before": ("a = 1\nb = a", set()),
    "bound after": ("b = a\na = 1", {"a"}),
    "added to": ("a += 1", {"a"}),
    "a function's parameter": ("def f(a, *b, c, **d): return a, b, c, d", set()),
    "a function's own variable": ("def f():\n    a = 1\n    return a", set()),
    "a function's global": ("def f():\n    global a\n    a += 1", {"a"}),
    "a function that calls itself": ("def f(): return f()", set()),
    "a default, read at once": ("def f(a=b): return a", {"b"}),
    "a decorator and an annotation": ("@a\ndef f(x: b) -> c: pass", {"a", "b", "c"}),
    "a function in a function": ("def f(a):\n    def g(): return a, b\n    return g", {"b"}),
    "a nested function's parameter is not the outer one's": ("def f():\n    g = lambda a: a\n    return a", {"a"}),
    "a comprehension's own variable": ("[a for a in b if a]", {"b"}),
    "a comprehension's first source": ("[a for a in a]", {"a"}),
    "a walrus in a comprehension": ("[(last := x) for x in y]\nlast", {"y", "last"}),
    "a class reads what it binds": ("class C:\n    a = a\n    def m(self): return b", {"a", "b"}),
    "a loop's variable": ("for a in b: print(a)", {"b", "print"}),
    "after a loop that may not have run": ("for a in b: c = a\nc", {"b", "c"}),
    "after one branch": ("if x: a = 1\na", {"x", "a"}),
    "after both branches": ("if x: a = 1\nelse: a = 2\na", {"x"}),
    "with as": ("with open(p) as file: file.read()\nfile", {"open", "p"}),
    "except as": ("try: a\nexcept E as error: print(error)", {"a", "E", "print"}),
    "unpacked": ("a, (b, *c) = d\na, b, c", {"d"}),
    "imported": ("import a.b, c as d\nfrom e import f, g as h\na, d, f, h", set()),
    "a match": ("match a:\n    case [b, *c] | {'k': b, **c}: print(b, c)", {"a", "print"}),
}


def names(code):
    return names_of(statements_of(code))


@pytest.mark.parametrize(("code", "needs"), NEEDS.values(), ids=NEEDS.keys())
def test_needs_are_what_must_be_there_before(code, needs):
    assert names(code).needs == needs


def test_what_a_function_reads_is_read_whenever_it_is_called():
    found = names("a = 1\ndef f(x): return a + g(x)\nprint(b)")
    assert found.later == {"a", "g"}
    assert found.needs == {"g", "print", "b"}


@pytest.mark.parametrize(
    ("code", "binds", "touches"),
    [
        pytest.param("a = 1", {"a"}, {"a"}, id="a plain assignment"),
        pytest.param("if x: a = 1", set(), {"a"}, id="in a branch"),
        pytest.param("for a in x: b = 1", set(), {"a", "b"}, id="in a loop"),
        pytest.param("try: import a\nexcept E: a = None", set(), {"a"}, id="where something may fail"),
        pytest.param("with x as a: b = 1", {"a", "b"}, {"a", "b"}, id="within with"),
        pytest.param("x and (a := 1)", set(), {"a"}, id="a walrus"),
        pytest.param("def f():\n    global a\n    a = 1", {"f"}, {"f", "a"}, id="as global in a function"),
        pytest.param("a[0] = 1\nb.c.d = 2\ndel e[0]", set(), {"a", "b", "e"}, id="changed within"),
        pytest.param("a: int", set(), set(), id="a mere annotation"),
        pytest.param("from x import *", set(), set(), id="nobody knows what"),
    ],
)
def test_binds_are_sure_and_touches_possible(code, binds, touches):
    assert names(code).binds == binds
    assert names(code).touches == touches


@pytest.mark.parametrize(
    ("code", "needs"),
    [
        pytest.param("%matplotlib inline\na", {"get_ipython", "a"}, id="a magic among code"),
        pytest.param("%%time\nb = f(a)", {"get_ipython", "f", "a"}, id="a timed cell"),
        pytest.param("def g():\n    %timeit -r 1\n    !ls\n    return a", {"get_ipython", "a"}, id="in a function"),
        pytest.param("files = !ls\n%time b = f(files)", {"get_ipython", "f"}, id="an assignment and a timed line"),
        pytest.param("a?\nb", {"get_ipython", "b"}, id="help"),
        pytest.param("%%bash\necho $a", {"get_ipython"}, id="another language"),
    ],
)
def test_ipython_syntax_is_read_too(code, needs):
    assert names(code).needs == needs


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("def f(:", id="not Python"),
        pytest.param("a\0", id="a null byte"),
        pytest.param("a = '\ud800'", id="half a character"),
        pytest.param("(" * 5000, id="many brackets"),
        pytest.param("-" * 20_000 + "a", id="deep"),
        pytest.param("+".join("a" * 10_000), id="long sum"),
        pytest.param("%%time\n" * 3000 + "(", id="magics in magics"),
        pytest.param('!ls\n"""', id="an open text"),
        pytest.param("a\n" * LONGEST, id="too long"),
    ],
)
def test_what_cannot_be_read_has_no_names(code):
    assert names(code).needs <= {"get_ipython"}


def test_reading_costs_no_more_where_compiling_would_double_at_every_level():
    levels = range(19)  # compiled, this takes gigabytes
    code = "\n".join(f"{' ' * level}try: a\n{' ' * level}finally:" for level in levels) + "\n" + " " * 19 + "b"
    assert names(code).needs == {"a", "b"}
