"""A misspelt group, option or key is answered with the nearest one that exists."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException

from star_loop.config.explain import explain
from star_loop.config.hydra import root_keys
from tests.quiz import configure


@pytest.mark.parametrize(
    "override, message",
    [
        ("sampler=adastr", "Could not find 'sampler/adastr': did you mean adastar?"),
        ("experiment=ada-star", "Could not find 'experiment/ada-star': did you mean adastar?"),
        ("sampler@sampler.within=unifrom", "Could not override 'sampler@sampler.within'"),
        ("samplr=adastar", "samplr: no such key: did you mean sampler?"),
        ("iteration=3", "iteration: no such key: did you mean iterations?"),
        ("~sampelr", "sampelr: no such key: did you mean sampler?"),
        ("+samplr@x=adastar", "samplr: no such key: did you mean sampler?"),
        ("~selectors.nothing", "'selectors.nothing' does not exist"),
    ],
)
def test_the_nearest_is_named(override: str, message: str) -> None:
    with pytest.raises(HydraException) as error:
        configure(override)
    assert message in explain(error.value, root_keys())


def test_where_nothing_is_near_all_are_named() -> None:
    with pytest.raises(HydraException) as error:
        configure("zzz=1")
    assert explain(error.value, root_keys()).startswith(
        "zzz: no such key: there are allocator, debug, evaluation, experiment, fork, "
    )
    with pytest.raises(HydraException) as error:
        configure("trainer=zzz")
    assert (
        explain(error.value, root_keys())
        == "Could not find 'trainer/zzz': there are accelerate, full, lora, scripted, trl"
    )


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "star_loop", "samplr=adastar"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "star_loop: configuration error: samplr: no such key: did you mean sampler?\n"
    assert list(tmp_path.iterdir()) == []
