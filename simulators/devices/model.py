"""What a device model is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from simulators.dice import Dice
from simulators.quantity import Quantity, Value


class Model(Protocol):
    """The physics of one kind of device: a pure function from an instant to its readings."""

    @property
    def quantities(self) -> tuple[Quantity, ...]: ...

    def measure(self, time_ns: int) -> Sequence[Value]:
        """The reading of every quantity, in their order, at an instant (nanoseconds since 1970 UTC).

        Depends on the dice and the instant alone; may be asked for any instant in any order.
        """
        ...


ModelFactory = Callable[[Dice], Model]
