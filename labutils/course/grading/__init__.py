"""Grading: a folder of submissions in, a mark with its reason for every student and exercise out.

The way of a submission, a file a step: `submissions` finds the notebooks, `splicing` takes the exercises' cells out of
one, `context` adds what an answer needs of the course's own notebook, `isolation` makes the place where a student's code
may run, `kernel` runs it there and hands plain data back (`records`), `judging` decides, in another process. `batch`
does this for a class; `tables` and `pages` write down what came of it (`results`). `mutation` grades the course's own
wrong and right answers, to see that the grading itself is right.
"""
