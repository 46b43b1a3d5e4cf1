"""star_loop: a language model teaches itself to reason, one iteration at a time.

Not here: code, but for what says that a command was interrupted while it was loaded. This is the face for notebooks and
scripts (docs/python.md); a name is imported when it is first used.

    import star_loop

    config = star_loop.compose("experiment=smoke", "name=first")
    run = star_loop.improve(config)
    run.table()
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.argv[:1] == ["-m"]:  # so it is while Python looks for the module that it was told to run
    from star_loop.config.screen import say_interrupted

    sys.excepthook = say_interrupted

if TYPE_CHECKING:
    from star_loop.errors import ConfigError as ConfigError
    from star_loop.notebook import compose as compose
    from star_loop.notebook import improve as improve
    from star_loop.notebook import open_run as open_run
    from star_loop.preparations import Preparation as Preparation
    from star_loop.protocols import Allocator as Allocator
    from star_loop.protocols import Generator as Generator
    from star_loop.protocols import Sampler as Sampler
    from star_loop.protocols import Selector as Selector
    from star_loop.protocols import Task as Task
    from star_loop.protocols import Tracker as Tracker
    from star_loop.protocols import Trainer as Trainer
    from star_loop.protocols import Verifier as Verifier
    from star_loop.records import Observation as Observation
    from star_loop.records import Outcome as Outcome
    from star_loop.records import Proposal as Proposal
    from star_loop.records import Rollout as Rollout
    from star_loop.records import Verdict as Verdict
    from star_loop.run.directory import RunDirectory as RunDirectory
    from star_loop.run.disk import RunError as RunError
    from star_loop.scorers import Scorer as Scorer

_HOMES = {
    "errors": ("ConfigError",),
    "notebook": ("compose", "improve", "open_run"),
    "preparations": ("Preparation",),
    "protocols": ("Allocator", "Generator", "Sampler", "Selector", "Task", "Tracker", "Trainer", "Verifier"),
    "records": ("Observation", "Outcome", "Proposal", "Rollout", "Verdict"),
    "run.directory": ("RunDirectory",),
    "run.disk": ("RunError",),
    "scorers": ("Scorer",),
}
_PLACES = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'star_loop' has no attribute {name!r}")
    return getattr(import_module(f"star_loop.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
