"""What runs beside us with the package `verifiers` (0.4): its tasks as JSON, and the rewards of replies.

It imports nothing of this package, because `verifiers` may be installed in an environment of its own:

    python -P environment_process.py <taskset> <its configuration as JSON> <number of tasks>

The first line that it writes is `{"tasks": […]}`, or `{"refused": "…"}` with the reason in words. Then it reads
`[index of a task, reply]` line by line, and writes `{"reward": 0.5}` or `{"failed": "…"}` for each.
"""

import asyncio
import inspect
import json
import os
import sys
from itertools import islice
from typing import Any

ROLES = ("system", "user", "assistant")


class RefusedError(ValueError):
    """A taskset that is not a matter of one prompt and one reply."""


def load(taskset: str, config: str, number: int) -> list[Any]:
    """Return the first tasks of a taskset.

    Raises:
        RefusedError: an episode of it takes more than one reply to one prompt.
    """
    from verifiers.v1.envs.single_agent import SingleAgentEnv
    from verifiers.v1.utils.loaders import (
        default_harness_id,
        environment_class,
        load_taskset,
        taskset_config_type,
    )

    found = load_taskset(taskset_config_type(taskset).model_validate({"id": taskset, **json.loads(config)}))
    if (environment := environment_class(taskset)) is not SingleAgentEnv:
        raise RefusedError(f"it has an environment of its own ({environment.__name__}), of several turns or agents")
    if default_harness_id(taskset) == taskset:
        raise RefusedError("it has a harness of its own: a program that calls the model as often as it likes")
    tasks = list(islice(found, number))
    for task in tasks:
        if reason := several_turns(task):
            raise RefusedError(reason)
    return tasks


def several_turns(task: Any) -> str | None:
    """Say why a prompt and a reply are not all that happens in an episode; None: they are."""
    import verifiers.v1 as vf

    kind, data = type(task), task.data
    if tools := kind.toolsets(task.config):
        return f"it has tools ({', '.join(type(tool).__name__ for tool in tools)}), which are called in turns"
    if task.NEEDS_CONTAINER or data.image:
        return "its tasks run in a container"
    if kind.setup is not vf.Task.setup or kind.finalize is not vf.Task.finalize:
        return "its tasks prepare or finish something in a runtime"
    for reward in (*task.hooks("reward"), *(judge.score for judge in task.plugged_judges())):
        runtime = inspect.signature(reward).parameters.get("runtime")
        if runtime is not None and runtime.default is inspect.Parameter.empty:
            return f"its reward {reward.__name__} looks into a runtime"
    if data.prompt is None:
        return "a simulated user opens the conversation"
    if not isinstance(data.prompt, str):
        return "its prompts are no text" if any(not _plain(message) for message in data.prompt) else None
    return None


def turns(data: Any) -> list[tuple[str, str]]:
    """Return the prompt as (role, text)."""
    system = [("system", data.system_prompt)] if data.system_prompt else []
    if isinstance(data.prompt, str):
        return [*system, ("user", data.prompt)]
    return [*system, *((message.role, _text(message)) for message in data.prompt)]


def reward(task: Any, text: str) -> float:
    """Return the sum of the weighted rewards of a reply."""
    import verifiers.v1 as vf
    from verifiers.v1.state import state_cls

    kinds = {"system": vf.SystemMessage, "user": vf.UserMessage, "assistant": vf.AssistantMessage}
    messages = [kinds[role](content=said) for role, said in turns(task.data)]
    nodes = [vf.MessageNode(parent=k - 1 if k else None, message=message) for k, message in enumerate(messages)]
    nodes.append(vf.MessageNode(parent=len(nodes) - 1, message=vf.AssistantMessage(content=text), sampled=True))
    trace = vf.Trace(
        task=vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash),
        state=state_cls(type(task))(), agent=vf.AgentInfo(config=vf.AgentConfig()), nodes=nodes,
        is_completed=True, ok=True,
    )  # fmt: skip
    asyncio.run(task.score(trace, None))
    return float(trace.reward)


def main() -> None:
    """Serve until the input ends."""
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever an environment prints is no reply

    def tell(reply: object) -> None:
        say.write(json.dumps(reply) + "\n")
        say.flush()

    taskset, config, number = sys.argv[1:]
    try:
        tasks = load(taskset, config, int(number))
    except RefusedError as refused:
        tell({"refused": f"is not of one turn: {refused}"})
        return
    except Exception as error:  # whatever a package of somebody else's does
        tell({"refused": f"cannot be loaded ({type(error).__name__}: {error})"})
        return
    tell({"tasks": [{**task.data.model_dump(mode="json"), "turns": turns(task.data)} for task in tasks]})
    for line in sys.stdin:
        index, text = json.loads(line)
        try:
            tell({"reward": reward(tasks[index], text)})
        except Exception as error:  # the same
            tell({"failed": f"{type(error).__name__}: {error}"[:500]})


def _plain(message: Any) -> bool:
    whole = isinstance(message.content, str) or all(part.type == "text" for part in message.content)
    return message.role in ROLES and whole


def _text(message: Any) -> str:
    from verifiers.v1.types import content_text

    return str(content_text(message.content))


if __name__ == "__main__":
    main()
