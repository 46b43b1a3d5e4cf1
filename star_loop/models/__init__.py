"""Which language model, and its weights on disk and in memory. Not here: what generates or trains with it."""

from star_loop.models.pretrained import Model as Model
from star_loop.models.pretrained import Pretrained as Pretrained
from star_loop.models.pretrained import fingerprint as fingerprint
from star_loop.models.pretrained import is_whole as is_whole
