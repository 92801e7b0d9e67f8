"""Q9: what a job may hold, what a process may hold, and who is told."""

import json
import re

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
        for epoch in cluster.redis.client.zrange("workers:{longshore}", 0, -1):
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


def sizes(sandbox, account="acct-1"):
    """How many listings each page asked for, in order."""
    found = (re.search(r"[?&]limit=(\d+)", e["path"]) for e in sandbox.log(account=account, path="/v1/listings?"))
    return [int(m[1]) for m in found if m]


def test_a_page_over_a_jobs_memory_is_asked_for_in_smaller_ones(cluster):
    sandbox = cluster.sandbox(listings=250, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker(job_memory=1)
    cluster.push({"task": "import_resources", "integration_id": integration, "id": "wide"})
    worker.wait_for_log(r"event=job_later .*job=wide .*class=memory", 20 * SLOWER)
    cluster.wait_idle(40)
    assert cluster.dead() == [] and cluster.one("SELECT count(*) FROM resources") == 250
    assert cluster.sql("SELECT state, processed FROM runs WHERE task = 'import_resources'") == [
        {"state": "done", "processed": 250}]
    asked = sizes(sandbox)
    assert asked[0] == 100 and set(asked[1:]) == {10} and len(asked) == 26, asked
    assert len(re.findall(r"event=job_later .*class=memory", worker.log_text())) == 1, "smaller chunks once"


def test_an_item_that_is_too_large_by_itself_is_a_dead_letter_and_harms_no_other(cluster):
    sandbox = cluster.sandbox(listings=100, clean=True, limits="none")
    integrations = [cluster.integration(sandbox, account) for account in ("acct-1", "acct-2")]
    ids = sorted(i["id"] for i in sandbox.items("listing"))
    sandbox.update(ids[37], customFields=[1] * 30000)
    cluster.scheduler()
    worker = cluster.worker(job_memory=1)
    for n, integration in enumerate(integrations):
        cluster.push({"task": "import_resources", "integration_id": integration, "id": f"job-{n}"})
    cluster.push({"task": "import_resource", "integration_id": integrations[0], "id": "alone", "args": {"external_id": ids[37]}})
    cluster.wait_idle(40)
    letters = {letter["job"]: letter for letter in cluster.dead()}
    assert set(letters) == {"job-0", "alone"} and {x["class"] for x in letters.values()} == {"memory"}
    for letter in letters.values():
        for words in ("1024 KiB", "--job-memory", "KiB in memory", "/listings"):
            assert words in letter["error"], letter["error"]
    assert letters["job-0"]["where"] == "listings page 6 of 1 items", letters["job-0"]["where"]
    assert letters["job-0"]["attempts"] == 1 and letters["job-0"]["exchange"]["status"] == 200
    assert sizes(sandbox) [:2] == [100, 10] and sizes(sandbox)[-1] == 1
    # What came before it is stored, and the neighbour's import is whole.
    stored = "SELECT count(*) FROM resources WHERE integration_id = %s"
    assert cluster.one(stored, integrations[0]) == 37 and cluster.one(stored, integrations[1]) == 100
    shown = cluster.longshore("dead", "list", "--class", "memory", "--json").json()
    assert len(shown) == 2 and worker.log_contains("event=page_shrunk")


def test_no_limit_is_felt_by_default(cluster):
    sandbox = cluster.sandbox(listings=100, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    sandbox.update(sandbox.items("listing")[0]["id"], customFields=[1] * 300000)  # 24 MB as a tree
    cluster.scheduler()
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    cluster.wait_idle(40)
    assert cluster.one("SELECT count(*) FROM resources") == 100 and not worker.log_contains("class=memory")
