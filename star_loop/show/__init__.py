"""The rollouts of a run, in a terminal or for other programs: `python -m star_loop.show`.

Not here: pages for a browser (report), why a text was judged so (judge).
"""
