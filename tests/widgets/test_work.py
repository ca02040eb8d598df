"""Work in the background, held to what a reader of the picture relies on: the newest request is what is shown.

No test sleeps: work waits at a gate until the test opens it.
"""

import threading
from types import SimpleNamespace

import pytest

from labutils.widgets import work
from labutils.widgets.work import Background, Job, Stopped

LONG = 20  # seconds until a test that hangs fails


class Office:
    """A `Background` whose work for a key in `gates` waits, and which notes everything that happens."""

    def __init__(self, *gated, reporting=()):
        self.gates = {key: threading.Event() for key in gated}
        self.begun = {key: threading.Event() for key in gated}
        self.reporting = reporting
        self.worked, self.said, self.threads = [], [], []
        self.then = {}  # key -> what the callback does for its result
        self.background = Background(self.work, self.finished, self.failed, self.progress, self.started)

    def work(self, key, report):
        self.worked.append(key)
        self.threads.append(threading.get_ident())
        if key in self.gates:
            self.begun[key].set()
            assert self.gates[key].wait(LONG)
        if key in self.reporting:
            report(1, 2)
        if isinstance(key, BaseException):
            raise key
        return f"result {key}"

    def finished(self, key, result):
        self.said.append(("finished", key, result))
        if key in self.then:
            self.then.pop(key)()

    def failed(self, key, error):
        self.said.append(("failed", key, type(error)))

    def progress(self, done, total):
        self.said.append(("progress", done, total))

    def started(self, key):
        self.said.append(("started", key))

    def ask(self, key):
        """Ask, and wait until the gated work has begun."""
        self.background.ask(key)
        if key in self.begun:
            assert self.begun[key].wait(LONG)

    def wait(self):
        assert self.background.wait(LONG)
        return [said for said in self.said if said[0] != "started"]


def test_a_result_is_handed_over_and_made_beside_the_asking_thread():
    office = Office()
    office.ask("a")
    assert office.wait() == [("finished", "a", "result a")]
    assert office.threads != [threading.get_ident()]
    assert not office.background.busy


class TestTheNewestWins:
    def test_what_was_asked_for_before_is_not_said(self):
        office = Office("old")
        office.ask("old")
        office.ask("new")
        office.gates["old"].set()
        assert office.wait() == [("finished", "new", "result new")]

    def test_its_result_is_kept_all_the_same(self):
        office = Office("old")
        office.ask("old")
        office.ask("new")
        office.gates["old"].set()
        office.wait()
        office.ask("old")
        assert office.said[-1] == ("finished", "old", "result old")  # at once
        assert office.worked == ["old", "new"]

    def test_what_has_not_begun_is_never_done(self):
        office = Office("first")
        office.ask("first")
        for key in ("second", "third", "fourth"):
            office.ask(key)
        office.gates["first"].set()
        assert office.wait() == [("finished", "fourth", "result fourth")]
        assert office.worked == ["first", "fourth"]

    def test_work_that_reports_is_given_up_and_nothing_of_it_is_kept(self):
        office = Office("old", reporting=["old"])
        office.ask("old")
        office.ask("new")
        office.gates["old"].set()
        assert office.wait() == [("finished", "new", "result new")]
        office.reporting = ()
        office.ask("old")
        office.wait()
        assert office.worked == ["old", "new", "old"]

    def test_progress_that_was_on_its_way_is_not_said(self, monkeypatch):
        """The old work has passed the check for being wanted when the new request comes."""
        office = Office(reporting=["old"])
        office.ask("new")
        office.wait()
        passed = threading.Event()
        clock = SimpleNamespace(monotonic=lambda: passed.set() or 1e6)
        with office.background.asking:
            monkeypatch.setattr(work, "time", clock)
            office.background.ask("old")
            assert passed.wait(LONG)
            office.background.ask("new")
        monkeypatch.undo()
        for thread in threading.enumerate():
            if thread.name == "labutils.widgets":
                thread.join(LONG)
        assert ("progress", 1, 2) not in office.said
        assert office.said[-1] == ("finished", "new", "result new")

    def test_many_threads_ask_at_once_and_the_last_said_is_the_newest(self):
        office = Office()
        together = threading.Barrier(8)

        def ask(number):
            together.wait(LONG)
            for key in range(20):
                office.background.ask((number, key % 5))

        threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        newest = office.background._newest.key
        assert office.wait()[-1] == ("finished", newest, f"result {newest}")


class TestTheSameAgain:
    def test_while_it_is_made_is_one_request(self):
        office = Office("a")
        office.ask("a")
        office.ask("a")
        office.gates["a"].set()
        assert office.wait() == [("finished", "a", "result a")]
        assert office.worked == ["a"]

    def test_of_a_kept_result_comes_at_once_and_starts_nothing(self):
        office = Office()
        office.ask("a")
        office.wait()
        office.ask("a")
        assert office.said == [("started", "a"), *[("finished", "a", "result a")] * 2]

    def test_the_results_used_last_are_kept(self, monkeypatch):
        monkeypatch.setattr(work, "KEPT", 2)
        office = Office()
        for key in ["a", "b", "a", "c", "a", "b"]:
            office.ask(key)
            office.wait()
        assert office.worked == ["a", "b", "c", "b"]


class TestProblems:
    def test_are_handed_on_and_the_next_request_works(self):
        office = Office()
        problem = ValueError("no")
        office.ask(problem)
        assert office.wait() == [("failed", problem, ValueError)]
        office.ask("a")
        assert office.wait()[-1] == ("finished", "a", "result a")

    def test_are_not_kept(self):
        office = Office()
        problem = ValueError("no")
        for _ in range(2):
            office.ask(problem)
            office.wait()
        assert office.worked == [problem, problem]

    def test_in_showing_a_kept_result_do_not_leave_it_under_way(self):
        office = Office()
        office.ask("a")
        office.wait()
        office.then["a"] = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            office.background.ask("a")
        assert office.background.wait(0)


class TestStop:
    @pytest.mark.parametrize(
        ("reporting", "made"), [(["a"], 2), ([], 1)], ids=["at its next report", "without reports"]
    )
    def test_ends_the_request(self, reporting, made):
        """Work without reports cannot be ended; its result is kept for the next time."""
        office = Office("a", reporting=reporting)
        office.ask("a")
        office.background.stop()
        office.gates["a"].set()
        assert office.wait() == [("failed", "a", Stopped)]
        office.ask("a")
        assert office.wait()[-1] == ("finished", "a", "result a")
        assert len(office.worked) == made

    def test_and_the_same_again_while_the_stopped_work_goes_on(self):
        office = Office("a")
        office.ask("a")
        office.background.stop()
        office.background.ask("a")
        office.gates["a"].set()
        assert office.wait() == [("finished", "a", "result a")]

    def test_of_nothing_is_nothing(self):
        office = Office()
        office.background.stop()
        office.ask("a")
        office.wait()
        office.background.stop()
        assert office.wait() == [("finished", "a", "result a")]


class TestWait:
    def test_has_a_limit(self):
        office = Office("a")
        office.ask("a")
        assert office.background.wait(0) is False
        assert office.background.busy
        office.gates["a"].set()
        assert office.background.wait() is True
        assert office.background.wait(0) is True

    def test_for_nothing_is_over_at_once(self):
        assert Office().background.wait() is True

    def test_goes_on_to_what_was_asked_for_in_between(self):
        office = Office("old", "new")
        office.ask("old")
        over = threading.Event()
        waiting = threading.Thread(target=lambda: office.background.wait() and over.set())
        waiting.start()
        office.background.ask("new")
        office.gates["old"].set()
        assert office.begun["new"].wait(LONG)
        assert not over.is_set()
        office.gates["new"].set()
        assert over.wait(LONG)
        waiting.join(LONG)


class TestCallbacksThatAsk:
    @pytest.mark.parametrize("kept", [False, True], ids=["of new work", "of a kept result"])
    def test_for_something_else_get_it(self, kept):
        office = Office()
        if kept:
            office.ask("a")
            office.wait()
        office.then["a"] = lambda: office.background.ask("b")
        office.ask("a")
        assert office.wait()[-2:] == [("finished", "a", "result a"), ("finished", "b", "result b")]

    def test_for_the_same_again_start_nothing(self):
        office = Office()
        office.then["a"] = lambda: office.background.ask("a")
        office.ask("a")
        assert office.wait() == [("finished", "a", "result a")]
        assert office.said.count(("started", "a")) == 1


def test_progress_is_handed_on_five_times_a_second(monkeypatch):
    times = iter([10.0, 10.1, 10.15, 10.25, 10.3, 10.46])
    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=lambda: next(times)))
    handed_on = []
    job = Job("a", lambda job, done, total: handed_on.append((done, total)))
    for done in range(6):
        job.report(done, 6)
    assert handed_on == [(0, 6), (3, 6), (5, 6)]


class TestWhereThreadsDoNotReachTheBrowser:
    """Google Colab; https://github.com/googlecolab/colabtools/issues/3373."""

    @pytest.fixture(autouse=True)
    def colab(self, monkeypatch):
        monkeypatch.setitem(work.sys.modules, "google.colab", SimpleNamespace())

    def test_the_work_is_done_at_once(self):
        office = Office()
        office.background.ask("a")
        assert office.said == [("started", "a"), ("finished", "a", "result a")]
        assert office.threads == [threading.get_ident()]

    def test_an_interrupted_kernel_stops_it(self):
        office = Office()
        interrupt = KeyboardInterrupt()
        office.background.ask(interrupt)
        assert office.said == [("started", interrupt), ("failed", interrupt, Stopped)]
        assert not office.background.busy
