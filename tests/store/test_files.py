"""Whole or not at all: at every point of a kill, beside a living writer, on a full disk."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.killing import Killed, after_kills, content, killing

from fimetric.store import files
from fimetric.store.files import DiskFullError, sweep, whole_file, whole_folder


def write_file(place: Path, text: str) -> None:
    with whole_file(place / "a.csv") as temporary:
        temporary.write_text(text)


def write_folder(place: Path, text: str) -> None:
    with whole_folder(place / "a.csv", overwrite=True) as temporary:
        (temporary / "one").write_text(text)
        (temporary / "two").write_text(text)


@pytest.fixture(params=[True, False], ids=["exchange", "two steps"])
def exchange(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(files, "_exchange", lambda a, b: False)


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_kill_at_any_point_leaves_old_or_new_and_the_next_call_tidies(tmp_path, exchange, write):
    write(tmp_path / "old", "old")
    write(tmp_path / "new", "new")
    either = [content(tmp_path / name) for name in ("old", "new")]
    for at in range(1, 99):
        place = tmp_path / str(at)
        write(place, "old")
        try:
            with killing(at):
                write(place, "new")
        except Killed:
            pass
        else:
            break
        swept = tmp_path / f"swept-{at}"
        os.rename(place, swept)
        sweep(swept)
        assert content(swept) in either
        os.rename(swept, place)
        write(place, "new")
        assert content(place) == either[1]
    assert at > 3
    assert len(after_kills(lambda folder: write(folder, "new"), tmp_path)) >= 2


def test_an_exchange_never_leaves_the_place_empty(tmp_path):
    for at in range(1, 99):
        place = tmp_path / str(at)
        write_folder(place, "old")
        try:
            with killing(at):
                write_folder(place, "new")
        except Killed:
            assert (place / "a.csv" / "two").read_text() in ("old", "new")
        else:
            break


def test_a_temporary_ends_like_its_file_and_is_made_as_any_other(tmp_path):
    (tmp_path / "plain").touch()
    with whole_file(tmp_path / "a[1].csv") as temporary:
        assert temporary.suffix == ".csv"
    assert (tmp_path / "a[1].csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_two_living_writers_leave_each_other_alone(tmp_path, whole):
    place = tmp_path / "a"
    with whole(place) as first:
        sweep(tmp_path)
        with whole(tmp_path / "a") as second:
            assert first.exists()
            assert first != second
        assert first.exists()
        if whole is whole_folder:
            (first / "it").touch()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert whole is whole_file or (place / "it").exists()


WRITER = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("half", file=file, flush=True)
    print("locked", flush=True)
    time.sleep(60)
"""


def test_what_another_process_writes_stays_until_it_is_killed(tmp_path):
    temporary = files._beside(tmp_path / "a.csv", "unfinished")
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", WRITER, temporary], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "locked\n"
        write_file(tmp_path, "mine")
        sweep(tmp_path)
        assert temporary.read_text() == "half\n"
        process.send_signal(signal.SIGKILL)
    write_file(tmp_path, "mine")
    assert content(tmp_path) == {"a.csv": b"mine"}


def test_what_is_not_ours_is_left_alone(tmp_path):
    theirs = [".a.csv.swp", ".a.csv.backup.unfinished", ".b.csv.0123abcd.unfinished", "a.csv.parts"]
    for name in theirs:
        (tmp_path / name).touch()
    write_file(tmp_path, "mine")
    assert set(os.listdir(tmp_path)) == {"a.csv", *theirs}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_full_disk_is_told_with_the_name_and_leaves_what_was(tmp_path, monkeypatch, code, write):
    write(tmp_path, "old")
    real = Path.write_text

    def full(path, text):
        real(path, text[:1])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(
        DiskFullError, match=rf"disk is full: .*{tmp_path.name}/a\.csv was not"
    ) as e:
        write(tmp_path, "new")
    assert "make room and call again" in str(e.value)
    monkeypatch.undo()
    found = content(tmp_path)
    write(tmp_path, "old")
    assert content(tmp_path) == found


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), whole_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("named", "ours"),
    [
        ("a.csv", True),
        (".a.csv.0123abcd.unfinished.csv", True),
        ("", True),  # the folder
        ("clip.wav", False),
        ("../a.wav", False),
        ("a.csv.wav", False),
    ],
)
def test_an_error_of_another_file_is_not_blamed_on_what_is_written(tmp_path, named, ours):
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / named))
    with pytest.raises(PermissionError) as raised, whole_file(tmp_path / "a.csv"):
        raise error
    assert ("a.csv cannot be written" in str(raised.value)) == ours
    assert (raised.value is error) != ours
