"""Who is told how the run goes: JSON Lines for programs, the console for people, four services for curves.

Not here: pages about a run (report).
"""

from star_loop.trackers.console import Console
from star_loop.trackers.fan_out import fan_out
from star_loop.trackers.json_lines import JsonLines
from star_loop.trackers.mlflow import MLflow
from star_loop.trackers.profile import Profile
from star_loop.trackers.tensorboard import TensorBoard
from star_loop.trackers.trackio import Trackio
from star_loop.trackers.wandb import WandB

__all__ = ["Console", "JsonLines", "MLflow", "Profile", "TensorBoard", "Trackio", "WandB", "fan_out"]
