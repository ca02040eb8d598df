"""The course's machinery: exercises and their checks, hints, catching up, and the build of the students' notebooks."""

from labutils.course.checking import check
from labutils.course.exercise import Case, Exercise, Status, TodoNotDone, Verdict
from labutils.course.guidance import catch_up, hint

__all__ = ["Case", "Exercise", "Status", "TodoNotDone", "Verdict", "catch_up", "check", "hint"]
