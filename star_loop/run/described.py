"""What a run's configuration describes, built again."""

from typing import TYPE_CHECKING

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError

if TYPE_CHECKING:
    from star_loop.experiment import Experiment


def experiment_of(run: RunDirectory) -> "Experiment":
    """Return the experiment of a run.

    Raises:
        RunError: `config.yaml` is damaged, or describes none.
    """
    try:
        return build(run.config())
    except ConfigError as error:
        raise RunError(f"{run.path / 'config.yaml'} does not describe a run ({error}): check the path") from error
