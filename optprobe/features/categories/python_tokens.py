"""
CPython tokens: what each token of Python source is, by the standard library's `tokenize` and `ast`.

The labels are exact: they are the interpreter's own. A row is a name, number or operator, a word or punctuation mark
of a string or comment, or the indentation that opens a block. An f-string is one string, whatever the version of
Python that labels. The soft keywords match, case, type and _ are names.
"""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import re
import tokenize
import warnings
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import CONTEXT, MIRROR, Document, Passage, join, signs
from optprobe.features.sources.documents import REPOSITORY, read_documents

NAME = "python_tokens"
SOURCE = "Python source files"
SKIP = 5
"""Rows left out at the beginning of each context."""

_AGAINST_NAMES = "-1 for other names, 0 elsewhere"
RULES = {
    "python_keyword": "+1 for keywords, -1 for all others",
    "python_name": "+1 for names that are not keywords, -1 for all others",
    "python_number": "+1 for numbers, -1 for all others",
    "python_string": "+1 for words and marks of strings, -1 for all others",
    "python_operator": "+1 for operators and delimiters, -1 for all others",
    "python_comment": "+1 for words and marks of comments, -1 for all others",
    "python_docstring": "+1 for words and marks of docstrings, -1 for those of other strings and comments, 0 elsewhere",
    "python_indent": "+1 for the indentation that opens a block, -1 for that of other logical lines, 0 elsewhere",
    "python_dedent": "+1 for the first token after the end of a block, -1 for the first of other lines, 0 elsewhere",
    "python_line_start": "+1 for the first token of a logical line, -1 for later ones, 0 in comments and indentation",
    "python_line_end": "+1 for the last token of a logical line, -1 for earlier ones, 0 in comments and indentation",
    "python_open_bracket": "+1 for ( [ {; half of the negatives are ) ] }, half are other operators",
    "python_close_bracket": "+1 for ) ] }; half of the negatives are ( [ {, half are other operators",
    "python_function_name": f"+1 for the name of a function where it is defined, {_AGAINST_NAMES}",
    "python_class_name": f"+1 for the name of a class where it is defined, {_AGAINST_NAMES}",
    "python_parameter": f"+1 for parameters where a function or lambda declares them, {_AGAINST_NAMES}",
    "python_argument_name": f"+1 for the name of a keyword argument in a call, {_AGAINST_NAMES}",
    "python_builtin": f"+1 for names of builtins that the file binds nowhere, {_AGAINST_NAMES}",
    "python_attribute": f"+1 for names after a dot, {_AGAINST_NAMES}",
    "python_call": f"+1 for names that are called, {_AGAINST_NAMES}",
    "python_assigned": f"+1 for variables where they are assigned, {_AGAINST_NAMES}",
    "python_import": f"+1 for names in import statements, {_AGAINST_NAMES}",
    "python_decorator": f"+1 for names in decorators, {_AGAINST_NAMES}",
    "python_annotation": f"+1 for names in annotations of types, {_AGAINST_NAMES}",
}

_PIECE = re.compile(r"\w+|[^\w\s]")
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.COMMENT)
_F_STARTS = frozenset(getattr(tokenize, name, -1) for name in ("FSTRING_START", "TSTRING_START"))
_F_ENDS = frozenset(getattr(tokenize, name, -1) for name in ("FSTRING_END", "TSTRING_END"))
_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True)
class _Piece:
    """A row before it is labelled: its characters, the kind of its token, and the roles it has."""

    start: int
    end: int
    kind: str
    roles: frozenset[str]


def python_tokens(
    documents: Iterable[Document],
    *,
    features: Collection[str] | None = None,
    characters: int = CONTEXT,
    skip: int = SKIP,
    strict: bool = True,
    seed: int = 0,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Label the tokens of Python source.

    Parameters
    ----------
    documents : iterable of Document
        Whole files.
    features, skip, seed, provenance, licence
        As in `join`; the spans left out are rows.
    characters : int
        Length of a context at most.
    strict : bool
        Whether a file that this Python cannot parse is refused; else it is left out, and the provenance counts.

    Returns
    -------
    FeatureDataset
        One row a token, or a word of a string or comment.

    Raises
    ------
    InputError
        If a file cannot be parsed (the sentence names it and the line), or nothing can be labelled.
    """
    broken: list[str] = []

    def passages() -> Iterator[Passage]:
        for document in documents:
            try:
                passage = mark(document)
            except InputError:
                if strict:
                    raise
                broken.append(document.where or document.name)
                continue
            yield from passage.cut(characters)

    pieces = list(passages())
    given = {**(provenance or {}), "context characters": str(characters), "files not Python": str(len(broken))}
    return join(NAME, pieces, RULES, features=features, skip=skip, seed=seed, provenance=given, licence=licence)


def mark(document: Document) -> Passage:
    """Return the tokens of a file with the labels of every feature; raise `InputError` if it is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(document.text)
        tokens = list(tokenize.generate_tokens(io.StringIO(document.text).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        where = document.where or document.name
        raise InputError(f"{where}: the text{line} is not Python ({type(error).__name__}: {error})") from error
    pieces = list(_Marker(document.text, tree).pieces(tokens))
    return Passage(
        document.text,
        document.name,
        np.array([p.start for p in pieces], dtype=np.int64),
        np.array([p.end for p in pieces], dtype=np.int64),
        _label(pieces),
    )


def _label(pieces: list[_Piece]) -> dict[str, NDArray[np.int8]]:
    """Return the labels of every feature."""
    kind = np.array([p.kind for p in pieces])
    code = np.isin(kind, ["keyword", "name", "number", "string", "operator"])

    def has(role: str) -> NDArray[np.bool_]:
        return np.array([role in p.roles for p in pieces], dtype=bool)

    def among(positive: NDArray[np.bool_], domain: NDArray[np.bool_]) -> NDArray[np.int8]:
        return np.where(domain, signs(positive), 0).astype(np.int8)

    def mirrored(positive: NDArray[np.bool_], opposite: NDArray[np.bool_]) -> NDArray[np.int8]:
        y = np.where(positive, 1, np.where(opposite, MIRROR, -1))
        return np.where(kind == "operator", y, 0).astype(np.int8)

    told = kind != "indent"
    labels = {
        f"python_{k}": among(kind == k, told) for k in ("keyword", "name", "number", "string", "operator", "comment")
    }
    labels["python_docstring"] = among(has("docstring"), np.isin(kind, ["string", "comment"]))
    labels["python_indent"] = among(has("opens block"), kind == "indent")
    labels["python_dedent"] = among(has("closes block"), has("line start") & code)
    labels["python_line_start"] = among(has("line start"), code)
    labels["python_line_end"] = among(has("line end"), code)
    labels["python_open_bracket"] = mirrored(has("open"), has("close"))
    labels["python_close_bracket"] = mirrored(has("close"), has("open"))
    names = kind == "name"
    return labels | {rule: among(has(rule), names) for rule in list(RULES)[len(labels) :]}


class _Marker:
    """What a file's syntax tree says of its characters."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.begins = [0]
        for line in io.StringIO(text):
            self.begins.append(self.begins[-1] + len(line))
        self.lines = [text[a:b] for a, b in zip(self.begins, self.begins[1:])]
        self.docstrings: list[tuple[int, int]] = []
        self.bound: set[str] = set()
        self.roles: dict[int, set[str]] = {}
        self.regions: dict[str, list[tuple[int, int]]] = {}
        for node in ast.walk(tree):
            self.visit(node)

    def at(self, line: int, byte: int) -> int:
        """Return the character at a line and a byte of it, as syntax trees count."""
        content = self.lines[line - 1]
        return self.begins[line - 1] + (byte if content.isascii() else len(content.encode()[:byte].decode()))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return the characters of a node."""
        return (
            self.at(node.lineno, node.col_offset),  # type: ignore[attr-defined]
            self.at(node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]
        )

    def give(self, position: int, role: str) -> None:
        self.roles.setdefault(position, set()).add(role)

    def region(self, node: ast.AST | None, role: str) -> None:
        if node is not None:
            self.regions.setdefault(role, []).append(self.span(node))

    def defined(self, node: ast.AST, name: str, role: str) -> None:
        """Give a role to the name that follows the keyword of a definition."""
        self.bound.add(name)
        begin, end = self.span(node)
        found = re.compile(rf"(?:def|class)(?:\s|\\)+({re.escape(name)})\b").search(self.text, begin, end)
        if found:
            self.give(found.start(1), role)

    def visit(self, node: ast.AST) -> None:
        """Record what one node says."""
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                self.docstrings.append(self.span(value))
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.defined(node, node.name, "python_function_name")
                self.region(node.returns, "python_annotation")
            case ast.ClassDef():
                self.defined(node, node.name, "python_class_name")
            case ast.arg():
                self.bound.add(node.arg)
                self.give(self.span(node)[0], "python_parameter")
                self.region(node.annotation, "python_annotation")
            case ast.AnnAssign():
                self.region(node.annotation, "python_annotation")
            case ast.keyword() if node.arg:
                self.give(self.span(node)[0], "python_argument_name")
            case ast.Attribute():
                self.give(self.span(node)[1] - len(node.attr), "python_attribute")
            case ast.Call():
                self.called(node.func)
            case ast.Name():
                if isinstance(node.ctx, ast.Store):
                    self.bound.add(node.id)
                    self.give(self.span(node)[0], "python_assigned")
                else:
                    self.give(self.span(node)[0], "read")
            case ast.Import() | ast.ImportFrom():
                self.region(node, "python_import")
                self.bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
            case ast.ExceptHandler() if node.name:
                self.bound.add(node.name)
            case ast.Global() | ast.Nonlocal():
                self.bound.update(node.names)
        for decorator in getattr(node, "decorator_list", ()):
            self.region(decorator, "python_decorator")

    def called(self, function: ast.AST) -> None:
        """Give the role of a called name: the name itself, or the last attribute."""
        if isinstance(function, ast.Name):
            self.give(self.span(function)[0], "python_call")
        elif isinstance(function, ast.Attribute):
            self.give(self.span(function)[1] - len(function.attr), "python_call")

    def pieces(self, tokens: list[tokenize.TokenInfo]) -> Iterator[_Piece]:
        """Yield the rows in order."""
        inside = {role: _Regions(spans) for role, spans in self.regions.items()}
        docstrings = _Regions(self.docstrings)
        ends = _line_ends(tokens)
        first, closes, opens = True, False, False
        depth, f_start = 0, 0
        for i, token in enumerate(tokens):
            start, end = self.begins[token.start[0] - 1] + token.start[1], self.begins[token.end[0] - 1] + token.end[1]
            if token.type in _F_STARTS:
                f_start = start if depth == 0 else f_start
                depth += 1
            if depth:
                depth -= token.type in _F_ENDS
                if depth:
                    continue
                start = f_start
            if token.type in (tokenize.INDENT, tokenize.DEDENT):
                opens |= token.type == tokenize.INDENT
                closes |= token.type == tokenize.DEDENT
            elif token.type == tokenize.NEWLINE:
                first = True
            elif token.type == tokenize.COMMENT:
                yield from self.words(start, end, "comment", set())
            elif token.type not in _LAYOUT and start < end:
                roles = {"line start"} if first else set()
                if first:
                    begin = self.begins[bisect_right(self.begins, start) - 1]
                    if begin < start:
                        yield _Piece(begin, start, "indent", frozenset({"opens block"} if opens else ()))
                    if closes:
                        roles.add("closes block")
                if i in ends:
                    roles.add("line end")
                yield from self.code(token, start, end, roles, inside, docstrings)
                first = closes = opens = False

    def code(
        self,
        token: tokenize.TokenInfo,
        start: int,
        end: int,
        roles: set[str],
        inside: Mapping[str, _Regions],
        docstrings: _Regions,
    ) -> Iterator[_Piece]:
        """Yield the rows of one token that is not layout."""
        word = self.text[start:end]
        if token.type == tokenize.NUMBER:
            yield _Piece(start, end, "number", frozenset(roles))
        elif token.type == tokenize.OP:
            roles |= {"open"} if word in _OPEN else {"close"} if word in _CLOSE else set()
            yield _Piece(start, end, "operator", frozenset(roles))
        elif token.type == tokenize.NAME and keyword.iskeyword(word):
            yield _Piece(start, end, "keyword", frozenset(roles))
        elif token.type == tokenize.NAME:
            roles |= self.roles.get(start, set()) | {role for role, regions in inside.items() if start in regions}
            if "read" in roles and word in _BUILTINS and word not in self.bound:
                roles.add("python_builtin")
            yield _Piece(start, end, "name", frozenset(roles))
        else:
            yield from self.words(start, end, "string", roles | ({"docstring"} if start in docstrings else set()))

    def words(self, start: int, end: int, kind: str, roles: set[str]) -> Iterator[_Piece]:
        """Yield the words and marks of a string or comment; only the first starts a line, only the last ends one."""
        found = [match.span() for match in _PIECE.finditer(self.text, start, end)]
        for begin, stop in found:
            own = set(roles)
            own -= set() if begin == found[0][0] else {"line start", "closes block"}
            own -= set() if stop == found[-1][1] else {"line end"}
            yield _Piece(begin, stop, kind, frozenset(own))


class _Regions:
    """Spans, and whether a character lies in one of them."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        for start, end in sorted(spans):
            if self.ends and start < self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], end)
            else:
                self.starts.append(start)
                self.ends.append(end)

    def __contains__(self, position: int) -> bool:
        i = bisect_right(self.starts, position) - 1
        return i >= 0 and position < self.ends[i]


def _line_ends(tokens: list[tokenize.TokenInfo]) -> set[int]:
    """Return the tokens that only a comment may part from the end of their logical line."""
    ends = set()
    following = tokenize.ENDMARKER
    for i in reversed(range(len(tokens))):
        kind = tokens[i].type
        if kind not in _LAYOUT and following in (tokenize.NEWLINE, tokenize.ENDMARKER):
            ends.add(i)
        following = following if kind == tokenize.COMMENT else kind
    return ends


def _build(options: BuildOptions) -> FeatureDataset:
    found = read_documents(options, ".py", document_columns=REPOSITORY)
    return python_tokens(
        found.documents,
        characters=options.characters or CONTEXT,
        strict=False,
        seed=options.seed,
        provenance=found.provenance,
        licence=found.licence,
    )


CATEGORY = Category(NAME, tuple(Feature(name, NAME, rule, SOURCE) for name, rule in RULES.items()), _build)
