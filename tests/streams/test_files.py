"""The real file layer does what its contract says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.errors import MisuseError
from streams.files import DirectoryLock, DiskFiles


def test_append_write_read_truncate(tmp_path: Path) -> None:
    files = DiskFiles()
    file = files.open(tmp_path / "a", write=True, create=True)
    parts = [b"%05d" % number for number in range(3000)]  # more than one writev takes
    assert file.append(parts) == 15_000
    file.write(5, b"XXXXX")
    assert file.append([b"end"]) == 3, "a write in the middle does not move the end"
    assert file.read(0, 15) == b"00000XXXXX00002"
    assert file.size() == 15_003
    file.truncate(10)
    file.append([b"again"])
    file.sync()
    assert file.read(0, 100) == b"00000XXXXXagain"
    file.close()
    reopened = files.open(tmp_path / "a", write=True)
    reopened.append([b"!"])
    assert (tmp_path / "a").read_bytes() == b"00000XXXXXagain!"
    reopened.close()
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0, "readable by this user alone"


def test_appends_of_any_size_arrive_whole(tmp_path: Path) -> None:
    """They are cut into calls that the kernel takes quickly; nothing of that is seen."""
    file = DiskFiles().open(tmp_path / "a", write=True, create=True)
    parts = [b"head", os.urandom(3 << 20), b"", bytearray(b"x" * 100), memoryview(b"y" * (1 << 20)), b"tail"]
    assert file.append(parts) == sum(map(len, parts))
    assert file.append([]) == 0
    file.append([b"!"])
    file.close()
    assert (tmp_path / "a").read_bytes() == b"".join([*parts, b"!"])


def test_replace_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    files = DiskFiles()
    files.replace(tmp_path / "state", b"one")
    files.replace(tmp_path / "state", b"two")
    assert (tmp_path / "state").read_bytes() == b"two"
    assert files.listing(tmp_path) == ["state"]
    assert files.listing(tmp_path / "absent") == []


def test_opening_what_is_not_there_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DiskFiles().open(tmp_path / "absent")


def test_a_directory_has_one_owner_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from streams.files import DirectoryLock\n"
        "lock = DirectoryLock(pathlib.Path(sys.argv[1]), owner='the other')\n"
        "print('taken', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "taken\n"
    with pytest.raises(MisuseError, match=rf"in use by the other \(process {other.pid}\); stop that one first"):
        DirectoryLock(tmp_path, owner="us")
    other.kill()
    other.communicate()
    lock = DirectoryLock(tmp_path, owner="us")
    lock.release()
    DirectoryLock(tmp_path, owner="us again").release()
