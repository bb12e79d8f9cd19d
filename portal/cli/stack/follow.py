"""The programs' logs on the terminal, each line with the name of its program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CHUNK_BYTES = 65536


class Follower:
    """Reads what is added to some files, also across rotation. Half lines wait for their other half."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._width = max((len(path.stem) for path in paths), default=0)
        self._position = {path: _size(path) for path in paths}
        self._inode = {path: _inode(path) for path in paths}
        self._rest = dict.fromkeys(paths, b"")

    def lines(self) -> list[str]:
        """The new whole lines, file by file."""
        return [f"{path.stem:<{self._width}} | {line}" for path in self._position for line in self._new(path)]

    def _new(self, path: Path) -> list[str]:
        inode = _inode(path)
        if inode != self._inode[path] or _size(path) < self._position[path]:
            self._position[path], self._inode[path] = 0, inode
        if inode is None:
            return []
        with path.open("rb") as file:
            file.seek(self._position[path])
            added = file.read(CHUNK_BYTES)
        self._position[path] += len(added)
        *whole, self._rest[path] = (self._rest[path] + added).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip() for line in whole]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None
