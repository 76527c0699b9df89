"""Detectors by name, and those that users install. The example of docs/detectors.md keeps the contract."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processors.detectors.detector import Detector
from processors.detectors.registry import BUILT_IN, detectors, known, warm
from processors.settings import AlarmSettings
from streams.errors import MisuseError
from tests.contracts import test_detector_contract as contract

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "detectors.md").read_text("utf-8"), re.DOTALL)[0]
CHECKS = [each for name, each in vars(contract).items() if name.startswith("test_")]

Install = Callable[..., list[str]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a module with entry points, as pip does; returns all names that are known then."""
    modules = set(sys.modules)

    def installed(text: str, entries: str, module: str = "my_detectors") -> list[str]:
        (tmp_path / f"{module}.py").write_text(text)
        meta = tmp_path / f"{module}-1.0.dist-info"
        meta.mkdir()
        (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (meta / "entry_points.txt").write_text(f"[penstock.detectors]\n{entries}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        return known()

    yield installed
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]


def check(detector: Detector, name: str) -> None:
    """Run one test of the contract."""
    next(each for each in CHECKS if each.__name__ == name)(detector=detector)


def test_the_built_in_ones_are_found_and_are_the_default() -> None:
    assert [each.name for each in detectors(AlarmSettings().detectors)] == list(BUILT_IN)
    assert set(BUILT_IN) <= set(known())
    warm()


def test_a_name_that_comes_twice_is_one_detector() -> None:
    assert [each.name for each in detectors(["stuck", "level", "stuck"])] == ["stuck", "level"]


def test_one_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(
        MisuseError, match=r"no detector 'lewel' \(processors\.alarms\.detectors\); known: level, stuck"
    ):
        detectors(["level", "lewel"])


def test_the_example_of_the_documentation_is_installed_by_its_entry_point_and_keeps_the_contract(
    install: Install,
) -> None:
    assert "jump" in install(EXAMPLE, "jump = my_detectors:JUMP")
    (jump,) = detectors(["jump"])
    assert len(CHECKS) >= 9
    for each in CHECKS:
        assert "detector" in inspect.signature(each).parameters
        each(detector=jump)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise RuntimeError('no licence')", "my (my_detectors:MY) cannot be loaded: RuntimeError('no licence')"),
        ("", "cannot be loaded: AttributeError"),
        ("MY = 5", "must be a processors.detectors.detector.Detector of that name, 2 columns wide at least, not 5"),
        (EXAMPLE + "\nMY = JUMP", "of that name"),
        (EXAMPLE + "\nMY = Detector(name='my', version=1, kind='sensor', width=1, step=step, says=says)", "2 columns"),
    ],
)  # fmt: skip
def test_an_entry_point_that_cannot_be_used_is_named(install: Install, text: str, words: str) -> None:
    install(text, "my = my_detectors:MY")
    with pytest.raises(MisuseError) as caught:
        detectors(["my"])
    assert words in str(caught.value)
    assert [each.name for each in detectors(["level"])] == ["level"], "it disturbs nobody who does not ask for it"


# Detectors that break the contract, and the check that says so.
_hidden = [0]


def _remembers(state: Any, time_s: float, value: float, *_: float) -> float:
    _hidden[0] ^= 1
    return float(_hidden[0])


def _grows(state: Any, time_s: float, value: float, *_: float) -> float:
    state.append(value)
    return 0.0


def _reaches_over(state: Any, time_s: float, value: float, resolution: float, low: float, high: float) -> float:
    state[2] = value
    return 0.0


def _overflows(state: Any, time_s: float, value: float, resolution: float, low: float, high: float) -> float:
    return float(abs(value * value))


def _falls_below_zero(state: Any, time_s: float, value: float, resolution: float, low: float, high: float) -> float:
    return -1.0


def _needs_a_start(state: Any, time_s: float, value: float, resolution: float, low: float, high: float) -> float:
    return float(abs(value) / state[0])


def _cries_wolf(state: Any, time_s: float, value: float, resolution: float, low: float, high: float) -> float:
    return 1.5


def _made(step: Any, **more: Any) -> Detector:
    fields = {"name": "bad", "version": 1, "kind": "sensor", "width": 2, "says": lambda *_: "is bad", **more}
    return Detector(step=step, **fields)


@pytest.mark.parametrize(
    ("detector", "name"),
    [
        (_made(_grows), "test_its_state_stays_within_its_width"),
        (_made(_reaches_over), "test_its_state_stays_within_its_width"),
        (_made(_overflows), "test_strengths_and_state_are_finite_for_every_finite_value"),
        (_made(_falls_below_zero), "test_strengths_and_state_are_finite_for_every_finite_value"),
        (_made(_needs_a_start), "test_strengths_and_state_are_finite_for_every_finite_value"),
        (_made(_cries_wolf), "test_it_is_silent_when_all_is_calm"),
        (_made(_cries_wolf), "test_its_module_says_what_it_is_good_and_bad_at_with_examples_that_run"),
        (_made(_cries_wolf, says=lambda *_: ""), "test_it_has_a_sentence_for_what_it_saw"),
        (_made(_cries_wolf, kind="weather"), "test_it_says_who_it_is"),
    ],
)  # fmt: skip
def test_a_detector_that_breaks_the_contract_is_caught(detector: Detector, name: str) -> None:
    with pytest.raises((AssertionError, ZeroDivisionError)):
        check(detector, name)


def test_a_detector_that_keeps_something_elsewhere_is_caught() -> None:
    online: Any = contract.test_it_is_strictly_online
    with pytest.raises(AssertionError):  # without hypothesis, which would look long for a shorter example
        online.hypothesis.inner_test(detector=_made(_remembers), series=contract.Given((1.0, 2.0, 3.0)), cut=1)
