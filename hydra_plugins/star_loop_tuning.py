"""The package in which Hydra looks for sweepers, and demands that they are defined."""

from star_loop.config.tuning import Tuning


class Optuna(Tuning):
    """The sweeper of `hydra/sweeper=optuna`."""
