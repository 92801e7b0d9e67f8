"""Q9: the soft limit saves the place and goes on without using a retry; the hard limit unwinds."""

from harness import wait_until
from harness.process import SLOWER


def test_at_its_soft_limit_an_import_goes_on_as_a_new_attempt(cluster):
    sandbox = cluster.sandbox(listings=600, clean=True, limits="none", latency="150ms")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker(soft_limit="200ms")
    cluster.push({"task": "import_resources", "integration_id": integration, "id": "long-one"})
    cluster.wait_idle(40)
    assert cluster.one("SELECT count(*) FROM resources") == 600
    assert worker.log_text().count("event=job_goes_on") >= 2
    assert cluster.dead() == []
    pages = [e["path"] for e in sandbox.log() if e["path"].startswith("/v1/listings")]
    # Each attempt went on where the one before had stored its place: no page was asked for twice.
    assert len(pages) <= 8, pages
    runs = cluster.sql("SELECT state, processed FROM runs WHERE task = 'import_resources'")
    assert [r["state"] for r in runs] == ["done"], "all attempts are one run"


def test_over_its_hard_limit_a_job_is_unwound_and_tried_again(cluster):
    sandbox = cluster.sandbox(listings=10, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    worker = cluster.worker(soft_limit="500ms", hard_limit="1500ms")
    sandbox.fault(match="/v1/listings", delay_ms=8000, times=1)
    cluster.push({"task": "import_resources", "integration_id": integration})
    client = cluster.redis.client
    (lease,) = wait_until(lambda: client.hkeys("flight:{guesty}"), 20 * SLOWER, cluster.describe)
    worker.wait_for_log(r'event=job_later.*class=limit', 20 * SLOWER)
    # Its slot is free again; it is tried again some time within the minute.
    wait_until(lambda: not client.hexists("flight:{guesty}", lease), 10 * SLOWER, cluster.describe)
    sandbox.clear_faults()
    # Another job of the same process runs at once.
    cluster.push({"task": "import_resources", "integration_id": integration})

    def stored():  # on a slow machine one attempt may be too short: then another, now
        late = client.zrange("delayed:{guesty}", 0, -1)
        if late:
            client.zadd("delayed:{guesty}", {m: 1 for m in late}, xx=True)
        return cluster.one("SELECT count(*) FROM resources") == 10
    wait_until(stored, 20 * SLOWER, cluster.describe, 0.2)


def test_a_job_that_may_not_be_retried_is_a_dead_letter_at_its_hard_limit(cluster):
    sandbox = cluster.sandbox(listings=10, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    cluster.worker(soft_limit="500ms", hard_limit="1500ms")
    sandbox.fault(match="/v1/listings", delay_ms=8000, times=1)
    cluster.push({"task": "import_resources", "integration_id": integration, "max_retries": 0})
    wait_until(lambda: len(cluster.dead()) == 1, 20 * SLOWER, cluster.describe)
    assert cluster.dead()[0]["class"] == "limit"


def test_run_at_waits_and_expires_in_discards(cluster):
    cluster.scheduler()
    worker = cluster.worker()
    now = cluster.redis.client.time()
    due = now[0] * 1000 + now[1] // 1000 + 1500
    cluster.push({"task": "noop", "id": "later", "run_at": due})
    worker.wait_for_log(r"event=job_done.*job=later", 20 * SLOWER)
    seconds, micros = cluster.redis.client.time()
    assert seconds * 1000 + micros // 1000 >= due
    assert worker.term() == 0
    cluster.push({"task": "noop", "id": "too-late", "expires_in": 1})
    pushed = cluster.redis.client.time()[0]
    # Admitted (its age begins) by the scheduler; a worker comes only after it has expired.
    wait_until(lambda: cluster.queue()["ready"] == 1, 10 * SLOWER, cluster.describe)
    wait_until(lambda: cluster.redis.client.time()[0] > pushed + 3, 10, "the job to expire")
    second = cluster.worker()
    cluster.wait_idle(20)
    assert "class=expired" in second.log_text() and cluster.dead() == []
