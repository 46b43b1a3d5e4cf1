"""`python -m star_loop.export RUN`: what a run has made, in the formats that other tools load.

<run>/export/<iteration>/
  adapter/       PEFT: `PeftModel.from_pretrained`, or a vLLM LoRARequest (trainer=full has none)
  base/          what the adapter belongs to, where it came with a Python package (as `tiny` does)
  merged/        a whole model, base and adapter summed, or as trainer=full made it: transformers, vLLM
  data/          a data set, with its card:
    rationales.parquet   prompt, completion, …: every right rationale that was trained on (TRL's layout)
    pairs.parquet        prompt, chosen, rejected, …: a correct and an incorrect rationale of the same question, for
                         DPO or a verifier (V-STaR, arXiv 2402.06457)
  README.md      the model card: figures, how to load it, its prompt, its settings, its command
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from star_loop.config.screen import conclude, outlive_screen
from star_loop.errors import a_path
from star_loop.export.card import PARTS
from star_loop.export.files import export
from star_loop.export.hub import push
from star_loop.run.disk import RunError


def main(arguments: Sequence[str] | None = None) -> int:
    """Export and say where.

    Returns:
        0, or 2 where nothing could be exported.
    """
    parser = argparse.ArgumentParser(prog="python -m star_loop.export", description="Write <run>/export/<iteration>/.")
    parser.add_argument("run", type=a_path, metavar="RUN", help="a run directory, e.g. outputs/default")
    parser.add_argument("--iteration", default="best", help="a number, last, or best (highest validation accuracy)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what to write (default: everything)")
    parser.add_argument("--license", default="other", help="for the cards: a Hub licence id, such as apache-2.0")
    parser.add_argument("--push", metavar="REPO", help="upload it to the Hugging Face Hub, privately, e.g. me/my-model")
    options = parser.parse_args(arguments)
    try:
        folder = export(options.run, options.iteration, options.parts, options.license)
        sys.stdout.write(f"{folder}\n")
        for address in push(folder, options.push) if options.push else []:
            sys.stdout.write(f"{address}\n")
    except (RunError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    outlive_screen()
    logging.getLogger("star_loop.tasks").setLevel(logging.ERROR)  # what they warn of was said at launch
    conclude(main)
