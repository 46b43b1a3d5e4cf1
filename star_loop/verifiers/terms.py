"""Reads mathematics in the spelling of `latex.spelt` into functions of the letters in it, by recursive descent."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from star_loop.verifiers import real_numbers
from star_loop.verifiers.real_numbers import FUNCTIONS, PI, Value

Point = Mapping[str, Value]
Term = Callable[[Point], Value]
_LONGEST, _DEEPEST = 300, 30
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<command>\\[A-Za-z]+)|(?P<letter>[A-Za-z](?:_(?:\{\w+\}|\w))?)"
    r"|(?P<sign>[-+*/^_(){}\[\]|!]))"
)
_TIMES, _OVER = ("*", r"\cdot", r"\times"), ("/", r"\div")
_LETTERS = {rf"\{name}" for name in ("alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "phi", "omega", "rho")}
_CLOSINGS = {"(": ")", "[": "]", "{": "}"}
_FUNCTION_NAMES = "fghFGHPQT"
"""Letters before a parenthesis that may be functions."""


class Unknown(ValueError):
    """Not an expression that is evaluated here."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """An expression, and the letters in it."""

    term: Term
    letters: frozenset[str]

    def at(self, point: Point) -> Value | None:
        """Return the value at a point; None: it has no real one."""
        try:
            return self.term(point)
        except ArithmeticError:
            return None


@lru_cache(maxsize=1 << 14)
def parsed(text: str) -> Parsed:
    """Read an expression.

    Raises:
        Unknown: it has something else in it, is ambiguous, or is too long.
    """
    tokens = list(_tokens(text))
    reader = _Reader(tokens)
    term = reader.sum()
    if reader.next is not None:
        raise Unknown(text)
    return Parsed(term, frozenset(reader.letters))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    if not text or len(text) > _LONGEST:
        raise Unknown("empty or too long")
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise Unknown(text)
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


class _Reader:
    """Reads tokens by recursive descent, into functions of a point."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at, self._depth, self._inside = tokens, 0, 0, False
        self.letters: set[str] = set()

    @property
    def next(self) -> str | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    @property
    def _kind(self) -> str | None:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else None

    def _take(self, wanted: str | None = None) -> str:
        found = self.next
        if found is None or (wanted is not None and found != wanted):
            raise Unknown(f"expected {wanted}, found {found}")
        self._at += 1
        return found

    def sum(self) -> Term:
        """Read terms with signs before them."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unknown("too deep")
        sign = self._take() if self.next in ("+", "-") else "+"
        total = _negative(self._product()) if sign == "-" else self._product()
        while self.next in ("+", "-"):
            sign, left, right = self._take(), total, self._product()
            total = _two(left, _negative(right) if sign == "-" else right, real_numbers.add)
        self._depth -= 1
        return total

    def _product(self) -> Term:
        value, divided = self._power(), False
        while self.next is not None:
            left = value
            if self.next in _TIMES:
                self._take()
                value = _two(left, self._signed(), real_numbers.multiply)
            elif self.next in _OVER:
                self._take()
                value, divided = _two(left, self._signed(), real_numbers.divide), True
            elif self._begins():
                if divided or self._kind == "number":  # `1/2x`, `x2`
                    raise Unknown("ambiguous")
                value = _two(left, self._power(), real_numbers.multiply)
            else:
                break
        return value

    def _begins(self) -> bool:
        """Tell whether a factor without a sign before it begins here."""
        return self._kind in ("number", "letter", "command") or self.next in ("(", "[", "{") or self._bar()

    def _bar(self) -> bool:
        return self.next == "|" and not self._inside

    def _signed(self) -> Term:
        if self.next == "-":
            self._take()
            return _negative(self._power())
        return self._power()

    def _power(self) -> Term:
        value = self._atom()
        while self.next == "!":
            self._take()
            value = _one(value, real_numbers.factorial_of)
        if self.next == "^":
            value = _two(value, self._exponent(), real_numbers.power)
            if self.next in ("^", "!"):
                raise Unknown("ambiguous")
        return value

    def _exponent(self) -> Term:
        self._take("^")
        if self.next == "{":
            return self._group()
        if self.next == "-":
            raise Unknown("an exponent without braces")
        if self._kind == "number" and len(self.next or "") > 1:
            raise Unknown("an exponent without braces")
        return self._atom()

    def _group(self) -> Term:
        closing = _CLOSINGS[self._take()]
        inside, self._inside = self._inside, False
        value = self.sum()
        self._inside = inside
        self._take(closing)
        return value

    def _atom(self) -> Term:
        kind, token = self._kind, self.next
        if token in ("(", "[", "{"):
            return self._group()
        if self._bar():
            return self._absolute()
        self._take()
        if kind == "number":
            value = Fraction(token or "")
            return lambda point: value
        if kind == "letter":
            return self._letter(token or "")
        if kind == "command":
            return self._command(token or "")
        raise Unknown(str(token))

    def _absolute(self) -> Term:
        self._take("|")
        self._inside = True
        value = self.sum()
        self._inside = False
        self._take("|")
        return _one(value, real_numbers.absolute)

    def _letter(self, name: str) -> Term:
        if (name in _FUNCTION_NAMES and self.next == "(") or (name == "d" and self._kind == "letter"):
            raise Unknown(name)
        if name == "e":
            return lambda point: Decimal(1).exp()
        self.letters.add(name)
        return lambda point: point[name]

    def _command(self, name: str) -> Term:
        if name == r"\pi":
            return lambda point: +PI
        if name in _LETTERS:
            return self._letter(name)
        if name in (r"\frac", r"\binom"):
            return _two(
                self._braced(), self._braced(), real_numbers.divide if name == r"\frac" else real_numbers.binomial
            )
        if name == r"\sqrt":
            root = self._group() if self.next == "[" else lambda point: Fraction(2)
            return _two(self._braced(digit=True), root, real_numbers.root)
        if name in FUNCTIONS:
            return self._function(FUNCTIONS[name])
        if name == r"\log":
            base = self._base() if self.next == "_" else lambda point: Fraction(10)
            value = self._function(real_numbers.logarithm)
            return _two(value, _one(base, real_numbers.logarithm), real_numbers.divide)
        raise Unknown(name)

    def _base(self) -> Term:
        self._take("_")
        return self._group() if self.next == "{" else self._atom()

    def _braced(self, *, digit: bool = False) -> Term:
        if digit and self._kind in ("number", "letter") and len(self.next or "") == 1:
            return self._atom()
        if self.next != "{":
            raise Unknown("an argument without braces")
        return self._group()

    def _function(self, function: Callable[[Value], Value]) -> Term:
        power = self._exponent() if self.next == "^" else None
        if self.next in ("(", "{"):
            argument = self._group()
            if self.next in ("^", "!"):
                raise Unknown("ambiguous")
        else:
            argument = self._power()
            while self._kind == "letter" or self.next in (r"\pi", *_LETTERS):
                argument = _two(argument, self._power(), real_numbers.multiply)
        value = _one(argument, function)
        return value if power is None else _two(value, power, real_numbers.power)


def _one(term: Term, function: Callable[[Value], Value]) -> Term:
    return lambda point: function(term(point))


def _two(left: Term, right: Term, function: Callable[[Value, Value], Value]) -> Term:
    return lambda point: function(left(point), right(point))


def _negative(term: Term) -> Term:
    return lambda point: -term(point)
