"""Q7, B4: imports that nobody needs any more are skipped, and said to be; what Longshore queued itself is run late rather than never."""

import json
import re

from harness import wait_until
from harness.process import SLOWER

HOUR_MS = 3600 * 1000


def now_ms(cluster):
    seconds, micros = cluster.redis.client.time()
    return seconds * 1000 + micros // 1000


def push_old(cluster, job, age_ms, partner="guesty", header_id=None):
    """As if it had been pushed then, and could have run since: promote writes both into the job's header."""
    then = now_ms(cluster) - age_ms
    push_old.made += 1
    header = f"{header_id or f'old{push_old.made}'} 0 0 {then}"
    member = f"D2 1{push_old.made:014d} {job.get('integration_id', 0)} {header}\n{json.dumps(job)}"
    cluster.redis.client.zadd(f"delayed:{{{partner}}}", {member: then})


push_old.made = 0


def fleeting(cluster, integration):
    """One that is of no use after a minute."""
    sandbox = next(p for p in cluster.processes if p.name == "sandbox1")
    return {"task": "import_resource", "id": "fleeting", "integration_id": integration, "expires_in": 60,
            "args": {"external_id": sandbox.items("listing")[0]["id"]}}


def runs(cluster, task="import_resources"):
    return cluster.one("SELECT count(*) FROM runs WHERE task = %s", task)


def counted(cluster, worker, task, outcome):
    pattern = rf"event=job_{outcome} .*task={task}\b"
    return len(re.findall(pattern, worker.log_text()))


def started(cluster, **flags):
    sandbox = cluster.sandbox(listings=5, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    # It has been there for longer than the jobs below.
    cluster.sql("UPDATE integrations SET status_since = now() - interval '1 day'")
    cluster.scheduler()
    return integration, cluster.worker(**flags)


def test_an_import_that_waited_over_an_hour_is_skipped(cluster):
    integration, worker = started(cluster)
    for task in ("import_resources", "import_transactions", "import_media"):
        push_old(cluster, {"task": task, "integration_id": integration}, 2 * HOUR_MS)
    push_old(cluster, {"task": "import_all_resources"}, 2 * HOUR_MS, "longshore")
    wait_until(lambda: worker.log_text().count("event=job_stale") == 4, 20 * SLOWER, cluster.describe)
    cluster.wait_idle(20)
    assert cluster.one("SELECT count(*) FROM runs") == 0 and cluster.dead() == []
    # Not old enough; and no whole import: these run.
    push_old(cluster, {"task": "import_resources", "integration_id": integration}, HOUR_MS // 2)
    push_old(cluster, {"task": "noop", "id": "plain"}, 2 * HOUR_MS)
    worker.wait_for_log(r"event=job_done.*job=plain", 20 * SLOWER)
    cluster.wait_idle(30)
    assert cluster.one("SELECT count(*) FROM resources") == 5


def test_what_longshore_queued_itself_runs_late_rather_than_never(cluster):
    integration, worker = started(cluster)
    push_old(cluster, {"task": "import_resources", "integration_id": integration, "parent": "import-all"}, 2 * HOUR_MS)
    cluster.wait_idle(30)
    assert runs(cluster) == 1
    push_old(cluster, {"task": "import_all_resources"}, 2 * HOUR_MS, "longshore", header_id="beat-import-14400000-1")
    wait_until(lambda: runs(cluster, "import_all_resources") == 1, 20 * SLOWER, cluster.describe)
    cluster.wait_idle(30)
    assert runs(cluster) == 2 and "event=job_stale" not in worker.log_text()


def test_age_does_not_count_while_an_integration_was_paused(cluster):
    integration, worker = started(cluster)
    cluster.longshore("integration", "pause", integration)
    push_old(cluster, {"task": "import_resources", "integration_id": integration}, 2 * HOUR_MS)
    wait_until(lambda: cluster.queue()["held"] == 1, 15 * SLOWER, cluster.describe)
    cluster.longshore("integration", "resume", integration)
    cluster.wait_idle(30)
    assert runs(cluster) == 1 and "event=job_stale" not in worker.log_text()


def test_age_does_not_count_while_the_partner_was_paused(cluster):
    integration, worker = started(cluster)
    cluster.longshore("pause", "guesty")
    push_old(cluster, {"task": "import_resources", "integration_id": integration}, 2 * HOUR_MS)
    push_old(cluster, fleeting(cluster, integration), 2 * HOUR_MS)
    wait_until(lambda: cluster.queue()["held"] == 2, 15 * SLOWER, cluster.describe)
    cluster.longshore("resume", "guesty")
    cluster.wait_idle(30)
    assert runs(cluster) == 1 and "event=job_stale" not in worker.log_text()
    worker.wait_for_log(r"event=job_done .*job=fleeting\b", 10 * SLOWER)
    assert "class=expired" not in worker.log_text()


def test_age_does_not_count_behind_an_open_breaker(cluster):
    integration, worker = started(cluster)
    sandbox = next(p for p in cluster.processes if p.name == "sandbox1")
    # Who calls which host is written with the caps, which the first claim finds missing.
    cluster.push({"task": "noop"})
    cluster.wait_idle(20)
    host = sandbox.url.split("//")[1]
    cluster.longshore("breaker", "open", "guesty", host)
    wait_until(lambda: cluster.one("SELECT count(*) FROM alerts WHERE kind = 'breaker_open' AND state = 'open'"), 20 * SLOWER,
               cluster.describe)
    push_old(cluster, {"task": "import_resources", "integration_id": integration}, 2 * HOUR_MS)
    push_old(cluster, fleeting(cluster, integration), 2 * HOUR_MS)
    wait_until(lambda: cluster.queue()["held"] == 2, 15 * SLOWER, cluster.describe)
    cluster.longshore("breaker", "close", "guesty", host)
    cluster.wait_idle(30)
    assert runs(cluster) == 1 and "event=job_stale" not in worker.log_text()
    worker.wait_for_log(r"event=job_done .*job=fleeting\b", 10 * SLOWER)
    assert "class=expired" not in worker.log_text()
    # While nothing holds it, its time runs.
    wait_until(lambda: not cluster.one("SELECT count(*) FROM alerts WHERE kind = 'breaker_open' AND state = 'open'"),
               20 * SLOWER, cluster.describe)
    cluster.sql("UPDATE alerts SET resolved_at = now() - interval '1 hour' WHERE kind = 'breaker_open'")
    push_old(cluster, {**fleeting(cluster, integration), "id": "late"}, 2 * HOUR_MS)
    worker.wait_for_log("class=expired", 20 * SLOWER)


def test_an_import_older_than_the_last_success_is_superseded(cluster):
    integration, worker = started(cluster)
    other = cluster.integration(next(p for p in cluster.processes if p.name == "sandbox1"), "acct-2")
    job = {"task": "import_resources", "integration_id": integration}
    cluster.push({**job, "args": {"mode": "full"}})
    cluster.wait_idle(30)
    assert runs(cluster) == 1
    push_old(cluster, job, HOUR_MS // 10)  # full is what it means without a mode
    wait_until(lambda: worker.log_text().count("event=job_superseded") == 1, 20 * SLOWER, cluster.describe)
    # Another mode, another integration, and one pushed later are something else.
    push_old(cluster, {**job, "args": {"mode": "incremental"}}, HOUR_MS // 10)
    push_old(cluster, {**job, "integration_id": other}, HOUR_MS // 10)
    cluster.push(job)
    cluster.wait_idle(40)
    assert runs(cluster) == 4 and worker.log_text().count("event=job_superseded") <= 3
    # Another process, which saw none of that, asks Postgres.
    assert worker.term() == 0
    second = cluster.worker()
    push_old(cluster, {**job, "parent": "import-all"}, HOUR_MS // 10)
    wait_until(lambda: "event=job_superseded" in second.log_text(), 20 * SLOWER, cluster.describe)
    cluster.wait_idle(30)
    assert runs(cluster) == 4 and cluster.dead() == []


def test_an_import_for_some_parents_is_no_whole_import(cluster):
    """It neither supersedes, nor is it superseded: nobody else brings its rows."""
    integration, worker = started(cluster)
    cluster.push({"task": "import_media", "integration_id": integration})
    cluster.wait_idle(30)
    runs_before = cluster.one("SELECT count(*) FROM runs")
    push_old(cluster, {"task": "import_media", "integration_id": integration,
                       "args": {"collection": "none-such", "parents": ["1"]}}, HOUR_MS // 10)
    # Looked at as a job of its own: its arguments are refused, it is not skipped.
    wait_until(lambda: len(cluster.dead()) >= 1, 20 * SLOWER, cluster.describe)
    assert "event=job_superseded" not in worker.log_text()
    assert cluster.one("SELECT count(*) FROM runs") >= runs_before


def test_an_expiry_counts_from_the_time_a_job_was_to_run_at(cluster):
    cluster.scheduler()
    worker = cluster.worker()
    cluster.push({"task": "noop", "id": "planned", "run_at": now_ms(cluster) + 1000 * SLOWER * 2 + 500, "expires_in": 2 * SLOWER})
    worker.wait_for_log(r"event=job_done.*job=planned", 20 * SLOWER)
    assert "class=expired" not in worker.log_text()
