"""`longshore doctor`: finds what is wrong, says what to do, and repairs the queues' books if it is told to."""

import base64
import json
import secrets

from harness import wait_until
from harness.process import SLOWER


def doctor(cluster, *words, env=None):
    """Exit code, and what was found: check -> [(state, found, todo)]."""
    result = cluster.longshore.run("doctor", *words, "--json", env=env)
    found = {}
    for row in result.json():
        found.setdefault(row["check"], []).append((row["state"], row["found"], row["todo"]))
        assert (row["todo"] is None) == (row["state"] == "ok"), row
    return result.code, found


def states(found, check):
    return [state for state, _, _ in found.get(check, [])]


def test_a_healthy_system(cluster):
    cluster.redis.client.config_set("maxmemory-policy", "noeviction")
    cluster.integration(cluster.sandbox())
    cluster.scheduler()
    cluster.worker().wait_for_log("event=started")
    wait_until(lambda: states(doctor(cluster)[1], "workers") == ["ok"], 20 * SLOWER, lambda: str(doctor(cluster)))
    code, found = doctor(cluster)
    assert code == 0
    assert set(found) == {"drivers", "redis", "maxmemory-policy", "appendonly", "round trip", "clock", "queues", "workers",
                          "keys", "postgres", "schema", "credentials"}
    for check, lines in found.items():
        if check not in ("round trip", "clock"):  # of this machine
            assert [state for state, _, _ in lines] == ["ok"], (check, lines)
    assert "1" in found["credentials"][0][1]
    assert cluster.longshore("doctor").out.count("\n") == 1 + len(found), "a line a check for people"


def test_redis_settings_that_lose_jobs(cluster):
    redis = cluster.redis.client
    redis.config_set("maxmemory-policy", "allkeys-lru")
    redis.config_set("appendonly", "no")
    code, found = doctor(cluster)
    assert states(found, "maxmemory-policy") == ["warn"] and states(found, "appendonly") == ["warn"]
    redis.config_set("maxmemory", "200mb")
    # A worker that serves hundreds of partners has much to say of itself.
    said = {"host": "h", "pid": 1, "partners": ["guesty"], "actions": {f"partner{n}": ["an_action_of_it"] * 10 for n in range(400)}}
    redis.zadd("workers:{longshore}", {"h-1-x": int(redis.time()[0]) * 1000})
    redis.set("worker:{longshore}:h-1-x", json.dumps(said))
    code, found = doctor(cluster)
    assert not any("none is alive" in what or what.endswith("serves guesty") for _, what, _ in found["workers"]), found["workers"]
    assert code == 1 and states(found, "maxmemory-policy") == ["fail"]
    assert "noeviction" in found["maxmemory-policy"][0][2]


def test_books_are_checked_and_repaired(cluster):
    cluster.scheduler()
    worker = cluster.worker()
    worker.wait_for_log("event=started")
    wait_until(lambda: cluster.redis.client.exists("control:{guesty}"), 20 * SLOWER, cluster.describe)
    assert worker.term() == 0
    redis = cluster.redis.client
    cluster.push({"task": "noop", "id": "stranded"})
    wait_until(lambda: redis.zcard("ready:{guesty}:normal") == 1, 15 * SLOWER, cluster.describe)
    cluster.processes[-2].kill9()  # the scheduler would give the leases below back
    redis.delete("ring:{guesty}:normal")
    redis.hset("busy:{guesty}", mapping={"7": 3, "8": 1})
    redis.hset("flight:{guesty}", "gone-1-abc:5:2:8", "100000000000001 8 x 0 0 1\n{}")
    redis.hset("flight:{guesty}", "gone-1-abc:6:2:9", "100000000000002 9 y 0 0 1\n{}")

    code, found = doctor(cluster)
    assert code == 1 and states(found, "busy") == ["fail"] and states(found, "ring") == ["fail"]
    assert "2 integrations" in found["busy"][0][1] and "--repair" in found["busy"][0][2]
    assert redis.hgetall("busy:{guesty}") == {b"7": b"3", b"8": b"1"}, "looking changes nothing"

    code, found = doctor(cluster, "--repair")
    assert code == 0 and states(found, "busy") == ["warn"] and states(found, "ring") == ["warn"]
    assert redis.hgetall("busy:{guesty}") == {b"8": b"1", b"9": b"1"}
    assert redis.zrange("ring:{guesty}:normal", 0, -1) == [b"0"]
    code, found = doctor(cluster)
    assert code == 0 and "busy" not in found and states(found, "queues") == ["ok"]


def test_keys_nobody_knows(cluster):
    redis = cluster.redis.client
    for name in ("queue:{gusty}", "queue:guesty", "queue:{guesty}:middle"):
        redis.lpush(name, "{}")
    redis.set("reday:{guesty}:high", "1")
    redis.set("somebody:elses", "1")
    _, found = doctor(cluster)
    text = "\n".join(line for _, line, _ in found["keys"])
    for name in ("queue:{gusty}", "queue:guesty", "queue:{guesty}:middle", "reday:{guesty}:high"):
        assert name + ":" in text
    assert len(found["keys"]) == 4 and states(found, "keys") == ["warn"] * 4


def test_what_is_down_or_missing(cluster, tmp_path):
    cluster.integration(cluster.sandbox())
    other = tmp_path / "other.key"
    other.write_text("other " + base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    other.chmod(0o600)
    code, found = doctor(cluster, env={"LONGSHORE_SECRET_KEY_FILE": str(other)})
    assert code == 1 and states(found, "credentials") == ["fail"] and states(found, "schema") == ["ok"]
    code, found = doctor(cluster, "--redis", "redis://127.0.0.1:1")
    assert code == 1 and states(found, "redis") == ["fail"] and states(found, "postgres") == ["ok"], "the rest is looked at"
    code, found = doctor(cluster, "--database", "postgresql://127.0.0.1:1/x")
    assert code == 1 and states(found, "postgres") == ["fail"] and "schema" not in found
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "manifest.json").write_text("{}")
    code, found = doctor(cluster, "--drivers", str(tmp_path))
    assert code == 1 and states(found, "drivers") == ["fail"]
