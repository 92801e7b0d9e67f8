"""Queues that an outage filled (S6), and queues that nobody serves (S7)."""

import json
import re
import time
from pathlib import Path

from harness import wait_until
from harness.process import SLOWER


def clock(cluster, n, integration, mode="full", partner="guesty", lane="normal", age_s=0, by="beat", **more):
    """n jobs as the clock, or an import, leaves them in a lane."""
    client = cluster.redis.client
    payload = {"task": "import_resources", "integration_id": integration, "args": {"mode": mode}, **more}
    for i in range(n):
        seq = client.incr(f"seq:{{{partner}}}")
        member = f"1{seq:014d} {integration} {by}-{integration}-{seq} 0 0 {int((time.time() - age_s) * 1000)}\n{json.dumps(payload)}"
        client.zadd(f"ready:{{{partner}}}:{lane}", {member: integration})
    client.zadd(f"ring:{{{partner}}}:{lane}", {str(integration): 1})


def heads(cluster, lane="normal"):
    """Ids of the lane's jobs, raw pushes out of their packs."""
    found = []
    for member in cluster.redis.client.zrange(f"ready:{{guesty}}:{lane}", 0, -1):
        head = member.split(b"\n", 1)[0].split()
        found += [head[2].decode()] * (int(head[2][1:]) if re.fullmatch(rb"x\d+", head[2]) else 1)
    return found


def recovery(cluster, queue="guesty"):
    rows = cluster.longshore("queue", "recovery", "--json").json()
    return next((r for r in rows if r["queue"] == queue), None)


def test_a_lane_that_an_outage_filled_is_brought_down_to_what_the_clock_cannot_make_again(cluster):
    sandbox = cluster.sandbox(listings=3, clean=True, limits="none")
    one, two, alone = (cluster.integration(sandbox) for _ in range(3))
    clock(cluster, 30, one)
    clock(cluster, 9, two, "incremental")
    clock(cluster, 1, two)
    clock(cluster, 1, alone)
    for n in range(5):
        cluster.push({"task": "import_resources", "integration_id": one, "id": f"by-hand-{n}"})
    # Beside it a lane of children that is drained, as set by hand: what is old and asked for by others too goes.
    for import_, age_s in ("first", 7200), ("second", 7100), ("third", 60):
        for parents in ["a", "b"], ["c"]:
            clock(cluster, 1, one, lane="low", by="child", age_s=age_s, task="import_media", parent="x",
                  args={"collection": "photos", "parents": parents, "import": import_})
    cluster.push({"task": "import_media", "integration_id": one, "args": {"mode": "full"}, "id": "pushed"}, "queue:{guesty}:low")
    cluster.longshore("queue", "recovery", "guesty:low", "drain", "--over", "6")
    scheduler = cluster.scheduler(recovery_over=20)
    scheduler.wait_for_log("event=recovery_shed queue=guesty:low strategy=drain shed=4", 20 * SLOWER)
    assert len(heads(cluster, "low")) == 3, "the youngest of each, and what was pushed"
    low = wait_until(lambda: (r := recovery(cluster, "guesty:low")) and r["shed"] and r, 10 * SLOWER)
    assert (low["strategy"], low["over"], low["shed"], low["fresh"]) == ("drain", 6, 4, 0)
    scheduler.wait_for_log("event=recovery_shed queue=guesty strategy=", 20 * SLOWER)
    left = heads(cluster)
    fresh = [h for h in left if h.startswith("beat-fresh-")]
    assert sorted(h.split("-")[2] for h in fresh) == sorted(map(str, (one, two))), "one of each integration"
    assert len([h for h in left if h.startswith("beat-") and h not in fresh]) == 1, "one that stood alone stays"
    assert len(left) == 2 + 1 + 5, "what was pushed by hand stays"
    modes = {json.loads(m.split(b"\n", 1)[1])["integration_id"]: json.loads(m.split(b"\n", 1)[1])["args"]["mode"]
             for m in cluster.redis.client.zrange("ready:{guesty}:normal", 0, -1) if b"beat-fresh-" in m}
    assert modes == {one: "full", two: "full"}, "the fresh one sees all that one of them would have seen"
    row = wait_until(lambda: (r := recovery(cluster)) and r["shed"] and r, 10 * SLOWER, lambda: str(recovery(cluster)))
    assert (row["shed"], row["fresh"], row["deepest"]) == (40, 2, 46) and row["strategy"] == "default"
    told = "SELECT what FROM alerts WHERE kind = 'recovery' AND scope = 'guesty'"
    wait_until(lambda: "40 imports were taken out" in cluster.one(told), 10 * SLOWER, lambda: str(cluster.sql(told)))
    wait_until(lambda: 'longshore_jobs_shed_total{queue_name="guesty",strategy="purge"} 40' in scheduler.get("/metrics").text, 10 * SLOWER, "the metric")
    assert cluster.one("SELECT count(*) FROM dead_letters") == 0 and cluster.dead() == [], "another does their work: no letters"
    # It was down to half by that, and so is over; then a worker does what is left.
    wait_until(lambda: cluster.one("SELECT count(*) FROM alerts WHERE kind = 'recovery' AND state <> 'resolved'") == 0, 10 * SLOWER,
               scheduler.log_tail)
    assert recovery(cluster)["under_way"] is recovery(cluster, "guesty:low")["under_way"] is False
    cluster.longshore("queue", "purge", "guesty:low", "--yes")  # no parents of that name
    cluster.worker()
    cluster.wait_idle(20)
    for integration in (one, two, alone):
        assert cluster.one("SELECT count(*) FROM resources WHERE integration_id = %s", integration) == 3
    assert all(l["class"] == "purged" for l in cluster.dead())


def test_pause_lets_the_clock_wait_till_half_is_done_and_off_does_nothing(cluster):
    assert cluster.longshore.run("queue", "recovery", "guesty", "purg").code == 2
    assert cluster.longshore.run("queue", "recovery", "gusty").code == 3
    assert cluster.longshore.run("queue", "recovery", "guesty", "--over", "3").code == 2
    cluster.longshore("queue", "recovery", "longshore:normal", "pause", "--over", "4")
    cluster.longshore("queue", "recovery", "guesty", "off")
    for n in range(6):
        cluster.push({"task": "noop", "id": f"held-{n}"}, "queue:{longshore}")
        cluster.push({"task": "noop"}, "queue:{guesty}")
    scheduler = cluster.scheduler(recovery_over=2)
    scheduler.wait_for_log("event=recovery_began queue=longshore strategy=pause", 20 * SLOWER)
    (alert,) = wait_until(lambda: cluster.sql("SELECT * FROM alerts WHERE kind = 'recovery'"), 20 * SLOWER, scheduler.log_tail)
    assert alert["scope"] == "longshore" and "the clock starts nothing" in alert["what"], alert
    assert [r["under_way"] for r in cluster.longshore("queue", "recovery", "guesty", "--json").json()] == [False] * 3
    cluster.worker()
    scheduler.wait_for_log("event=recovery_ended queue=longshore", 20 * SLOWER)
    assert not scheduler.log_contains("queue=guesty")
    cluster.longshore("queue", "recovery", "longshore:normal", "default")
    assert recovery(cluster, "longshore")["over"] is None


def test_a_queue_that_nobody_serves_has_some_of_its_jobs_done_every_now_and_then(cluster):
    for n in range(90):
        cluster.push({"task": "noop", "id": f"job-{n}"})
    scheduler = cluster.scheduler(emergency_over=30, emergency_age="1s", emergency_every="3s", emergency_jobs=20)

    def done():
        return len(set(re.findall(r"event=job_done job=(job-\d+)", scheduler.log_text())))

    scheduler.wait_for_log("event=emergency_worker_ended .*code=0", 30 * SLOWER)
    first = re.split("event=emergency_worker_ended", scheduler.log_text())[0]
    assert len(set(re.findall(r"event=job_done job=(job-\d+)", first))) == 20, "as many as were asked for"
    (alert,) = cluster.sql("SELECT * FROM alerts WHERE kind = 'emergency'")
    assert alert["severity"] == "critical" and alert["state"] == "open" and "no live worker serves it" in alert["what"]
    command = Path("/proc", re.search(r"emergency_worker_started .*pid=(\d+)", scheduler.log_text()).group(1))
    assert not command.exists(), "it was reaped"
    wait_until(lambda: done() >= 40, 30 * SLOWER, lambda: f"the next round ({done()})")
    # A worker that serves the queue ends it.
    cluster.worker()
    cluster.wait_idle(20)
    wait_until(lambda: cluster.one("SELECT state FROM alerts WHERE kind = 'emergency'") == "resolved", 20 * SLOWER,
               scheduler.log_tail)
    started = scheduler.log_text().count("emergency_worker_started")
    assert 2 <= started <= 1 + -(-90 // 20), "none more than there was work for"
    assert cluster.dead() == []


def test_an_emergency_worker_ends_with_its_scheduler_and_its_jobs_go_on(cluster):
    sandbox = cluster.sandbox(listings=1, clean=True, limits="none", latency="3s")
    integration = cluster.integration(sandbox)
    for n in range(6):
        cluster.push({"task": "import_resource", "id": f"slow-{n}", "integration_id": integration, "args": {"external_id": "x"}})
    flags = dict(emergency_over=2, emergency_age="1s", emergency_every="1s", emergency_jobs=3)
    first = cluster.scheduler(**flags)
    wait_until(lambda: cluster.redis.client.hlen("flight:{guesty}") == 3, 20 * SLOWER, first.log_tail)
    (pid,) = re.findall(r"emergency_worker_started .*pid=(\d+)", first.log_text())
    assert "postgres" not in Path("/proc", pid, "cmdline").read_text(), "where it connects to is no argument"
    first.exits.add(-9)
    first.process.kill()  # itself alone
    wait_until(lambda: cluster.redis.client.hlen("flight:{guesty}") == 0, 20 * SLOWER, first.log_tail)
    cluster.worker()
    cluster.scheduler()
    cluster.wait_idle(30)
    assert len(sandbox.log(path="/v1/listings/")) >= 6
