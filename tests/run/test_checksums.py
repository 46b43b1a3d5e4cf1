"""`checksums.txt`: appended to, whole or torn by a kill, and never believed when it is anything else."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.run.checksums import Ledger
from star_loop.run.disk import Disk, RunError

FILES = {"a.jsonl": b"1", "waves/000.jsonl": b"22", "b.jsonl": b"", "waves/001.jsonl": b"4444"}


def ledger(folder: Path, disk: Disk | None = None) -> Ledger:
    return Ledger(folder, disk or Disk(), lambda: "Do this")


def publish(folder: Path, names: int = len(FILES)) -> bytes:
    listed = ledger(folder)
    for name, data in list(FILES.items())[:names]:
        listed.publish(name, data)
    return listed.path.read_bytes()


@given(at=st.integers(0, 600))
def test_a_torn_line_is_entered_again_with_the_same_bytes(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    before, whole = len(publish(folder, 3)), publish(folder)
    assert len(publish(folder)) == len(whole), "what is entered already is not entered again"
    listed = ledger(folder)
    listed.path.write_bytes(whole[: before + at % (len(whole) - before)])
    (folder / "waves/001.jsonl").unlink()  # its checksum comes first
    for name in list(FILES)[:3]:
        listed.read(name)
    listed.publish("waves/001.jsonl", FILES["waves/001.jsonl"])
    assert listed.path.read_bytes() == whole


@given(at=st.integers(0, 599), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused(tmp_path_factory: pytest.TempPathFactory, at: int, flip: int) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    whole = bytearray(publish(folder))
    whole[at % len(whole)] ^= flip
    (folder / "checksums.txt").write_bytes(whole)
    with pytest.raises(RunError, match=r"checksums\.txt is damaged.*Do this"):
        for name in FILES:
            ledger(folder).read(name)


@given(at=st.integers(0, 599))
def test_where_lines_are_cut_off_the_files_that_they_knew_give_it_away(
    tmp_path_factory: pytest.TempPathFactory, at: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = publish(folder)
    kept = whole[: at % len(whole)]
    (folder / "checksums.txt").write_bytes(kept)
    listed = ledger(folder)
    if kept.endswith(b"\n") and kept.splitlines()[-1].startswith(b"#"):
        for name in FILES:  # as if the rest had been lost as a whole: known from here on
            listed.read(name)
        assert listed.path.read_bytes() == whole
    else:
        with pytest.raises(RunError, match=r"checksums\.txt is damaged: its end is cut off\. Do this"):
            for name in FILES:
                listed.read(name)


def test_a_file_that_is_made_again_otherwise_replaces_its_checksum(tmp_path: Path) -> None:
    publish(tmp_path)
    listed = ledger(tmp_path)
    listed.publish("a.jsonl", b"another")
    assert listed.read("a.jsonl") == b"another"
    assert list(ledger(tmp_path).entries()) == list(FILES)
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "checksums.txt"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.count("OK") == len(FILES), done.stderr


class Counting(Disk):
    """Adds up what is written."""

    written = 0

    def write(self, path: Path, data: bytes) -> None:
        self.written += len(data)
        super().write(path, data)

    def append(self, path: Path, line: bytes) -> None:
        self.written += len(line)
        super().append(path, line)

    def flush(self, path: Path) -> None:
        return


def test_what_is_written_for_a_file_does_not_grow_with_their_number(tmp_path: Path) -> None:
    disk = Counting()
    listed = ledger(tmp_path, disk)
    for number in range(300):
        listed.publish(f"waves/{number:03d}.jsonl", b"")
    assert disk.written == listed.path.stat().st_size < 300 * 160
