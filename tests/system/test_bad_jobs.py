"""What a worker makes of jobs that are none: a dead letter with the text kept and a reason; it goes on."""

import base64
import json
import re

import pytest

from harness import wait_until
from harness.process import SLOWER

OTHER = """{
  "partner": "otherly", "manifest": 1, "api": {"base": {"production": "http://127.0.0.1:1"}},
  "collections": {"things": {"get": "/things", "records": "@", "id": "id", "table": "resources",
                             "map": {"kind": {"const": "thing"}, "name": "name"}}}
}
"""


@pytest.fixture
def two_partners(cluster, tmp_path):
    folder = tmp_path / "drivers" / "otherly"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(OTHER)
    cluster.add_drivers(folder.parent)
    sandbox = cluster.sandbox(listings=5)
    return cluster, cluster.integration(sandbox), cluster.integration(sandbox, partner="otherly", base="")


def letter_payload(letter):
    if "payload_base64" in letter:
        return base64.b64decode(letter["payload_base64"])
    return letter["payload"].encode()


def bad_jobs(mine, other):
    """name -> (payload, what the reason has to speak of)"""
    return {
        "not JSON": (b'{"task":', "JSON"),
        "a word": (b"import_resources", "JSON"),
        "empty": (b"", "JSON|empty"),
        "an array": (b'[{"task":"noop"}]', "object"),
        "a text": (b'"noop"', "object"),
        "a number": (b"7", "object"),
        "no task": (f'{{"integration_id":{mine}}}'.encode(), "task"),
        "task is no text": (b'{"task":7}', "task"),
        "unknown task": (f'{{"task":"import_everything","integration_id":{mine}}}'.encode(), "import_everything"),
        "no integration": (b'{"task":"import_resources"}', "integration_id"),
        "integration is a text": (b'{"task":"import_resources","integration_id":"seven"}', "integration_id"),
        "integration is negative": (b'{"task":"import_resources","integration_id":-7}', "integration_id"),
        "unknown integration": (b'{"task":"import_resources","integration_id":987654}', "987654"),
        "another partner's integration": (
            f'{{"task":"import_resources","integration_id":{other}}}'.encode(), "otherly"),
        "args is no object": (f'{{"task":"import_resources","integration_id":{mine},"args":[]}}'.encode(), "args"),
        "binary": (bytes(range(256)), "UTF-8|JSON|first byte"),
        "high bytes": (b'{"task":"noop","args":{"x":"\xff\xfe"}}', "UTF-8"),
        "first byte 1": (b'\x01{"task":"noop"}', r"x01|first byte|control"),
        "over 1 MiB": (b'{"task":"noop","args":{"x":"' + b"A" * (1024 * 1024) + b'"}}', "1 MiB|1048576|bytes"),
        "nested deep": (b'{"task":"noop","args":' + b"[" * 5000 + b"]" * 5000 + b"}", "deep|nest"),
        "a NUL inside": (b'{"task":"noop\x00"}', "JSON|NUL|control"),
    }


def test_each_becomes_a_dead_letter_with_its_text_and_a_reason(two_partners):
    cluster, mine, other = two_partners
    worker = cluster.worker()
    bad = bad_jobs(mine, other)
    lanes = ("queue:{guesty}", "queue:{guesty}:high", "queue:{guesty}:low")
    for i, (payload, _) in enumerate(bad.values()):
        cluster.push({"task": "noop"}, lanes[i % 3])
        cluster.push(payload, lanes[i % 3])
        cluster.push({"task": "noop"}, lanes[i % 3])
    cluster.wait_idle(30)
    by_payload = {letter_payload(letter): letter for letter in cluster.dead()}
    assert len(by_payload) == len(cluster.dead()) == len(bad)
    for name, (payload, speaks_of) in bad.items():
        letter = by_payload.get(payload)
        assert letter, f"{name}: no letter has its text"
        assert letter["class"] == "bad_job", (name, letter)
        assert re.search(speaks_of, letter["error"]), (name, letter["error"])
        assert letter["id"] and letter["failed_at"] > 0 and letter["attempts"] == 1
        assert len(letter["error"]) > 20, f"{name}: the reason should say what was expected: {letter['error']}"
    assert worker.is_running() and len(worker.children()) == 1
    cluster.push({"task": "import_resources", "integration_id": mine})
    cluster.wait_idle(30)
    assert cluster.one("SELECT count(*) FROM resources") == 5, "and it goes on with good ones"


def test_letters_reach_postgres_and_the_command(two_partners):
    cluster, mine, other = two_partners
    cluster.worker()
    cluster.scheduler()
    bad = bad_jobs(mine, other)
    for payload, _ in bad.values():
        cluster.push(payload)
    cluster.wait_idle(30)
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters") == len(bad), 20 * SLOWER, "all letters in Postgres")
    rows = cluster.sql("SELECT id, class, partner, state, error, letter FROM dead_letters")
    assert {row["class"] for row in rows} == {"bad_job"} and {row["partner"] for row in rows} == {"guesty"}
    assert {letter_payload(row["letter"]) for row in rows} == {payload for payload, _ in bad.values()}
    listed = cluster.longshore("dead", "list", "--json").json()
    assert {row["id"] for row in listed} == {row["id"] for row in rows}
    shown = cluster.longshore("dead", "show", rows[0]["id"], "--json").json()
    assert (shown["id"], shown["error"]) == (rows[0]["id"], rows[0]["error"])
    assert cluster.longshore.run("dead", "show", "nosuchletter").code == 3
    assert cluster.queue()["dead"] == len(bad)


def test_any_number_that_died_within_a_millisecond_is_copied(cluster):
    """The copy goes in slices of 100, and by the time of death: a slice must not end in the midst of a millisecond."""
    worker = cluster.worker()
    cluster.push({"task": "no_such_task"})
    wait_until(lambda: len(cluster.dead()) == 1, 20 * SLOWER, cluster.describe)
    assert worker.term() == 0
    (letter,), now = cluster.dead(), cluster.redis.client.time()
    at = now[0] * 1000 - 5000
    died = [at] * 60 + [at + 1] * 250 + [at + 2] * 120 + [at + 3]
    cluster.redis.client.delete("dead:{guesty}")
    for n, ms in enumerate(died):
        cluster.redis.client.zadd("dead:{guesty}", {json.dumps({**letter, "id": f"{n:026}", "failed_at": ms}): ms})
    cluster.scheduler()
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters") >= len(died), 20 * SLOWER,
               lambda: f"{len(died)} letters: {cluster.sql('SELECT count(*) FROM dead_letters')}")
    assert {r["id"] for r in cluster.sql("SELECT id FROM dead_letters")} == {f"{n:026}" for n in range(len(died))}
    assert cluster.redis.client.zcard("dead:{guesty}") == len(died), "young ones stay in Redis"


def test_replay_and_discard(two_partners):
    cluster, mine, other = two_partners
    cluster.worker()
    cluster.scheduler()
    missing = {"task": "import_resource", "integration_id": mine, "args": {"external_id": "nosuch"}}
    cluster.push(missing)
    cluster.push(b"not a job")
    cluster.wait_idle(30)
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters") == 2, 20 * SLOWER, "both letters in Postgres")
    letters = {row["class"]: row["id"] for row in cluster.sql("SELECT id, class FROM dead_letters")}
    assert set(letters) == {"client", "bad_job"}

    cluster.longshore("dead", "discard", letters["bad_job"])
    assert cluster.one("SELECT state FROM dead_letters WHERE id = %s", letters["bad_job"]) == "discarded"
    assert [row["id"] for row in cluster.longshore("dead", "list", "--json").json()] == [letters["client"]]

    # What was missing is there now: the replayed job succeeds.
    sandbox = next(p for p in cluster.processes if p.name == "sandbox1")
    listing = sandbox.items("listing")[0]["item"]
    sandbox.control("POST", "/update", {"append": {**listing, "_id": "nosuch"}})
    cluster.longshore("dead", "replay", letters["client"])
    cluster.wait_idle(30)
    assert cluster.one("SELECT count(*) FROM resources WHERE external_id = 'nosuch'") == 1
    assert cluster.one("SELECT state FROM dead_letters WHERE id = %s", letters["client"]) == "replayed"
    assert cluster.longshore("dead", "list", "--json").json() == []
    wait_until(lambda: cluster.queue()["dead"] == 0, 10 * SLOWER, "no letter left in Redis")


def test_replay_by_class_leaves_the_others(two_partners):
    cluster, mine, other = two_partners
    cluster.worker()
    cluster.scheduler()
    for n in range(4):
        cluster.push({"task": "import_resource", "integration_id": mine, "args": {"external_id": f"missing-{n}"}})
        cluster.push(f"bad {n}".encode())
    cluster.wait_idle(30)
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters") == 8, 20 * SLOWER, "all letters in Postgres")
    cluster.longshore("dead", "replay", "--class", "client")
    cluster.wait_idle(30)
    # They died once more, of the same cause; the bad ones were not touched.
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters WHERE class = 'client' AND state = 'dead'") == 4,
               20 * SLOWER, "the replayed ones to be dead again")
    assert cluster.one("SELECT count(*) FROM dead_letters WHERE class = 'bad_job' AND state = 'dead'") == 4
    cluster.longshore("dead", "discard", "--class", "bad_job")
    assert cluster.one("SELECT count(*) FROM dead_letters WHERE class = 'bad_job' AND state = 'discarded'") == 4
