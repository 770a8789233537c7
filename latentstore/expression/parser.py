"""Text → expression."""

from __future__ import annotations

import math
import re
from typing import NoReturn, TypeAlias

from latentstore.errors import ExpressionRefused, suggest
from latentstore.expression.tree import FUNCTIONS, Atom, Attribute, Expression, Item

MAX_LENGTH = 10_000  # characters
MAX_DEPTH = 100  # open parentheses
MAX_TERMS = 1_000  # items, centroids and attributes, counted as often as they are written


_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<string>'(?:[^']|'')*')
      | (?P<name>[^\W\d]\w*)
      | (?P<sign>[-+*/()])
      | (?P<end>\Z))""",
    re.VERBOSE,
)
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "negate": 3}

_Terms: TypeAlias = dict[Atom, float]
_Value: TypeAlias = float | _Terms


def parse(text: str) -> Expression:
    """Read and check an expression.

    Raises:
        ExpressionRefused: Not in the algebra; the message says where.
    """
    if not isinstance(text, str):
        raise ExpressionRefused(
            f"an expression is text, not {type(text).__name__}; pass a string like \"'a' + formal\""
        )
    if len(text) > MAX_LENGTH:
        raise ExpressionRefused(f"the expression has {len(text)} characters; at most {MAX_LENGTH} are read")
    return _Parser(text).run()


class _Parser:
    """Operator precedence with two explicit stacks, so that no nesting can exhaust Python's own."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0  # of the next lexeme
        self.values: list[_Value] = []
        self.operators: list[tuple[str, int]] = []  # and where they stand
        self.terms = 0

    def run(self) -> Expression:
        depth = 0
        wants_value = True
        while True:
            kind, lexeme, at = self._next()
            if wants_value and kind == "sign" and lexeme in "+-":
                if lexeme == "-":
                    self.operators.append(("negate", at))
            elif wants_value and lexeme == "(":
                depth += 1
                if depth > MAX_DEPTH:
                    self._refuse(f"more than {MAX_DEPTH} open parentheses", at, "simplify the expression")
                self.operators.append((lexeme, at))
            elif wants_value:
                self.values.append(self._value(kind, lexeme, at))
                wants_value = False
            elif kind == "sign" and lexeme in "+-*/":
                self._apply_pending(_PRECEDENCE[lexeme])
                self.operators.append((lexeme, at))
                wants_value = True
            elif lexeme == ")" and depth:
                self._apply_pending(0)
                self.operators.pop()
                depth -= 1
            elif kind == "end" and not depth:
                break
            elif kind == "end":
                opened = max(at for operator, at in self.operators if operator == "(")
                self._refuse("this parenthesis is not closed", opened, "add ')'")
            else:
                self._refuse(f"unexpected {lexeme!r}", at, "join two values with one of + - * /")
        self._apply_pending(0)
        (value,) = self.values
        if isinstance(value, float):
            self._refuse("the expression is a number, not a latent", 0, "put an item's id in single quotes")
        return Expression(tuple(value.items()))

    def _next(self) -> tuple[str, str, int]:
        """Kind, text and place of the next lexeme."""
        found = _TOKEN.match(self.text, self.position)
        if found is None:
            at = len(self.text) - len(self.text[self.position :].lstrip())
            what, remedy = {
                "'": ("this quote is not closed", "end the id with ', and write '' for a quote inside it"),
                '"': ("double quotes have no meaning here", "put item ids in single quotes"),
            }.get(self.text[at], (f"unexpected {self.text[at]!r}", "use 'id', names, numbers and + - * / ( )"))
            self._refuse(what, at, remedy)
        self.position = found.end()
        kind = str(found.lastgroup)
        return kind, found[kind], found.start(kind)

    def _value(self, kind: str, lexeme: str, at: int) -> _Value:
        if kind == "number":
            return self._finite(float(lexeme), at)
        if kind == "string":
            return self._atom(Item(self._unquoted(lexeme, at)), at)
        if kind == "end":
            self._refuse("the expression ends where a value is needed", at, "add an id, a name or a number")
        if kind != "name":
            self._refuse(f"expected a value, found {lexeme!r}", at, "write an id, a name or a number")
        before = self.position
        called = self._peek() == "("
        if lexeme in FUNCTIONS:
            argument = self._next() if called else ("", "", at)
            kind, quoted, place = self._next() if called else argument
            if kind != "string" or self._peek() != ")":
                self._refuse(f"{lexeme} takes one quoted name", place, f"write {lexeme}('…')")
            self._next()
            return self._atom(FUNCTIONS[lexeme](self._unquoted(quoted, place)), at)
        if called:
            self._refuse(f"unknown function {lexeme!r}", at, suggest(lexeme, FUNCTIONS))
        self.position = before
        return self._atom(Attribute(lexeme), at)

    def _peek(self) -> str:
        found = _TOKEN.match(self.text, self.position)
        return found[str(found.lastgroup)] if found else ""

    def _unquoted(self, lexeme: str, at: int) -> str:
        name = lexeme[1:-1].replace("''", "'")
        if not name:
            self._refuse("the quotes are empty", at, "put an id or a label between them")
        return name

    def _atom(self, atom: Atom, at: int) -> _Terms:
        self.terms += 1
        if self.terms > MAX_TERMS:
            self._refuse(f"more than {MAX_TERMS} items, centroids and attributes", at, "use a centroid, or NumPy")
        return {atom: 1.0}

    def _apply_pending(self, precedence: int) -> None:
        """Carry out the operators on the stack that bind at least as tightly, back to an open parenthesis."""
        while self.operators and self.operators[-1][0] != "(" and _PRECEDENCE[self.operators[-1][0]] >= precedence:
            operator, at = self.operators.pop()
            right = self.values.pop()
            left = -1.0 if operator == "negate" else self.values.pop()
            self.values.append(self._combine("*" if operator == "negate" else operator, left, right, at))

    def _combine(self, operator: str, left: _Value, right: _Value, at: int) -> _Value:
        if operator == "/":
            if not isinstance(right, float):
                self._refuse("a latent cannot be divided by", at, "divide by a number")
            if right == 0:
                self._refuse("division by zero", at, "divide by another number")
            scaled = left if isinstance(left, float) else left.items()
            if isinstance(scaled, float):
                return self._finite(scaled / right, at)
            return {atom: self._finite(weight / right, at) for atom, weight in scaled}
        if operator == "*":
            if not isinstance(left, float):
                left, right = right, left
            if not isinstance(left, float):
                self._refuse("two latents cannot be multiplied", at, "multiply a latent by a number")
            if isinstance(right, float):
                return self._finite(left * right, at)
            return {atom: self._finite(left * weight, at) for atom, weight in right.items()}
        sign = -1.0 if operator == "-" else 1.0
        if isinstance(left, float) and isinstance(right, float):
            return self._finite(left + sign * right, at)
        if isinstance(left, float) or isinstance(right, float):
            self._refuse("a number cannot be added to a latent", at, "multiply the number by an item or an attribute")
        for atom, weight in right.items():  # values on the stack have one owner
            left[atom] = self._finite(left[atom] + sign * weight if atom in left else sign * weight, at)
        return left

    def _finite(self, number: float, at: int) -> float:
        if not math.isfinite(number):
            self._refuse("a number is too large", at, "keep weights below 1e308")
        return number

    def _refuse(self, what: str, at: int, remedy: str) -> NoReturn:
        shown = " ".join(self.text[at : at + 20].split())  # a message is one line
        shown = shown.encode(errors="backslashreplace").decode()  # that can be written to a terminal, too
        near = f"near «{shown}{'…' if at + 20 < len(self.text) else ''}»" if at < len(self.text) else "the end"
        raise ExpressionRefused(f"{what} at character {at + 1} ({near}); {remedy}")
