"""A graded class made up for the tests of tables and pages: every mark, odd names, hostile texts."""

import random

from labutils.course import registry
from labutils.course.grading.results import GradedNotebook, Mark, Result

# What must never come alive on a page, in a spreadsheet or on a terminal.
HOSTILE = (
    '</pre></details></article></body><script>alert("x")</script><img src=x onerror=alert(1)><style>*{display:none}'
    "</style><!-- <a href='javascript:alert(1)'>[a](javascript:alert(1)) {{ 7 * 7 }} {% raw %} &lt;b&gt; "
    "\x00\x1b[31mred\x1b[0m \u202egnp.exe\u202c \u2066x\u2069 \ud800 \x07\x9b2J `<b>bold</b>` ]]>"
)
FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "'=1",
    'a;=HYPERLINK("http://x")',
    "a\n=1",
    "\uff1d1",
)

TRACEBACK = """Traceback (most recent call last):
  File "your notebook", line 4, in grad_cam
    weights = np.mean(gradients, axis=(1, 2, 3))
  File "/home/someone/envs/lab/lib/python3.11/site-packages/numpy/core/fromnumeric.py", line 3504, in mean
    return _methods._mean(a, axis=axis, dtype=dtype,
numpy.exceptions.AxisError: axis 3 is out of bounds for array of dimension 3"""

REASONS = {
    Mark.WRONG: (
        "The ReLU is missing: the map holds negative values, which argue against the class. Set them to 0.",
        "These are the gradients of the probability (after the softmax) and not of the logit. Use `logit_model`.",
        "The map has its right shape but does not reach 1. If a small number was added to the divisor against division "
        "by zero: it is not small beside every map. Treat the zero map as a case of its own.",
        "`heatmap` should have shape (height, width) = (24, 16); it has shape (16, 24).\nHeight comes first.",
    ),
    Mark.RAISED: (TRACEBACK, "NameError: name 'tf' is not defined"),
    Mark.STOPPED: ("Your code was stopped after 30 seconds. Is there a loop that never ends?",),
    Mark.MISSING: ("The cell of this exercise is not in your notebook.",),
    Mark.NOT_CODE: ("The cell of this exercise is a text cell now, so it holds no code that could run.",),
    Mark.CHECK_FAILED: ("This says nothing about your answer: something in the check went wrong.",),
}

CODE = '''def grad_cam(model, images, classes, layer="block5_conv3"):
    """Grad-CAM of each image for its class, scaled to [0, 1], and a line that is longer than any screen is wide, I fear."""
    features, gradients = features_and_gradients(model, images, classes, layer)
    if len(features) < 1 and gradients is not None:
        raise ValueError("no photos")
    return scale(weighted_sum(features, pooled_gradients(gradients)))
'''

ANSWERS = (
    "",
    "Because the cell changes `photos` in place, the second run subtracts the means again.\n\n- once\n- twice",
)


def graded_class(students=40, notebooks=("01_vgg16_setup", "02_class_activation_maps"), seed=0):
    """A class in which the first students are good, the last are not, and one has handed in nothing readable."""
    rng = random.Random(seed)
    names = [f"student{number:03}" for number in range(1, students + 1)]
    names[1:5] = ["Łukasz Żółć-Ångström", "00423117", 'O\'Neill, "Bob" <bob@example.org>', "李小龍"][
        : max(students - 1, 0)
    ]
    return [
        _graded(rng, name, notebook, 1 - place / (students + 1))
        for place, name in enumerate(names)
        for notebook in notebooks
        if not (place and place % 13 == 0 and notebook.startswith("02"))
    ]


def _graded(rng, student, notebook, skill):
    exercises = registry.of_notebook(notebook[:2]).values()
    if student == "student012":
        results = (Result(each.id, Mark.UNREADABLE, "The file is not valid JSON.") for each in exercises)
        return GradedNotebook(student, notebook, tuple(results))
    results = tuple(_result(rng, exercise, skill) for exercise in exercises)
    thinks = {f"{notebook[:2]}-think-{name}": rng.choice(ANSWERS) for name in ("twice", "rocket", "relu", "trust")}
    notes = ("The notebook was of an older format.",) if student == "student007" else ()
    return GradedNotebook(student, notebook, results, thinks, notes, sum(each.seconds for each in results))


def _result(rng, exercise, skill):
    others = [mark for mark in REASONS for _ in range(12 if mark is Mark.WRONG else 5 if mark is Mark.RAISED else 1)]
    mark = Mark.PASSED if rng.random() < skill else rng.choice([*others, *3 * [Mark.NOT_ATTEMPTED]])
    reasons = REASONS.get(mark, ("",))
    reason = rng.choice(reasons)
    mistake = sorted(exercise.wrong)[reasons.index(reason) % 3 % len(exercise.wrong)] if mark is Mark.WRONG else ""
    code = "" if mark in (Mark.MISSING, Mark.NOT_ATTEMPTED) else CODE
    return Result(exercise.id, mark, reason, mistake, code, (), rng.expovariate(2))
