"""How verdicts and hints look: a framed box in notebooks, the same words as plain text everywhere."""

from __future__ import annotations

import html
import re
import sys

from labutils.course.exercise import Exercise, Status, Verdict

# Mark and colour by kind; the mark and the words say the same as the colour, which works on light and dark pages.
LOOKS = {
    "passed": ("\u2714", "#2e9e5b"),
    "wrong": ("\u2718", "#d9822b"),
    "raised": ("!", "#d64545"),
    "check failed": ("?", "#8a63d2"),
    "not attempted": ("\u2026", "#7a8594"),
    "hint": ("\u2192", "#2f7fd1"),
}

HEADINGS = {
    Status.PASSED: "passed",
    Status.WRONG: "not right yet",
    Status.RAISED: "your code raised an error",
    Status.CHECK_FAILED: "the check itself failed, which is not your fault",
    Status.NOT_ATTEMPTED: "carrying on without it",
}


def show_verdict(exercise: Exercise, verdict: Verdict) -> None:
    """Show what a check found."""
    title = f"{exercise.id}: {HEADINGS[verdict.status]}"
    message = verdict.message
    if verdict.passed:
        title += f" ({exercise.points} {'point' if exercise.points == 1 else 'points'})"
    elif verdict.status in (Status.WRONG, Status.RAISED):
        message += f'\nStuck? `hint("{exercise.id}")`'
    show(title, message, str(verdict.status))


def show(title: str, message: str, kind: str) -> None:
    """Show a titled message in a notebook's way where there is one, else print it.

    ``message`` may hold `code` in backticks and line breaks, nothing else; all of it is escaped.
    """
    text = f"{LOOKS[kind][0]} {title}" + "".join(f"\n  {line}" for line in message.splitlines())
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(text)
        return
    from IPython.display import display

    display({"text/plain": text, "text/html": as_html(title, message, kind)}, raw=True)


def marked(message: str) -> str:
    """A message as HTML, everything in it escaped, what stands in `backticks` as code and in **asterisks** bold."""
    escaped = html.escape(message, quote=False)
    return "".join(
        f"<code>{part}</code>" if place % 2 else re.sub(r"\*\*([^*\n]+)\*\*", r"<strong>\1</strong>", part)
        for place, part in enumerate(re.split(r"`([^`\n]+)`", escaped))
    )


def as_html(title: str, message: str, kind: str) -> str:
    """The box: a coloured bar, a mark, the title, the message with line breaks and `code` kept."""
    mark, colour = LOOKS[kind]
    if kind == Status.RAISED:  # a traceback, whose backticks are its own, and then where to get a hint
        traceback, _, last = message.rpartition("\n")
        body = f"{html.escape(traceback, quote=False)}\n{marked(last)}".lstrip("\n")
    else:
        body = marked(message)
    if body:
        font = "; font-family: monospace" if kind == Status.RAISED else ""  # tracebacks point at columns
        body = f'<div style="white-space: pre-wrap; margin-top: 0.3em; overflow-x: auto{font}">{body}</div>'
    return (
        f'<div role="status" style="border-left: 5px solid {colour}; padding: 0.4em 0.9em; margin: 0.3em 0">'
        f'<strong><span aria-hidden="true" style="color: {colour}">{mark}</span> {html.escape(title)}</strong>{body}</div>'
    )
