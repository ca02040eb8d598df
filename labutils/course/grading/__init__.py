"""Grading: a folder of submissions in, a mark with its reason for every student and exercise out.

The way of a submission, a file a step: `submissions` finds the notebooks, `splicing` takes the exercises' cells out of
one, `references` turns down those that call the course's own answers, `context` adds what an answer needs of the
course's notebook (`course_notebook`), found from its `names`. `isolation` makes the place where a student's code may
run (with what `linux` has for that, elsewhere by `audit`), `kernel` runs it there and hands plain data back
(`records`), `verdicts` decides, in another process. `grader` goes this way with one notebook, `batch` with those of a
class.

What comes of it are `results`. `summary` counts them, `tables` and `pages` (the ``.jinja`` files) write them down, both
with the help of `writing`. `mutation` grades the course's own wrong and right answers, to see that the grading itself
is right.
"""
