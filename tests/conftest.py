"""One profile for Hypothesis, and a core of its own for each process that pytest-xdist starts.

Two processes that both use all cores slow each other down: torch and vLLM start a thread for each core that they may
use, and wait in busy loops. Child processes inherit the core.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(  # the same examples each time, no deadline (the machine may be busy)
    "suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("suite")

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
if CORES and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
    os.sched_setaffinity(0, {CORES[int(worker.removeprefix("gw")) % len(CORES)]})  # before torch counts them


@pytest.fixture
def all_cores() -> Iterator[list[int]]:
    """All cores of the machine, which the test and its child processes may use."""
    if not CORES:
        yield []
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield CORES
    os.sched_setaffinity(0, own)
