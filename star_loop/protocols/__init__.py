"""The verbs: what every part of the loop promises. Not here: what keeps a promise (tasks, samplers, generators).

Each docstring's "Law" is a test that runs over `conf/`.
"""

from star_loop.errors import BootstrapError as BootstrapError
from star_loop.errors import EngineError as EngineError
from star_loop.errors import PolicyError as PolicyError
from star_loop.errors import TrainingError as TrainingError
from star_loop.protocols.engines import Arrived as Arrived
from star_loop.protocols.engines import Engine as Engine
from star_loop.protocols.engines import Generator as Generator
from star_loop.protocols.engines import Progress as Progress
from star_loop.protocols.engines import Session as Session
from star_loop.protocols.engines import Tracker as Tracker
from star_loop.protocols.engines import Trainer as Trainer
from star_loop.protocols.engines import themselves as themselves
from star_loop.protocols.policies import Allocator as Allocator
from star_loop.protocols.policies import Sampler as Sampler
from star_loop.protocols.policies import Selector as Selector
from star_loop.protocols.tasks import Task as Task
from star_loop.protocols.tasks import Verifier as Verifier
