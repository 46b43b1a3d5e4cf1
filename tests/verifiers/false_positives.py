"""Texts that hold the gold answer and do not give it: what a lenient verifier would fall for.

`{gold}` is the right answer, `{other}` a wrong one; `{lead}` begins a statement: "The answer is ", "#### ", "Answer: ".
"""

from collections.abc import Iterator
from itertools import cycle

FORMS = (
    # taken back in the same breath
    "{lead}not {gold}.", "{lead}{gold}, not.", "{lead}{gold} is wrong.", "{lead}anything but {gold}.", "{lead}never {gold}.",
    "{lead}neither {gold} nor {other}.", "{lead}{gold}, which is incorrect.", "{lead}certainly not {gold}.",
    "{lead}{gold} is what one must not say.", "{lead}{gold} is false.", "{lead}{gold}? Not at all.", "{lead}un{gold}.",
    "{lead}{gold} would be wrong.", "{lead}impossible to be {gold}.", "{lead}no longer {gold}.", "{lead}the opposite of {gold}.",
    # taken back in the next sentence
    "{lead}{gold}. Wait, that is wrong.", "{lead}{gold}. No, it is not.", "{lead}{gold}. Actually, {other}.",
    "{lead}{gold}.\nThat is wrong.", "{lead}{gold}. This is incorrect.", "{lead}{gold}.\n\nWait, let me check that again.",
    "{lead}{gold}. Scratch that.", "{lead}{gold}. On second thought, {other} fits better.", "{lead}{gold}. I was wrong.",
    "{lead}{gold}. Correction: {other}.", "{lead}{gold}. No!", "{lead}{gold}. But that is not right.",
    "{lead}{gold}. Hmm, no.", "{lead}{gold}. Just kidding.", "{lead}{gold}. That cannot be right.",
    "{lead}{gold}.\nOops, I made a mistake.", "{lead}{gold}. That's not correct.", "{lead}{gold}. Sorry, I meant {other}.",
    # another answer comes last
    "{lead}{gold}.\n{lead}{other}.", "First I had {gold}. {lead}{other}.", "{lead}{gold}. So, finally: {lead}{other}.",
    "{lead}{gold} at first sight; {lead}{other}.", "{gold}\n{gold}\n{gold}\n{lead}{other}", "It looks like {gold}, but {lead}{other}.",
    "Everybody says {gold}. {lead}{other}.", "{lead}{other}. ({gold} was a trap.)", "{lead}{other}, although {gold} is tempting.",
    "{lead}{other} because {gold} is the answer to another question.", "{lead}{other}.\n\nP.S. {gold} came second.",
    "<answer>{gold}</answer> <answer>{other}</answer>", "\\boxed{{{gold}}} and then \\boxed{{{other}}}",
    "#### {gold}\n#### {other}", "Answer: {gold}\nAnswer: {other}", "{lead}{gold}. {lead}unknown.", "{lead}{gold}. {lead}open.",
    # two answers, or a choice left open
    "{lead}{gold} or {other}.", "{lead}{other} or {gold}.", "{lead}either {gold} or {other}.", "{lead}{gold}/{other}.",
    "{lead}{gold} and {other}.", "{lead}both {gold} and {other}.", "{lead}{gold} or something else.", "{lead}one of {gold}, {other}.",
    "{lead}between {gold} and {other}.", "{lead}somewhere near {gold}.", "{lead}maybe {gold}.", "{lead}perhaps {gold}, perhaps {other}.",
    "{lead}probably {gold}.", "{lead}possibly {gold}.", "{lead}{gold} unless it is {other}.", "{lead}at least {gold}.",
    "{lead}more than {gold}.", "{lead}less than {gold}.", "{lead}almost {gold}.", "{lead}{gold} times {other}.",
    "{lead}{gold} plus {other}.", "{lead}twice {gold}.", "{lead}half of {gold}.", "{lead}{gold}, {other}, or none of them.",
    # asked, supposed, quoted
    "{lead}{gold}?", "Is it true that the answer is {gold}?", "Could it be that the answer is {gold}?", "Who says the answer is {gold}?",
    "If the answer is {gold}, the rest follows.", "Suppose the answer is {gold}.", "Assume the answer is {gold}",
    "Whether the answer is {gold}", "Unless the answer is {gold}, we are lost.", "Had the answer been {gold}, we would know.",
    "Even if the answer is {gold}, nothing changes.", "Let us check whether the answer is {gold}.",
    "Assuming the answer is {gold}, we get a contradiction.", "Supposing the answer is {gold} leads nowhere.",
    "I doubt that the answer is {gold}.", "Nobody believes that the answer is {gold}.", "It is wrong that the answer is {gold}.",
    "It is not the case that the answer is {gold}.", "I do not think the answer is {gold}.", "We cannot say that the answer is {gold}.",
    "My friend claims that the answer is {gold}, and he is wrong.", "You might think the answer is {gold}.",
    "One may be tempted to say the answer is {gold}.", "Some say that the answer is {gold}.", "It is false that the answer is {gold}.",
    "There is no reason to believe the answer is {gold}.", "It seems unlikely that the answer is {gold}.",
    "Pretend the answer is {gold}.", "Imagine that the answer is {gold}.", "He asked me if the answer is {gold}.",
    # mentioned and nothing more
    "{gold} appears in the question.", "I thought of {gold} first.", "The number {gold}, the word {other}: both are there.",
    "Not {gold}", "Not {gold}.", "Surely not: {gold} is impossible", "{gold} is out of the question.", "Let x = {gold} and see.",
    "We can rule out {gold}.", "In step 1 we meet {gold}, in step 2 {other}.", "The options are {gold} and {other}.",
    "Example: for another question it was {gold}.", "{gold}{gold}", "{gold} {other}", "{other} {gold}", "x{gold}", "{gold}x",
    "{gold} -> {other}", "{gold} => {other}", "({gold}", "{{{gold}", "[{gold}]({other})", "print({gold})", "{gold} != {gold}",
    "answer({gold})", "the_answer_is_{gold}", "ANSWER{gold}", "Theanswer is{gold}", "answers are {gold}", "{gold} is the answer to that riddle.",
    # forms that break off, or hold a placeholder
    "{lead}", "{lead}…", "{lead}{{gold}}", "{lead}[insert {gold} here]", "{lead}<{gold}>...<{other}>", "{lead}TODO ({gold}?)",
    "\\boxed{{{gold}", "\\boxed{{}} {gold}", "\\boxed{{not {gold}}}", "\\boxed{{{gold} or {other}}}", "<answer>{gold}", "<answer></answer>{gold}",
    "<answer>not {gold}</answer>", "<answer>{other} {gold}</answer>", "####\n\n", "#### none, not {gold}", "#### {gold} {other}", "#### ?{gold}",
    "Answer:\n\nI do not know, {gold}?", "The final answer: cannot be determined ({gold}?)", "{lead}\u200bnot {gold}", "{lead}n0t {gold}",
    "{lead}\u202e{gold} not", "{lead}¬{gold}", "{lead}!{gold}", "{lead}-({gold})-", "{lead}~{gold}", "{lead}≠{gold}", "{lead}{gold}{other}",
)  # fmt: skip
LEADS = ("The answer is ", "Answer: ", "So the answer is: ", "#### ", "**Answer:** ", "The final answer is ")


def texts(gold: str, other: str, *, leads: tuple[str, ...] = LEADS) -> Iterator[str]:
    """Every form once, with one lead after the other."""
    for form, lead in zip(FORMS, cycle(leads), strict=False):
        yield form.format(gold=gold, other=other, lead=lead)
