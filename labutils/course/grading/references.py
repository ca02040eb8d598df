"""Answers that call the course's own references instead of answering.

The references are on every student's machine, so this is a courtesy to those who mark, not a wall: a reference's text
that was copied cannot be told from an answer.
"""

from __future__ import annotations

import ast

from labutils import course
from labutils.course.grading.names import statements_of

PACKAGE = course.__name__

LONGEST_NAME = 8
"""Most parts of a dotted name that are looked at, since a chain of thousands is one name longer at each of them."""


def internals_used(code: str) -> str:
    """The first part of the course's machinery that a student's code names beyond what notebooks use, or ""."""
    for statement in statements_of(code):
        for node in ast.walk(statement):
            for name in _names(node):
                rest = name.removeprefix(f"{PACKAGE}.")
                if rest != name and rest.partition(".")[0] not in course.__all__:
                    return name
    return ""


def _names(node: ast.AST) -> list[str]:
    """The full names that a node of code may stand for: of an import, of an attribute, or in a text."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Attribute):
        return [_dotted(node)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    return []


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` of an attribute of an attribute of a name; "" for anything else, and for a longer one."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < LONGEST_NAME:
        parts.insert(0, node.attr)
        node = node.value
    return ".".join([node.id, *parts]) if isinstance(node, ast.Name) else ""
