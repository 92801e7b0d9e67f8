"""Q9: what a job may hold, what a process may hold, and who is told."""

import json

from harness import wait_until
from harness.process import SLOWER

GIB = 1 << 30


def beats(cluster, epoch, host, rss):
    """What a worker process would say of itself."""
    info = {"host": host, "pid": 1, "partners": ["guesty"], "tasks": [], "rss_bytes": rss}
    now = int(cluster.redis.client.time()[0]) * 1000
    cluster.redis.client.zadd("workers:{longshore}", {epoch: now})
    cluster.redis.client.set(f"worker:{{longshore}}:{epoch}", json.dumps(info), px=60000)


def test_a_process_over_a_gibibyte_raises_an_alert_that_resolves_itself(cluster):
    scheduler = cluster.scheduler()
    cluster.worker().wait_for_log("event=started", 20 * SLOWER)

    def alerts(state):
        return cluster.sql("SELECT scope, severity, what, todo FROM alerts WHERE kind = 'process_memory' AND state = %s", state)

    def own():
        (epoch,) = cluster.redis.client.zrange("workers:{longshore}", 0, -1)
        info = cluster.redis.client.get("worker:{longshore}:" + epoch.decode())
        return info and json.loads(info).get("rss_bytes")

    assert 1 << 20 < wait_until(own, 10 * SLOWER, cluster.describe) < 8 * GIB
    assert "process_resident_memory_bytes" in scheduler.get("/metrics").text
    beats(cluster, "small", "calm", GIB - (200 << 20))
    beats(cluster, "big", "large", 2 * GIB)
    wait_until(lambda: alerts("open"), 20 * SLOWER, scheduler.log_tail)
    (found,) = alerts("open")
    assert found["scope"] == "large" and found["severity"] == "critical" and "2048 MiB" in found["what"]
    assert "--job-memory" in found["todo"]
    # Another scheduler leads from now on: what the first one raised stands on, or is resolved by it.
    second = cluster.scheduler()
    scheduler.kill9()
    second.wait_for_log("event=leading", 20 * SLOWER)
    wait_until(lambda: alerts("open"), 20 * SLOWER, second.log_tail)
    beats(cluster, "big", "large", 100 << 20)
    wait_until(lambda: alerts("resolved") and not alerts("open"), 20 * SLOWER, second.log_tail)
