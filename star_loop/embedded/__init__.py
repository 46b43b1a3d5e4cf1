"""The tiny base model that ships with the package, so that the default run needs no download. Not here: other models.

`python -m star_loop.embedded` builds it again from nothing; `TINY/README.md` is its model card.
"""

from pathlib import Path

TINY = Path(__file__).parent / "tiny"
"""The directory of the shipped weights, tokenizer and model card."""
