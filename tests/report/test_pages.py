"""Pages are readable on a phone and at a desk: looked at by a browser, and its labels by themselves."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.report import write, write_comparison
from star_loop.report.charts import beside
from tests.quiz import play
from tests.report.test_comparison import make
from tests.report.test_report import BROWSER, Page

MEASURE = """<title></title><body style="margin: 0"><script>
let left = PAGES.length;
for (const [page, width] of PAGES) {
  const frame = document.createElement("iframe");
  frame.style = `border: 0; width: ${width}px; height: 900px`;
  frame.onload = () => {
    const root = frame.contentDocument.documentElement;
    const texts = [...root.querySelectorAll("svg text")].map((text) => text.getBoundingClientRect());
    const inside = [...root.querySelectorAll("svg")].every((svg) => [...svg.querySelectorAll("text")].every((text) =>
      text.getBoundingClientRect().left >= svg.closest("figure").getBoundingClientRect().left));
    const smallest = Math.min(...texts.map((box) => Math.min(box.height, box.width > 6 ? 99 : box.width + 9)));
    document.title += `${page} ${width} ${root.scrollWidth - root.clientWidth} ${smallest.toFixed(1)} ${inside};`;
    left -= 1;
  };
  frame.src = page;
  document.body.append(frame);
}
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
def test_pages_fit_a_phone_and_a_desk_and_labels_can_be_read(tmp_path: Path) -> None:
    """Only tables and the large figure scroll sideways, each by itself, and say so."""
    assert BROWSER is not None
    play(tmp_path / "run", "task.n=60", "schedule.steps=4")
    make(tmp_path / "runs/a", (0.1, 0.3, 0.5), 0, sampler={"_target_": "mine.AVeryLongNameOfASampler" + "Indeed" * 20})
    make(tmp_path / "runs/b", (0.1, 0.3, 0.5), 0, sampler={"_target_": "mine.Other"})
    pages = [
        shutil.copy(write(tmp_path / "run"), tmp_path / "report.html"),
        write_comparison([tmp_path / "runs"], tmp_path)[0],
    ]
    asked = [[Path(page).name, width] for page in pages for width in (390, 1440)]
    (tmp_path / "measure.html").write_text(MEASURE.replace("PAGES", json.dumps(asked)))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--allow-file-access-from-files",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,4000"]  # fmt: skip
    line = [BROWSER, *options, (tmp_path / "measure.html").as_uri()]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    title = re.search(r"<title>(.*?);?</title>", done.stdout)
    found = [row.split() for row in title[1].split(";")] if title else []
    assert sorted((page, int(width)) for page, width, *_ in found) == sorted(map(tuple, asked)), done.stderr[-500:]
    for page, width, over, smallest, inside in found:
        assert (int(over), inside) == (0, "true"), (page, width)
        assert float(smallest) >= 9, (page, width, smallest)
    for page in pages:
        assert "scroll sideways" in Page(Path(page).read_text()).text


ENDS = st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200)), max_size=20)


@given(ENDS, st.floats(1, 50), st.floats(0.1, 9))
def test_labels_stand_beside_their_ends_on_no_other(
    ends: list[tuple[float, float]], width: float, height: float
) -> None:
    """Twenty of them fit into two hundred, whatever their places, so that each one finds room."""
    heights = beside(ends, width, height, 0, 400)
    placed = [(x, place) for (x, _), place in zip(ends, heights, strict=True)]
    for (x, place), (other, theirs) in combinations(placed, 2):
        assert abs(x - other) >= width or abs(place - theirs) >= height * (1 - 1e-6)
    assert all(0 <= place <= 400 for place in heights)
    for k, (x, y) in enumerate(ends):
        if all(abs(x - at) >= width or abs(y - place) >= height for at, place in placed[:k]):
            assert heights[k] == y, "what stands in nobody's way is not moved"
