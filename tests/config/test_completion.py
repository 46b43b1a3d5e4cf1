"""Tab completes groups, options, the keys of constructors, and the values of those that take a few words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from star_loop.config.completion import offered


@pytest.mark.parametrize(
    "line, words",
    [
        ("star_loop sampler.po", ["sampler.power="]),
        ("star_loop experiment=smoke sampler=skill_it sampler.mixture.fl", ["sampler.mixture.floor="]),
        ("star_loop -m seed=0,1 ++schedule.train_by=", ["++schedule.train_by=steps", "++schedule.train_by=epochs"]),
        ("star_loop evaluation.shots=t", ["evaluation.shots=true"]),
        ("star_loop schedule.quota=", ["schedule.quota=beta", "schedule.quota=null"]),
        ("star_loop sampler.nothing", []),
        ("star_loop sampler=no_such_one sampler.po", []),
        ("star_loop sampler=ad", []),  # Hydra's own
        ("star_loop", []),
    ],
)
def test_words_that_a_constructor_knows(line: str, words: list[str]) -> None:
    assert offered(line) == words


INSTALLED = """
eval "$(star_loop -sc install=bash)"
press_tab() {
    COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    "$(complete -p star_loop | sed 's/.*-F \\([^ ]*\\) .*/\\1/')"
    echo "${COMPREPLY[@]}"
}
press_tab 'star_loop sampler=adas'
press_tab 'star_loop sampler=adastar sampler.po'
"""


def test_one_line_installs_it_in_bash(tmp_path: Path) -> None:
    command = tmp_path / "star_loop"  # as the entry point that an installation makes
    command.write_text(f"#!{sys.executable}\nfrom star_loop.__main__ import main\nmain()\n")
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", INSTALLED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["sampler=adastar", "sampler.power="], done.stderr
