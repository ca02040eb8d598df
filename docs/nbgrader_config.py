"""nbgrader's settings for this course: copy this file into your nbgrader course folder. The guide is nbgrader.md."""

import os
import sysconfig

from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import ComputeChecksums

from labutils.course.build import ANSWER_HERE, tidy

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "why"

# nbgrader starts `alembic` by its name, which fails where the environment that holds both is not activated.
os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])

# What the students' kernels inherit: the network that comes with the course (no download), and a quiet TensorFlow.
os.environ.setdefault("LABUTILS_WEIGHTS", "bundled")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# What students find in place of the answers: the stub that stands above each, and a line to write below a question.
c.ClearSolutions.code_stub = {"python": ""}
c.ClearSolutions.text_stub = ANSWER_HERE


def tidied(notebook, resources):
    """Leave out what only the course's own tests need, as `labutils build` does."""
    tidy(notebook)
    return notebook, resources


steps = GenerateAssignment.preprocessors.default()
steps.insert(steps.index(ComputeChecksums), tidied)
c.GenerateAssignment.preprocessors = steps

# A check that fails raises an error, so stderr says nothing about an answer. nbgrader takes it for a failure all the
# same, and TensorFlow's messages, progress bars and warnings would cost points.
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = "^"

# Seconds for one cell; training takes the longest (notebook 08: about a minute on a laptop).
c.Execute.timeout = 300
# Seconds to wait for a cell's output on a busy machine. nbgrader gives the whole notebook up when they have passed.
c.Execute.iopub_timeout = 60
