"""The process in which lm-eval-harness runs: a line of JSON asks, a line answers, and everything else is its log.

On its own, so that neither its memory nor what it sets in torch and in environment variables outlives it.
"""

import difflib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class Refused(ValueError):
    """What was asked cannot be done, in words for whoever asked."""


def main() -> None:
    """Answer one question."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the harness prints
    try:
        reply = _answer(json.loads(sys.stdin.readline()))
    except Refused as error:
        reply = {"failed": str(error)}
    except Exception as error:
        import traceback

        traceback.print_exc()
        reply = {"failed": f"{type(error).__name__}: {error}"}
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def _answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=asked["folder"])
    for name in asked["tasks"]:
        if not manager.match_tasks([name]):
            close = difflib.get_close_matches(name, [*manager.all_tasks], n=1)
            hint = f"did you mean {close[0]}?" if close else "`lm-eval ls tasks` lists them;"
            raise Refused(f"lm-eval-harness has no task {name!r}: {hint} evaluation.external.folder= adds your own")
    return {"results": _measure(asked, manager)} if "base" in asked else {"questions": _questions(asked, manager)}


def _questions(asked: Mapping[str, Any], manager: Any) -> dict[str, list[str]]:
    found = {}
    for name in asked["tasks"]:
        try:
            tasks = manager.load([name])["tasks"].values()
        except Exception as error:  # whatever a reader of data sets raises
            what = f"the data of {name} cannot be had ({type(error).__name__}: {error})"
            offline = "HF_HUB_OFFLINE is set, so only what is cached is used: " * bool(os.environ.get("HF_HUB_OFFLINE"))
            raise Refused(f"{what}: {offline}run once with a connection") from error
        found[name] = [text for task in tasks for text in _texts(task, asked["limit"])]
    return found


def _texts(task: Any, limit: int | None) -> Iterable[str]:
    documents = task.eval_docs
    for index in range(min(len(documents), limit or len(documents))):
        text = task.doc_to_text(documents[index])
        # Of some tasks of options the text is the number of the right one, and the options are the texts.
        yield from [text] if isinstance(text, str) else _choices(task, documents[index])


def _choices(task: Any, document: Any) -> Sequence[str]:
    return [str(choice) for choice in task.doc_to_choice(document)]


def _measure(asked: Mapping[str, Any], manager: Any) -> dict[str, Any]:
    from pathlib import Path

    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    from star_loop.models import Model, Pretrained
    from star_loop.models.device import device
    from star_loop.models.weights import load_merged, load_tokenizer

    base = Pretrained(**asked["base"])
    model = load_merged(Model(base=base, adapter=None if asked["adapter"] is None else Path(asked["adapter"])))
    tokenizer = load_tokenizer(base)
    results = simple_evaluate(
        HFLM(pretrained=model.to(device()).eval(), tokenizer=tokenizer, batch_size=asked["batch"]),
        tasks=list(asked["tasks"]), num_fewshot=asked["shots"], limit=asked["limit"], task_manager=manager,
        log_samples=False, bootstrap_iters=1000, apply_chat_template=base.chat_template,
        system_instruction=base.system_prompt,
    )  # fmt: skip
    every = {**results["results"], **results.get("groups", {})}
    return {name: _numbers(every[name]) for name in asked["tasks"] if name in every}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if hasattr(value, "__float__")}


if __name__ == "__main__":
    main()
