"""Q5: the job that was on the CPU when a process crashed is charged with it, nobody else; the second time it is a dead letter."""

import re
from datetime import datetime

import pytest
import requests

from harness import lease_port, wait_until
from harness.leases import busy_is_exact
from harness.process import SLOWER

def members(cluster, *keys):
    """Headers of what stands in flight and ready: (first letter, id, attempts, crashes, payload)."""
    client = cluster.redis.client
    found = client.hvals("flight:{guesty}") + client.zrange("ready:{guesty}:normal", 0, -1)
    for member in found:
        head, payload = member.split(b"\n", 1)
        words = head.split(b" ")
        yield chr(head[0]), words[2].decode(), int(words[3]), int(words[4]), payload.decode()


def deaths(worker):
    return len(re.findall(r"event=process_died", worker.log_text()))


@pytest.mark.parametrize("how, after, number", [("abort", None, 6), ("write", None, 11), ("deep", "wait", 11)])
def test_a_job_that_crashes_two_processes_is_a_poison_pill(cluster, how, after, number):
    worker = cluster.crash_worker()
    worker.wait_for_log("event=started")
    for n in range(20):
        cluster.push({"task": "wait", "id": f"innocent-{n}", "args": {"ms": 1500 * SLOWER}})
    wait_until(lambda: cluster.redis.client.hlen("flight:{guesty}") == 20, 20, worker.log_tail)
    cluster.push({"task": "crash", "id": "bad", "args": {"how": how, "after": after}})
    wait_until(cluster.dead, 20 * SLOWER, worker.log_tail)
    (letter,) = cluster.dead()
    assert letter["class"] == "poison" and letter["crashes"] == 2 and letter["attempts"] == 1
    assert letter["job"] == "bad" and letter["task"] == "crash" and '"task": "crash"' in letter["payload"]
    epochs = re.findall(r"event=started.* epoch=(\S+)", worker.log_text())[:2]
    assert len(set(epochs)) == 2 and all(e in letter["error"] for e in epochs), letter
    assert letter["worker"] == epochs[1]
    assert f"signal {number}" in letter["error"] and "running crash" in letter["error"]
    assert ("a moment" in letter["error"]) == bool(after), "what it was doing"
    times = [datetime.fromisoformat(t) for t in re.findall(r"ts=(\S+)Z.*event=(?:process_died|jobs_given_back)", worker.log_text())]
    gaps = [(b - a).total_seconds() for a, b in zip(times[::2], times[1::2])]
    assert gaps and max(gaps) < 5, "its supervisor gives its jobs back at once, and not whoever sees no heartbeat for 8 s"
    # The others shared the process both times: given back, not charged.
    for again, _, attempts, crashes, payload in members(cluster):
        assert "innocent" in payload and (again, attempts, crashes) == ("0", 0, 0)
    assert busy_is_exact(cluster)
    cluster.wait_idle(30)
    assert len(cluster.dead()) == 1 and deaths(worker) == 2 and busy_is_exact(cluster)


def test_its_letter_is_found_by_the_command_and_can_be_replayed(cluster):
    cluster.scheduler()
    address = f"127.0.0.1:{lease_port()}"
    worker = cluster.crash_worker(metrics=address)
    cluster.push({"task": "crash", "id": "bad", "record": True})
    wait_until(lambda: cluster.sql("SELECT 1 FROM dead_letters"), 30 * SLOWER, cluster.describe)
    (row,) = cluster.sql("SELECT * FROM dead_letters")
    assert row["class"] == "poison" and row["task"] == "crash"
    (kept,) = cluster.sql("SELECT * FROM outcomes")
    assert (kept["queue"], kept["job_id"], kept["task"], kept["state"], kept["class"]) == ("guesty", "bad", "crash", "dead", "poison")
    assert kept["error"] == row["error"] and kept["ended_at"] == row["failed_at"] > kept["first_seen"]
    alert = "SELECT * FROM alerts WHERE kind = 'poison' AND state = '%s'"
    wait_until(lambda: cluster.sql(alert % "open"), 20 * SLOWER, cluster.describe)
    (found,) = cluster.sql(alert % "open")
    assert found["severity"] == "critical" and found["scope"] == "guesty:crash" and row["id"] in found["what"]
    assert found["since"] == row["failed_at"] and "dead show" in found["todo"]
    dead = [x for x in requests.get(f"http://{address}/metrics", timeout=30).text.splitlines()
            if x.startswith("integration_tasks_total{") and 'outcome="dead"' in x]
    assert dead == ['integration_tasks_total{outcome="dead",partner="guesty",task="crash"} 1'], "counted once"
    cluster.longshore("dead", "replay", row["id"])
    wait_until(lambda: deaths(worker) == 4, 30 * SLOWER, cluster.describe)  # it begins with a clean sheet
    wait_until(lambda: len(cluster.sql("SELECT 1 FROM dead_letters")) == 2, 30 * SLOWER, cluster.describe)
    cluster.longshore("dead", "discard", "--class", "poison")
    wait_until(lambda: cluster.sql(alert % "resolved"), 20 * SLOWER, cluster.describe)


def test_a_process_killed_from_outside_charges_nobody(cluster):
    worker = cluster.crash_worker()
    cluster.push({"task": "crash", "id": "unlucky", "args": {"how": "kill"}})
    wait_until(lambda: deaths(worker) >= 3, 30 * SLOWER, worker.log_tail)
    worker.kill9()
    ((_, _, attempts, crashes, _),) = members(cluster)
    assert (attempts, crashes) == (0, 0) and cluster.dead() == []
    assert not worker.log_contains("event=job_charged")


def test_suspects_run_one_at_a_time(cluster):
    cluster.scheduler()
    worker = cluster.crash_worker()
    for n in range(3):
        cluster.push({"task": "crash", "id": f"once-{n}", "args": {"times": 1, "ms": 600}})
    cluster.wait_idle(40)
    assert cluster.dead() == [] and deaths(worker) == 3
    assert len(re.findall("event=job_charged", worker.log_text())) == 3
    assert worker.log_contains(r"event=job_later.*rule=suspect"), "they would have run at once"
    spans = []
    for line in worker.log_text().splitlines():
        if "event=job_done" in line and "task=crash" in line:
            end = datetime.fromisoformat(re.search(r"ts=(\S+?)Z", line)[1]).timestamp() * 1000
            spans.append((end - int(re.search(r"dur_ms=(\d+)", line)[1]), end))
    spans.sort()
    # A job's time is told by the clock of its loop, which stands still while a turn lasts; beside each other they would be 600 ms.
    assert len(spans) == 3 and all(a[1] <= b[0] + 300 for a, b in zip(spans, spans[1:])), spans
