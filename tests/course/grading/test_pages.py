"""The pages: everything of the result is on them, and nothing that a student wrote does anything but stand there."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from example_class import CODE, HOSTILE, TRACEBACK, graded_class

from labutils.course import registry
from labutils.course.grading import pages
from labutils.course.grading.results import GradedNotebook, Mark, Result
from labutils.course.grading.summary import HandMark, hand_mark_key
from labutils.course.grading.writing import LONGEST

ONE, TWO = "01_vgg16_setup", "02_class_activation_maps"
NO_CONTENT = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """A page's tags, attributes, text by tag, and whether every tag is closed where it should be."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.attributes, self.text, self.open, self.pres = html, [], [], "", [], []
        self.feed(html)
        self.close()
        assert self.open == []
        self.words = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in NO_CONTENT:
            self.open.append(tag)
        if tag == "pre":
            self.pres.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text += data
        if self.open and self.open[-1] == "pre":
            self.pres[-1] += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def feedback(folder, courses, *graded, marks=()):
    paths = pages.write_feedback(folder, graded, courses, dict(marks))
    return [Page(path.read_text("utf-8")) for path in paths]


def overview(folder, courses, graded, marks=()):
    path = folder / "overview.html"
    pages.write_overview(path, graded, courses, dict(marks))
    return Page(path.read_text("utf-8"))


def two_results(*results):
    return GradedNotebook("ann", TWO, results)


class TestFeedback:
    def test_says_of_each_exercise_what_it_gave(self, tmp_path, courses):
        (page,) = feedback(tmp_path, courses, *graded_class(1))
        for exercise in (each for number in ("01", "02") for each in registry.of_notebook(number).values()):
            assert exercise.title in page.words
            assert exercise.id in page.words
        assert "38 of 38 points for exercises 18 of 18 exercises passed" in page.words

    @pytest.mark.parametrize("mark", list(Mark), ids=str)
    def test_a_verdict_is_told_in_words_with_its_reason(self, tmp_path, courses, mark):
        result = Result("02.scale", mark, "The reason has `code` in it.", code=CODE, notes=("its cell was split",))
        (page,) = feedback(tmp_path, courses, two_results(result))
        assert pages.MARK_LOOKS[mark].words in page.words
        assert "its cell was split" in page.words
        assert CODE in page.pres
        assert "The reason has" in page.words
        assert f"{2 if mark is Mark.PASSED else 0} of 2 points" in page.words

    def test_code_in_a_reason_is_code_and_its_lines_are_kept(self, tmp_path, courses):
        (page,) = feedback(tmp_path, courses, two_results(Result("02.scale", Mark.WRONG, "Use `x < 1`.\nThen go on.")))
        assert '<p class="told">Use <code>x &lt; 1</code>.\nThen go on.</p>' in page.html

    def test_a_traceback_is_there_whole_without_folders(self, tmp_path, courses):
        (page,) = feedback(tmp_path, courses, two_results(Result("02.scale", Mark.RAISED, TRACEBACK)))
        assert "/home/" not in page.html
        assert re.sub(r'"/.*/', '"', TRACEBACK) in page.pres

    def test_says_what_to_read_and_which_hint_to_ask_for(self, tmp_path, courses):
        (page,) = feedback(tmp_path, courses, two_results(Result("02.scale", Mark.WRONG, "No.")))
        assert "What to read: notebook 02, section “2 · Grad-CAM by hand, Step 5: scale”." in page.words
        assert 'What to do: ask for a hint in the notebook with hint("02.scale").' in page.words

    def test_what_passed_needs_no_reading(self, tmp_path, courses):
        results = [Result(id_, Mark.PASSED) for id_ in registry.of_notebook("02")]
        (page,) = feedback(tmp_path, courses, two_results(*results))
        assert "What to" not in page.words

    def test_a_section_begins_anew_below_its_own_heading(self, tmp_path, courses):
        (page,) = feedback(tmp_path, courses, GradedNotebook("ann", ONE, (Result("01.predict", Mark.WRONG, "No."),)))
        assert "What to read: notebook 01, section “4 · Ask the network”." in page.words

    def test_every_exercise_has_a_section_to_read(self, courses):
        for course in courses.values():
            assert all(re.match(r"\d · ", pages._section(course, exercise)) for exercise in course.stubs())

    def test_a_notebook_not_handed_in_is_said_once(self, tmp_path, courses):
        page, _ = feedback(tmp_path, courses, GradedNotebook("ann", ONE, ()), GradedNotebook("bob", TWO, ()))
        assert page.words.count("not handed in") == 2  # the verdict and its reason
        assert "What the ReLU throws away" not in page.words

    def test_long_code_is_cut_and_says_so(self, tmp_path, courses):
        code = "x = 1\n" * LONGEST
        (page,) = feedback(tmp_path, courses, two_results(Result("02.scale", Mark.WRONG, "No.", code=code)))
        (shown,) = page.pres
        assert len(shown) < LONGEST + 100
        assert f"{len(code) - LONGEST:,} characters are left out" in shown

    def test_think_tasks_have_answer_mark_and_comment(self, tmp_path, courses):
        answers = {"01-think-twice": "Because of this.", "01-think-rocket": "Of nothing."}
        marks = {("ann", ONE, "01-think-twice"): HandMark(1.5, "Which array?", "Because of this.", 2)}
        (page,) = feedback(tmp_path, courses, GradedNotebook("ann", ONE, (), answers), marks=marks)
        asked = page.words.partition("Questions to think about, marked by hand")[2]
        assert "The cell that was run twice1.5 of 2 points Because of this. 1.5 of 2 points Which array?" in asked
        assert "Sure of what?2 points Of nothing. not marked yet" in asked
        assert "The second name2 points not answered" in asked
        assert "1.5 of 6 points by hand" in page.words

    def test_shows_no_other_student(self, tmp_path, courses):
        graded = graded_class(12)
        names = sorted({each.student for each in graded}, key=lambda name: (name.casefold(), name))
        for name, page in zip(names, feedback(tmp_path, courses, *graded), strict=True):
            assert name in page.words
            assert not [other for other in names if other != name and other in page.text]


class TestHostile:
    @staticmethod
    def page_of(kind, folder, courses, text):
        """A page on which every text that may come from a student is this one."""
        results = [
            Result(id_, mark, text, text, text, (text,))
            for id_, mark in zip(registry.of_notebook("01"), list(Mark), strict=False)
        ]
        thinks = {"01-think-twice": text, "01-think-rocket": text, "no such task": text}
        graded = GradedNotebook(text, ONE, tuple(results), thinks, (text,))
        marks = {hand_mark_key(text, ONE, "01-think-twice"): HandMark(1, text, text, 2)}
        if kind == "feedback":
            return feedback(folder, courses, graded, marks=marks)[0]
        return overview(folder, courses, [graded], marks)

    @pytest.fixture(params=["feedback", "overview"])
    def kind(self, request):
        return request.param

    @pytest.fixture
    def page(self, kind, tmp_path, courses):
        return self.page_of(kind, tmp_path, courses, HOSTILE)

    def test_the_only_tags_are_the_templates_own(self, page, kind, tmp_path, courses):
        harmless = self.page_of(kind, tmp_path, courses, "words and `code`")
        assert page.tags == harmless.tags
        assert [name for _, name, _ in page.attributes] == [name for _, name, _ in harmless.attributes]

    def test_no_attribute_comes_from_a_student(self, page):
        for tag, name, value in page.attributes:
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "action")
            if name == "href":
                assert tag == "a"
                assert re.fullmatch(r"feedback/[a-z0-9-]+\.html", value)

    def test_the_page_forbids_scripts_and_anything_from_elsewhere(self, page):
        assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes

    def test_no_control_or_direction_character_is_left(self, page):
        assert not set(page.html) & set("\x00\x07\x1b\x9b\u202e\u202c\u2066\u2069")

    def test_what_the_student_wrote_is_there_to_be_read(self, page):
        assert '<script>alert("x")</script>' in page.text
        assert "{{ 7 * 7 }} {% raw %} &lt;b&gt;" in page.text


class TestPageNames:
    @pytest.mark.parametrize(
        "name", ["ada", "Ada", "s01", "Zoë Müller", "o'neil_12", "a.lovelace", "李小龍", "x@y.org"]
    )
    def test_an_ordinary_name_is_the_files_name(self, name):
        assert pages.page_names([name, "another"])[name] == f"{name}.html"

    def test_names_that_some_systems_take_for_one_get_files_of_their_own(self):
        names = ["Ann", "ann", "ANN", "Änn"]
        files = pages.page_names(names)
        assert len({file.casefold() for file in files.values()}) == len(names)
        assert files["Änn"] == "Änn.html"

    def test_no_name_leaves_the_folder_or_is_none_on_some_system(self):
        names = ["ann ", "a/nn", "../ann", "ann\x00", "", ".", "con", "NUL", "a.", "-x", "<b>", "a:b", "\ud800"]
        names += ["x" * 300, "x" * 301, "e\u0301"]
        names += [name.removesuffix(".html") for name in pages.page_names(names).values()]
        files = pages.page_names(names)
        assert len({file.casefold() for file in files.values()}) == len(names)
        assert all(re.fullmatch(r"[a-z0-9-]{5,90}\.html", file) for file in files.values())


class TestOverview:
    @pytest.mark.parametrize("students", [0, 1, 40, 200])
    def test_fits_a_class_of_any_size_and_leads_to_every_page(self, tmp_path, courses, students):
        graded = graded_class(students, (ONE, TWO))
        page = overview(tmp_path, courses, graded)
        written = pages.write_feedback(tmp_path / pages.FEEDBACK_FOLDER, graded, courses, {})
        links = {unquote(value) for _, name, value in page.attributes if name == "href"}
        assert links == {f"feedback/{path.name}" for path in written}
        assert len(links) == students

    def test_a_class_in_which_nobody_passed_anything(self, tmp_path, courses):
        graded = [
            GradedNotebook(name, ONE, tuple(Result(id_, Mark.NOT_ATTEMPTED) for id_ in registry.of_notebook("01")))
            for name in ("ann", "bob")
        ]
        page = overview(tmp_path, courses, graded)
        assert "0 % of the points on average" in page.words
        assert "0 to 9 %2" in page.words
        assert "No check has named a mistake." in page.words

    def test_the_distribution_counts_everyone(self, tmp_path, courses):
        page = overview(tmp_path, courses, graded_class())
        counts = re.findall(r"\d+ to (?:\d?9|100) %(\d+)", page.words)
        assert len(counts) == 10
        assert sum(map(int, counts)) == 40

    def test_says_of_an_exercise_how_many_passed_and_tried(self, tmp_path, courses):
        marks = [Mark.PASSED, Mark.WRONG, Mark.NOT_ATTEMPTED, Mark.UNREADABLE]
        graded = [
            GradedNotebook(f"student{place}", ONE, (Result("01.preprocess", mark, seconds=place + 1),))
            for place, mark in enumerate(marks)
        ]
        page = overview(tmp_path, courses, graded)
        # Passed, tried, mean of 2 points, and the median of those who tried; then the counts by verdict.
        assert "What the network takes 01.preprocess25 %50 %0.521.5 s" in page.words
        assert "What the network takes 01.preprocess110011" in page.words

    def test_names_the_most_frequent_misconception_first_with_its_usual_sentence(self, tmp_path, courses):
        sentences = ["Divided by 255.", "Divided by 255.", "Divided by 256."]
        graded = [
            GradedNotebook(f"student{place}", ONE, (Result("01.preprocess", Mark.WRONG, sentence, "divided_by_255"),))
            for place, sentence in enumerate(sentences)
        ]
        graded += [GradedNotebook("zoe", ONE, (Result("01.preprocess", Mark.WRONG, "Twice.", "done_twice"),))]
        page = overview(tmp_path, courses, graded)
        told = page.words.partition("Most frequent misconceptions")[2]
        assert "3 divided by 255 01.preprocess Divided by 255. student0, student1, student2 1 done twice" in told

    def test_the_stub_that_was_met_is_no_misconception(self, tmp_path, courses):
        graded = [two_results(Result("02.scale", Mark.NOT_ATTEMPTED, mistake="02.logits"))]
        assert "No check has named a mistake." in overview(tmp_path, courses, graded).words

    def test_names_whom_to_look_at_and_why(self, tmp_path, courses):
        ordinary = tuple(Result(id_, Mark.PASSED) for id_ in registry.of_notebook("01"))
        odd = (Result("01.titles", Mark.STOPPED, "An endless loop?", seconds=30), *ordinary[1:])
        page = overview(tmp_path, courses, [GradedNotebook("ann", ONE, ordinary), GradedNotebook("bob", ONE, odd)])
        told = page.words.partition("Where to look")[2].partition("Most frequent")[0]
        assert "bob stopped: 01.titles" in told.replace("bobstopped", "bob stopped")
        assert "ann" not in told
        assert "bob01.titlesstopped30 s" in page.words.partition("Slowest answers")[2]
