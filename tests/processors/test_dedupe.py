"""What is stored already, against a plain set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.dedupe import Dedupe
from streams.sequences import SequenceSet

Step = tuple[str, int, int, int, bool]
_steps = st.lists(
    st.tuples(st.sampled_from("de"), st.integers(1, 2), st.integers(0, 40), st.integers(0, 15), st.booleans()),
    max_size=60,
)


@given(_steps)
def test_it_admits_each_number_once(steps: list[Step]) -> None:
    dedupe, stored, aside = Dedupe(), dict[tuple[str, int], set[int]](), dict[tuple[str, int], set[int]]()
    for device, epoch, start, count, junk in steps:
        numbers = set(range(start, start + count))
        if junk:
            dedupe.quarantine(device, epoch, start, start + count)
            aside.setdefault((device, epoch), set()).update(numbers)
            continue
        known = stored.setdefault((device, epoch), set())
        new = dedupe.admit(device, epoch, start, start + count)
        assert [number for span in new for number in range(*span)] == sorted(numbers - known)
        known |= numbers
    for device, epoch, seen in dedupe:
        for spans, wanted in ((seen.stored, stored), (seen.quarantined, aside)):
            assert {n for span in spans for n in range(*span)} == wanted.get((device, epoch), set())


@given(_steps)
def test_changes_are_told_once_and_are_all_that_changed(steps: list[Step]) -> None:
    dedupe = Dedupe()
    copy: dict[tuple[str, int], tuple[SequenceSet, SequenceSet]] = {}
    for device, epoch, start, count, junk in steps:
        if junk:
            dedupe.quarantine(device, epoch, start, start + count)
        else:
            dedupe.admit(device, epoch, start, start + count)
        if start % 3 == 0:  # a commit
            copy |= {(d, e): (s.stored.copy(), s.quarantined.copy()) for d, e, s in dedupe.take_changed()}
            assert dedupe.take_changed() == []
            books = {(d, e): (s.stored, s.quarantined) for d, e, s in dedupe if s.stored or s.quarantined}
            assert books == copy
