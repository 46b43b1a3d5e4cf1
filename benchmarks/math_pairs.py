"""Gold answers as competition mathematics has them, with texts that state them rightly and wrongly; none is repeated.

Shares of kinds are those of MATH's test set, by eye: two thirds are numbers and fractions.
"""

from collections.abc import Iterator

FORMS: tuple[tuple[int, str, tuple[str, ...], tuple[str, ...]], ...] = (
    # weight, gold, right, wrong
    (12, "{a}", ("{a}", "{a}.0", "{a}\\text{{ ways}}", "{c}-{b}", "x={a}", "\\frac{{{d}}}{{2}}"),
     ("{b}", "{a}.5", "-{a}", "{a}\\pi")),
    (6, "\\frac{{{a}}}{{{b}}}", ("\\dfrac{{{a}}}{{{b}}}", "{a}/{b}", "\\frac{{{d}}}{{{e}}}"),
     ("\\frac{{{b}}}{{{a}}}", "\\frac{{{a}}}{{{c}}}")),
    (1, "-{a}.{k}", ("-{a}.{k}0", "-{a}\\frac{{{k}}}{{10}}"), ("{a}.{k}", "-{a}")),
    (1, "{a}\\%", ("{p}", "{a} \\%"), ("{b}\\%", "{a}")),
    (2, "{a}\\sqrt{{3}}", ("\\sqrt{{3}}\\cdot {a}", "\\sqrt{{{t}}}", "\\frac{{{t}}}{{{a}\\sqrt{{3}}}}"),
     ("{a}\\sqrt{{2}}", "{b}\\sqrt{{3}}")),
    (1, "{a}\\pi", ("\\pi\\cdot {a}", "\\frac{{{d}\\pi}}{{2}}"), ("{b}\\pi", "{a}")),
    (1, "{a}+{b}i", ("{b}i+{a}", "{a} + {b} i"), ("{a}-{b}i",)),
    (2, "{a}x^2-{b}x+1", ("1-{b}x+{a}x^2", "x({a}x-{b})+1"), ("{a}x^2+{b}x+1", "{a}x^2-{b}x-1")),
    (1, "({a},{b})", ("\\left({a}, {b}\\right)", "({a},\\frac{{{e}}}{{2}})"), ("({b},{a})", "({a},{c})")),
    (1, "[{a},\\infty)", ("\\left[{a},\\infty\\right)", "x\\ge {a}"), ("({a},\\infty)", "[{b},\\infty)")),
    (1, "{a}, {b}", ("{b}, {a}", "x={a}\\text{{ or }}x={b}"), ("{a}", "{a}, {c}")),
    (1, "\\begin{{pmatrix}} {a} & 0 \\\\ 0 & {b} \\end{{pmatrix}}",
     ("\\begin{{pmatrix}}{a}&0\\\\0&{b}\\end{{pmatrix}}",), ("\\begin{{pmatrix}}{b}&0\\\\0&{a}\\end{{pmatrix}}",)),
    (1, "y={a}x+{b}", ("y={b}+{a}x", "{a}x+{b}"), ("y={b}x+{a}",)),
    (1, "\\text{{(A)}}\\ {a}", ("\\text{{(A)}}\\ {a}",), ("\\text{{(B)}}\\ {b}",)),
)  # fmt: skip
LEADS = (
    "So the answer is $\\boxed{{{}}}$.",
    "\\[\\boxed{{{}}}\\]",
    "The final answer is $\\boxed{{{}}}$. I hope it is correct.",
)


def pairs(count: int) -> Iterator[tuple[str, str]]:
    """So many gold answers and texts; about half of the texts are right."""
    rows = [row for row in FORMS for _ in range(row[0])]
    for n in range(count):
        a = 11 + n // 2
        _, gold, right, wrong = rows[(n // 2 * 7) % len(rows)]
        numbers: dict[str, object] = {"a": a, "b": a + 2, "c": 2 * a + 2, "d": 2 * a, "e": 2 * a + 4, "t": 3 * a * a}
        numbers |= {"k": 1 + a % 9, "p": f"{a / 100:.2f}"}
        chosen = (wrong if n % 2 else right)[n // (2 * len(rows)) % len(wrong if n % 2 else right)]
        yield gold.format(**numbers), LEADS[n % 3].format(chosen.format(**numbers))
