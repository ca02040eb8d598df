"""Which of a notebook's names a piece of code reads and which it binds, by reading the code alone.

Nothing is run and nothing is compiled: compiling alone can cost minutes and gigabytes (``finally`` within ``finally``
doubles the code at each level), and the code may be anybody's.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field

LONGEST = 30_000
"""Characters of a cell that is still read: what a student writes for one exercise has a few thousand at most."""

IPYTHON_LINE = re.compile(r"([\w, ]+=\s*)?[%!]\S|\?|.*\?$")
"""A line, without the space around it, that may be IPython's own syntax."""

TRANSPARENT = {"time", "timeit", "capture", "prun"}
"""Magics whose text is code that runs in the notebook."""

DEFINITE = (
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
)
"""Statements after which their names are bound, whatever happens."""


@dataclass
class Names:
    """What a piece of code does with the notebook's names.

    Attributes
    ----------
    needs : set of str
        Names that must be bound before it runs: it reads them, in functions too, before it surely binds them itself.
    later : set of str
        Names that its functions read whenever they are called.
    binds : set of str
        Names that are surely bound by it, whatever they were before.
    touches : set of str
        ``binds``, and what it may bind (in a branch, or as ``global``) or change (``name[...] =``, ``name.x =``).
    """

    needs: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    touches: set[str] = field(default_factory=set)


@functools.lru_cache(maxsize=64)  # a notebook's cells, which are asked for at each of its exercises
def statements_of(code: str, magics: bool = True) -> tuple[ast.stmt, ...]:
    """A cell's statements, IPython's syntax in it made Python; none where it does not parse.

    The code in a ``%%time`` or ``%timeit`` stands beside the call that IPython makes of it.
    """
    try:
        tree = _tree(code, magics)
        return tuple(_with_code_in_magics(tree.body) if magics else tree.body)
    except Exception:  # whatever a cell may hold: running it will say what is wrong with it
        return ()


def names_of(statements: Iterable[ast.stmt]) -> Names:
    """The names of statements that run one after another at a notebook's top level; none where they nest too deep."""
    flow = _Flow()
    try:
        flow.names.binds = flow.block(statements, set())
    except RecursionError:
        return Names()
    return flow.names


def _tree(code: str, magics: bool) -> ast.Module:
    if len(code) > LONGEST:
        raise ValueError("too long")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the student's, and said again when the code runs
        try:
            return ast.parse(code)
        except SyntaxError:
            if not magics:
                raise
            return ast.parse(_as_python(code))


def _as_python(code: str) -> str:
    """A cell with IPython's syntax made Python, line by line: of a whole cell IPython would read all for each line."""
    from IPython.core.inputtransformer2 import TransformerManager

    transform = TransformerManager().transform_cell
    if code.lstrip().startswith("%%"):
        return transform(code)
    lines = textwrap.dedent(code).splitlines()
    return "\n".join(
        line[: len(line) - len(line.lstrip())] + transform(line.strip()).rstrip()
        if IPYTHON_LINE.match(line.strip())
        else line
        for line in lines
    )


def _with_code_in_magics(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in statements:
        yield statement
        for node in ast.walk(statement):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="run_cell_magic" | "run_line_magic"),
                    args=[ast.Constant(value=magic), *_, ast.Constant(value=str(code))],
                ) if magic in TRANSPARENT:
                    yield from statements_of(code, magics=False)


class _Flow:
    """Follows top-level statements in the order in which they run: a name that is bound before is no need."""

    def __init__(self) -> None:
        self.names = Names()

    def block(self, statements: Iterable[ast.stmt], bound: Set[str]) -> set[str]:
        """Take in statements where ``bound`` is bound; the names that are surely bound after them."""
        bound = set(bound)
        for statement in statements:
            self._statement(statement, bound)
        return bound

    def _statement(self, statement: ast.stmt, bound: set[str]) -> None:
        """Take in one statement; what it surely binds joins ``bound``."""
        match statement:
            case ast.If():
                self._part(statement.test, bound)
                bound |= self.block(statement.body, bound) & self.block(statement.orelse, bound)
            case ast.While():
                self._part(statement.test, bound)
                self.block(statement.body, bound)
                self.block(statement.orelse, bound)
            case ast.For() | ast.AsyncFor():
                self._part(statement.iter, bound)
                self.block(statement.body, bound | self._part(statement.target, bound))
                self.block(statement.orelse, bound)
            case ast.With() | ast.AsyncWith():
                for item in statement.items:
                    bound |= self._part(item, bound)
                bound |= self.block(statement.body, bound)
            case ast.Try() | ast.TryStar():
                tried = self.block(statement.body, bound)
                for handler in statement.handlers:
                    self._part(handler.type or ast.Pass(), bound)
                    self.names.touches |= {handler.name} - {None}
                    self.block(handler.body, bound | {handler.name})
                self.block(statement.orelse, tried)
                bound |= self.block(statement.finalbody, bound)
            case ast.Match():
                self._part(statement.subject, bound)
                for branch in statement.cases:
                    matched = bound | self._part(branch.pattern, bound)
                    self._part(branch.guard or ast.Pass(), matched)
                    self.block(branch.body, matched)
            case _:
                found = self._part(statement, bound)
                bound |= found if isinstance(statement, DEFINITE) else set()

    def _part(self, node: ast.AST, bound: Set[str]) -> set[str]:
        """Take in a simple statement or a part of a compound one; the names that it binds."""
        scope = _Scope([node])
        self.names.needs |= (scope.reads - bound) | (scope.later - bound - scope.binds)
        self.names.later |= scope.later
        self.names.touches |= scope.binds | scope.changes | scope.globals
        return scope.binds


class _Scope(ast.NodeVisitor):
    """The names of one scope: those it reads when it runs, and ``later`` when a function in it does."""

    def __init__(self, nodes: Sequence[ast.AST]) -> None:
        self.reads: set[str] = set()
        self.later: set[str] = set()
        self.binds: set[str] = set()
        self.walruses: set[str] = set()
        self.changes: set[str] = set()
        self.globals: set[str] = set()
        for node in nodes:
            self.visit(node)

    def free(self) -> set[str]:
        """What a function with this scope reads of those around it."""
        return ((self.reads | self.later) - self.binds) | self.globals

    def visit_Name(self, node: ast.Name) -> None:
        (self.reads if isinstance(node.ctx, ast.Load) else self.binds).add(node.id)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.reads.add(node.target.id)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value or not isinstance(node.target, ast.Name):
            self.generic_visit(node)
        else:  # a mere annotation binds nothing
            self.visit(node.annotation)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.walruses.add(node.target.id)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute | ast.Subscript) -> None:
        root = node
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        if isinstance(root, ast.Name) and not isinstance(node.ctx, ast.Load):
            self.changes.add(root.id)
        self.generic_visit(node)

    visit_Subscript = visit_Attribute

    def visit_Global(self, node: ast.Global) -> None:
        self.globals.update(node.names)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.binds.update(alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name != "*")

    visit_ImportFrom = visit_Import

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar | ast.ExceptHandler) -> None:
        self.binds.update({node.name} - {None})
        self.generic_visit(node)

    visit_MatchStar = visit_ExceptHandler = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.binds.update({node.rest} - {None})
        self.generic_visit(node)

    def visit_TypeVar(self, node: ast.AST) -> None:
        self.binds.add(node.name)

    visit_ParamSpec = visit_TypeVarTuple = visit_TypeVar

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.binds.add(node.name)
        for outside in [*node.decorator_list, *getattr(node, "type_params", []), *filter(None, [node.returns])]:
            self.visit(outside)
        self._function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node.args, [node.body])

    def _function(self, arguments: ast.arguments, body: Sequence[ast.AST]) -> None:
        self.visit(arguments)  # defaults and annotations belong outside
        inner = _Scope(body)
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        inner.binds |= {parameter.arg for parameter in parameters if parameter}
        self.later |= inner.free()
        self.globals |= inner.globals

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.binds.add(node.name)
        for outside in [*node.decorator_list, *getattr(node, "type_params", []), *node.bases, *node.keywords]:
            self.visit(outside)
        inner = _Scope(node.body)
        self.reads |= inner.reads  # what a class binds may still be read from outside before
        self.later |= inner.later  # and methods do not see it
        self.globals |= inner.globals

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        value = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        inner = _Scope([first.target, *first.ifs, *others, *value])
        self.reads |= inner.reads - inner.binds
        self.later |= inner.later - inner.binds
        self.binds |= inner.walruses
        self.walruses |= inner.walruses
        self.globals |= inner.globals

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp
