"""The InfluxDB store on a real InfluxDB 1.8.10: what it refuses, what is set wrong, and what is away for a while."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processors.chunk import Chunk
from processors.settings import StoreSettings
from processors.stores.registry import check_store
from streams.errors import MisuseError, TryLaterError
from streams.names import QUARANTINE
from tests.contracts.stores import DEVICE, EPOCH, NOON, SECOND, Home, Maker, Reading, alarm, expected, ticks
from tests.servers import Server, free_port, influxdb

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

HOUR = 3600 * SECOND


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with influxdb() as running:
        yield running


@pytest.fixture
def home(server: Server, tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "store", settings(server))
    yield made
    made.store.close()


def settings(server: Server, **more: Any) -> StoreSettings:
    bucket = f"test-{uuid.uuid4()}"
    return StoreSettings(**{"kind": "influx", "influx_url": server.url, "influx_bucket": bucket, **more})


def ask(server: Server, bucket: str, query: str, **more: str) -> list[dict[str, Any]]:
    """The series of the answer to one statement, past our own code."""
    form = urllib.parse.urlencode({"q": query, "db": bucket, "epoch": "ns", **more}).encode()
    with urllib.request.urlopen(f"{server.url}/query", form, timeout=30) as response:
        (result,) = json.loads(response.read())["results"]
    assert "error" not in result, result
    found: list[dict[str, Any]] = result.get("series", [])
    return found


def write(server: Server, bucket: str, line: str) -> None:
    url = f"{server.url}/api/v2/write?bucket={bucket}&precision=ns"
    urllib.request.urlopen(urllib.request.Request(url, line.encode(), method="POST"), timeout=30).close()


def bucket_of(home: Home) -> str:
    return home.settings.influx_bucket


def requests(server: Server) -> int:
    """Write requests since it started."""
    with urllib.request.urlopen(f"{server.url}/debug/vars", timeout=30) as response:
        found = [each["values"]["writeReq"] for each in json.loads(response.read()).values() if "writeReq" in str(each)]
    return int(found[0])


# -- refused for good ------------------------------------------------------------------------------------------------


def test_readings_that_retention_no_longer_holds_go_to_quarantine_and_stop_no_other(server: Server, home: Home) -> None:
    bucket = bucket_of(home)
    ask(server, bucket, f'CREATE RETENTION POLICY short ON "{bucket}" DURATION 1h REPLICATION 1 DEFAULT')
    new = [*ticks(4_000, start_ns=time.time_ns() - HOUR // 2, step_ns=1_000_000)]
    old = [*ticks(3_000, first=5_000, start_ns=NOON, step_ns=1_000_000, metric="temperature")]
    mixed = [each for pair in zip(new, old) for each in pair] + new[3_000:]
    chunk = Maker().chunk(mixed)
    before = requests(server)
    home.store.commit(chunk)
    assert requests(server) - before < 60, "thousands of old readings cost a few requests"
    assert home.stored() == expected(new)
    assert len(chunk.rows) == len(new), "what was not stored does not count as stored"
    (account,) = home.store.ledger()["accounts"]
    assert [tuple(span) for span in account["stored"]] == [(0, 4_000)]
    assert [tuple(span) for span in account["quarantined"]] == [(5_000, 8_000)]
    assert (account["rows"], account["duplicate_rows"]) == (4_000, 0)
    kept = [each for each in chunk.outgoing if each.stream == QUARANTINE]
    lines = b"".join(each.value for each in kept).splitlines()
    assert sorted(lines) == sorted(line_of(each) for each in old)
    headers = dict(kept[0].headers)
    assert b"beyond retention policy" in headers["reason"]
    assert kept[0].key == DEVICE
    (problem,) = home.store.problems()
    assert "refused 3000 readings" in problem and "penstock quarantine list" in problem
    state = home.reopen()
    assert state.readings == 4_000
    assert {each.id for each in state.outgoing} == {each.id for each in chunk.outgoing}


def line_of(each: Reading) -> bytes:
    fields = f"value={each.value:g},quality=0i,epoch={each.epoch}i,sequence={each.sequence}i"
    return f"reading,device={each.device},metric={each.metric} {fields} {each.time_ns}".encode()


def test_one_line_that_is_refused_stops_no_other(server: Server, home: Home) -> None:
    write(
        server, bucket_of(home), f"reading,device=other text=1.5 {NOON}"
    )  # another program had another idea of `text`
    good = ticks(500)
    bad = Reading(sequence=1_000, value="running", metric="state", time_ns=NOON + 5 * SECOND)
    after = ticks(10, first=500, start_ns=NOON + HOUR)
    maker = Maker()
    home.store.commit(maker.chunk([*good[:250], bad, *good[250:]]))
    home.store.commit(maker.chunk(after))
    assert home.stored() == expected([*good, *after])
    (account,) = home.store.ledger()["accounts"]
    assert [tuple(span) for span in account["quarantined"]] == [(1_000, 1_001)]


def test_times_that_influxdb_does_not_know_go_to_quarantine(home: Home) -> None:
    extreme = [-(2**63), 2**63 - 1]
    bad = [Reading(sequence=n, time_ns=time_ns) for n, time_ns in enumerate(extreme)]
    good = ticks(5, first=10)
    home.store.commit(Maker().chunk([*bad, *good]))
    assert home.stored() == expected(good)
    (account,) = home.store.ledger()["accounts"]
    assert [tuple(span) for span in account["quarantined"]] == [(0, 2)]


def test_a_bucket_that_takes_nothing_lets_the_log_wait(server: Server, home: Home) -> None:
    write(server, bucket_of(home), f'reading,device=other value="warm" {NOON}')
    maker = Maker()
    chunk = maker.chunk(ticks(5))
    with pytest.raises(TryLaterError, match="another program has used the measurement"):
        home.store.commit(chunk)
    assert home.store.problems()
    ask(server, bucket_of(home), "DROP MEASUREMENT reading")
    home.store.commit(chunk)
    assert home.stored() == expected(ticks(5))
    assert home.store.problems() == []


# -- away for a while ------------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_and_started_again_has_everything_once(tmp_path: Path) -> None:
    port, maker = free_port(), Maker()
    data = tmp_path / "influxdb"
    data.mkdir()
    with contextlib.ExitStack() as first:
        server = first.enter_context(influxdb(port=port, home=data))
        home = Home(tmp_path / "store", settings(server))
        home.store.commit(maker.chunk(ticks(100), alarms=[alarm(1)]))
        server.process.kill()
    chunk = maker.chunk([*ticks(100, first=100, start_ns=NOON), Reading(sequence=200, value=7)], alarms=[alarm(2)])
    for _ in range(3):
        with pytest.raises(TryLaterError, match="does not answer"):
            home.store.commit(chunk)
    assert "does not answer" in home.store.problems()[0]
    assert home.rows() == {(DEVICE, EPOCH): (100, 0)}, "the ledger is answered all the same"
    assert [each["evidence"]["sequence"] for each in home.store.alarms(device=None, state="all", limit=9)] == [1]
    with pytest.raises(TryLaterError):
        home.stored()
    home.reopen()
    assert "does not answer" in home.store.problems()[0], "it starts, and says what is wrong"
    home.store.commit(Chunk(alarms=[alarm(3)]))  # needs no InfluxDB to be kept
    assert any("alarms wait for InfluxDB" in problem for problem in home.store.problems())
    with influxdb(port=port, home=data) as server:
        maker = Maker(home.reopen())
        again = [*ticks(100, first=100, start_ns=NOON), Reading(sequence=200, value=7)]
        home.store.commit(maker.chunk(again, alarms=[alarm(2)]))
        assert home.store.problems() == []
        assert home.stored() == expected([*ticks(100), *again])
        assert home.rows() == {(DEVICE, EPOCH): (201, 0)}
        (points,) = ask(server, bucket_of(home), "SELECT state FROM alarm")
        assert points["values"] == [[NOON + n * SECOND, "open"] for n in (1, 2, 3)]
        home.store.close()


def test_an_alarm_that_is_refused_stops_no_other(server: Server, home: Home) -> None:
    bucket = bucket_of(home)
    ask(server, bucket, f'CREATE RETENTION POLICY short ON "{bucket}" DURATION 1h REPLICATION 1 DEFAULT')
    now_ns = time.time_ns()
    alarms = [alarm(1), alarm(2, opened_ns=now_ns), alarm(3, opened_ns=now_ns + 1)]
    home.store.commit(Chunk(alarms=alarms))
    (points,) = ask(server, bucket, "SELECT state FROM alarm")
    assert [at for at, _ in points["values"]] == [now_ns, now_ns + 1]
    assert home.store.problems() == []
    assert len(home.store.alarms(device=None, state="all", limit=9)) == 3


def test_an_alarm_is_one_point_and_its_closing_rewrites_it(server: Server, home: Home) -> None:
    maker = Maker()
    same_time = alarm(2, opened_ns=alarm(1).opened_ns)
    home.store.commit(maker.chunk(ticks(1), alarms=[alarm(1), same_time]))
    home.store.commit(maker.chunk(ticks(1, first=1), alarms=[alarm(1, closed_ns=NOON + 9 * SECOND, strength=8.0)]))
    (points,) = ask(server, bucket_of(home), "SELECT state, strength, closed_ns FROM alarm WHERE device = 'press-001'")
    opened_ns = NOON + SECOND
    assert points["values"] == [[opened_ns, "closed", 8, NOON + 9 * SECOND], [opened_ns + 1, "open", 1.5, None]]


# -- the ledger ------------------------------------------------------------------------------------------------------


def test_the_ledger_sees_what_somebody_took_away_or_added(server: Server, home: Home) -> None:
    """It counts what is in InfluxDB, not what it remembers to have written."""
    home.store.commit(Maker().chunk([*ticks(50), *ticks(50, first=50, metric="temperature")]))
    assert home.rows() == {(DEVICE, EPOCH): (100, 0)}
    ask(server, bucket_of(home), f"DELETE FROM reading WHERE metric = 'temperature' AND time < {NOON + 10 * SECOND}")
    home.reopen()
    assert home.rows() == {(DEVICE, EPOCH): (90, 0)}
    assert "lacks 10 readings that it acknowledged" in home.store.problems()[0]
    bucket = bucket_of(home)
    ask(server, bucket, f'ALTER RETENTION POLICY autogen ON "{bucket}" DURATION 5200w')
    home.reopen()
    assert home.rows() == {(DEVICE, EPOCH): (90, 0)}
    assert home.store.problems() == [], "a retention takes points away by itself"
    for second in range(20):
        fields = f"value=1,quality=0i,epoch={EPOCH}i,sequence={second}i"
        write(server, bucket_of(home), f"reading,device={DEVICE},metric=copy {fields} {NOON + second}")
    home.reopen()
    assert home.rows() == {(DEVICE, EPOCH): (110, 10)}


# -- set wrong -------------------------------------------------------------------------------------------------------


def test_a_server_with_passwords(tmp_path: Path) -> None:
    with influxdb(auth=True) as server:
        form = urllib.parse.urlencode({"q": "CREATE USER root WITH PASSWORD 'pa55word' WITH ALL PRIVILEGES"}).encode()
        urllib.request.urlopen(f"{server.url}/query", form, timeout=30).close()
        for token in ("", "root:wrong-pa55", "nonsense-pa55"):
            wrong = settings(server, influx_token=token)
            with pytest.raises(MisuseError, match="USER:PASSWORD") as found:
                check_store(wrong)
            assert "pa55" not in str(found.value)
        home = Home(tmp_path / "store", settings(server, influx_token="root:wrong-pa55"))
        chunk = Maker().chunk(ticks(3))
        with pytest.raises(TryLaterError, match="USER:PASSWORD"):
            home.store.commit(chunk)
        assert "pa55" not in str(home.store.problems())
        home.store.close()
        right = settings(server, influx_token="root:pa55word")
        assert check_store(right) is None
        home = Home(tmp_path / "store2", right)
        home.store.commit(chunk)
        assert home.stored() == expected(ticks(3))
        home.store.close()


def test_a_database_is_made_where_it_is_missing(server: Server, home: Home) -> None:
    (names,) = ask(server, "", "SHOW DATABASES")
    assert [bucket_of(home)] in names["values"]
    ask(server, "", f'DROP DATABASE "{bucket_of(home)}"')
    assert home.stored() == set()
    home.store.commit(Maker().chunk(ticks(3)))
    assert home.stored() == expected(ticks(3))


def test_a_server_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    away = StoreSettings(kind="influx", influx_url="http://127.0.0.1:1")
    said = check_store(away)
    assert said is not None and "http://127.0.0.1:1 does not answer" in said
    assert check_store(StoreSettings()) is None
