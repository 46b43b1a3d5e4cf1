"""Benchmarks that are not the run's own: tasks of lm-eval-harness, asked in a process of its own.

Not here: the run's held-out splits (evaluation).
"""

from star_loop.external.harness import Harness as Harness
