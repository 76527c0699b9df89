"""Row numbers: each (device, metric) has one for life, small and dense, so that arrays can be indexed by it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from processors.manifests import SeriesInfo


class SeriesTable:
    """Numbers in the order in which series were first seen."""

    def __init__(self, known: Iterable[tuple[int, SeriesInfo]] = ()) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._infos: list[SeriesInfo] = []
        self._devices: set[str] = set()
        for number, info in sorted(known, key=lambda pair: pair[0]):
            assert number == len(self._infos), "row numbers have no gaps"
            self._append(number, info)
        self._changed: set[int] = set()

    def number(self, info: SeriesInfo) -> int:
        """The row number of a series, a new one if need be; what its manifest says of it now is kept."""
        key = info.device, info.metric
        number = self._numbers.get(key)
        if number is None:
            number = len(self._infos)
            self._append(number, info)
            self._changed.add(number)
        elif self._infos[number] != info:
            self._infos[number] = info
            self._changed.add(number)
        return number

    def find(self, device: str, metric: str) -> int | None:
        return self._numbers.get((device, metric))

    def has(self, device: str) -> bool:
        """Whether any series of this device is known."""
        return device in self._devices

    def info(self, number: int) -> SeriesInfo:
        return self._infos[number]

    def take_changed(self) -> list[tuple[int, SeriesInfo]]:
        """Series that are new or different since the last call."""
        changed = [(number, self._infos[number]) for number in sorted(self._changed)]
        self._changed.clear()
        return changed

    def __len__(self) -> int:
        return len(self._infos)

    def _append(self, number: int, info: SeriesInfo) -> None:
        self._infos.append(info)
        self._numbers[info.device, info.metric] = number
        self._devices.add(info.device)
