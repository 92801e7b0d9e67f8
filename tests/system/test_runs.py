"""Q10 and Q11: a run's end is noticed once, by one; how far it is; what is kept of a job that ended."""

import json
import re
import time
from datetime import timedelta

import pytest

from harness import wait_until
from harness.guesty import differences, expected, listing_row
from harness.partners import by_listing, guesty_as
from harness.process import SLOWER


def fast(manifest):
    by_listing(manifest)
    manifest["limits"] = [{"scope": "integration", "rate": 1000, "window": "1s"}]
    manifest.pop("limit_headers")


def root(cluster, task="import_company_resources"):
    return cluster.sql("SELECT * FROM runs WHERE task = %s ORDER BY id", task)[-1]


def wait_ended(cluster, task, timeout=50):
    wait_until(lambda: cluster.sql("SELECT * FROM runs WHERE task = %s AND ended_at IS NOT NULL", task), timeout * SLOWER,
               lambda: f"the end of {cluster.sql('SELECT * FROM runs WHERE task = %s', task)}\n{cluster.describe()}")
    return root(cluster, task)


def times_done(process, job):
    return len(re.findall(rf"event=job_done .*job={job}\b|event=job_done job={job}\b", process.log_text()))


def left_over(cluster):
    return cluster.redis.client.keys("run:*") + cluster.redis.client.keys("ended:*")


@pytest.mark.timeout(100 * SLOWER)
def test_a_company_over_two_partners_ends_once_though_workers_are_killed(cluster):
    guesty_as("byeach", cluster.folder / "more", fast)
    cluster.add_drivers(cluster.folder / "more")
    sandbox = cluster.sandbox(listings=120, reservations=240, clean=True, limits="none", latency="150ms")
    plain = cluster.integration(sandbox)
    fanned = cluster.integration(sandbox, account="acct-2", partner="byeach")
    scheduler = cluster.scheduler(log_level="debug")
    worker = cluster.worker(processes=2)
    cluster.push({"task": "import_company_resources", "id": "co",
                  "args": {"company_id": cluster.company_id, "on_done": {"task": "noop", "args": {"note": 1}}}},
                 "queue:{longshore}")
    for at_least in (1, 60, 150):
        wait_until(lambda n=at_least: cluster.one("SELECT count(*) FROM resources") >= n, 40 * SLOWER, cluster.describe, 0.02)
        assert not cluster.sql("SELECT 1 AS x FROM runs WHERE ended_at IS NOT NULL"), "it ended before its jobs did"
        wait_until(worker.children, 20 * SLOWER, "a process to kill")
        worker.kill9_child()
    run = wait_ended(cluster, "import_company_resources")
    cluster.wait_idle(20, partners=("guesty", "byeach", "longshore"))
    for integration, account in ((plain, "acct-1"), (fanned, "acct-2")):
        rows = cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)
        assert not differences(rows, expected(sandbox.items("listing", account), listing_row)[0])
    assert cluster.one("SELECT count(*) FROM transactions WHERE integration_id = %s", fanned) > 200
    parts = cluster.sql("SELECT * FROM runs WHERE root_id = %s AND id <> %s", run["id"], run["id"])
    assert len(parts) >= 5 and all(p["finished_at"] <= run["ended_at"] + timedelta(seconds=1) for p in parts if p["finished_at"])
    assert run["ended"] == "done" and run["descendants_dead"] == 0 and run["descendants_done"] >= 5
    job = f"run-{run['id']}-done"
    wait_until(lambda: times_done(worker, job), 10 * SLOWER, cluster.describe)
    scheduler.wait_for_log("event=run_ended", 20 * SLOWER)  # told once the note of it is gone
    assert times_done(worker, job) == 1 and scheduler.log_text().count("event=on_done_queued") == 1
    assert scheduler.log_text().count("event=run_ended") == 1 and not left_over(cluster)
    shown = cluster.longshore("run", "show", run["id"], "--json").json()
    assert shown["ended"] == "done" and shown["open"] == 0 and shown["on_done_at"] and shown["duration_s"] > 0
    assert shown["descendants_done"] == run["descendants_done"] and shown["parts"].get("done", 0) >= 3


def test_on_done_is_queued_once_with_two_schedulers_and_one_of_them_killed(cluster):
    worker = cluster.worker()
    count = 80
    for n in range(count):
        cluster.push({"task": "noop", "id": f"r{n}", "args": {"on_done": {"task": "noop"}}}, "queue:{longshore}")
    wait_until(lambda: cluster.redis.client.hlen("ended:{longshore}") == count, 20 * SLOWER, cluster.describe)
    first, second = (cluster.make_scheduler(import_every="0").start() for _ in range(2))
    wait_until(lambda: first.log_text().count("event=on_done_queued") + second.log_text().count("event=on_done_queued") > 2,
               30 * SLOWER, cluster.describe, 0.005)
    first.kill9()
    wait_until(lambda: not left_over(cluster), 20 * SLOWER, cluster.describe)
    cluster.wait_idle(20)
    jobs = re.findall(r"event=job_done .*?job=(run-\d+-done)", worker.log_text())
    assert len(jobs) == count and len(set(jobs)) == count
    assert cluster.one("SELECT count(*) FROM runs WHERE ended = 'done' AND on_done_at IS NOT NULL") == count


def test_a_root_that_dies_ends_its_run_as_failed(cluster):
    sandbox = cluster.sandbox(listings=3, clean=True)
    integration = cluster.integration(sandbox)
    worker = cluster.worker()
    cluster.scheduler()
    cluster.push({"task": "import_resource", "integration_id": integration,
                  "args": {"external_id": "missing", "on_done": {"task": "noop", "integration_id": integration}}})
    run = wait_ended(cluster, "import_resource")
    assert run["ended"] == "failed" and run["state"] == "failed"
    wait_until(lambda: times_done(worker, f"run-{run['id']}-done"), 10 * SLOWER, cluster.describe)


@pytest.mark.parametrize("on_done, text", [
    ("noop", "is not an object"), ({}, 'has no "task"'), ({"task": 5}, 'has no "task"'),
    ({"task": "noop", "args": []}, "are not an object"), ({"task": "noop", "integration_id": "7"}, "positive integer"),
    ({"task": "noop", "integration_id": 9999}, "does not exist"), ({"task": "noop", "when": 1}, "does not know")])
def test_a_wrong_on_done_is_a_dead_letter(cluster, on_done, text):
    cluster.worker()
    cluster.push({"task": "noop", "args": {"on_done": on_done}})
    wait_until(cluster.dead, 20 * SLOWER, cluster.describe)
    (letter,) = cluster.dead()
    assert letter["class"] == "bad_job" and "args.on_done" in letter["error"] and text in letter["error"]
    assert cluster.one("SELECT count(*) FROM runs") == 0 and not left_over(cluster)


def test_a_cancelled_descendant_ends_the_run(cluster):
    sandbox = cluster.sandbox(listings=3, clean=True)
    cluster.integration(sandbox)
    cluster.scheduler()
    # Nobody serves guesty: the child waits there, and its run is at home in {longshore}.
    cluster.worker(partners="longshore")
    cluster.push({"task": "import_company_resources", "args": {"company_id": cluster.company_id}}, "queue:{longshore}")
    wait_until(lambda: cluster.redis.client.zcard("ready:{guesty}:normal") == 1, 20 * SLOWER, cluster.describe)
    (row,) = cluster.longshore("run", "list", "--json").json()
    assert row["open"] == 1 and row["ended"] is None and row["task"] == "import_company_resources"
    (job,) = cluster.longshore("job", "list", "--json").json()
    cluster.longshore("job", "cancel", job["id"])
    run = wait_ended(cluster, "import_company_resources", 20)
    assert run["ended"] == "failed" and run["descendants_dead"] == 1
    wait_until(lambda: not left_over(cluster), 20 * SLOWER, lambda: str(left_over(cluster)))  # the note goes after the row is written


def test_a_run_that_redis_lost_is_closed_as_unknown(cluster):
    sandbox = cluster.sandbox(listings=3, clean=True)
    cluster.integration(sandbox)
    cluster.worker(partners="longshore")
    for _ in range(2):
        cluster.push({"task": "import_company_resources",
                      "args": {"company_id": cluster.company_id, "on_done": {"task": "noop"}}}, "queue:{longshore}")
    wait_until(lambda: len(cluster.redis.client.keys("run:*")) == 2, 20 * SLOWER, cluster.describe)
    known, lost = (r["id"] for r in cluster.sql("SELECT id FROM runs ORDER BY id"))
    cluster.redis.client.delete(f"run:{{longshore}}:{lost}")
    # One sweep looks at both, the longer untouched one first.
    cluster.sql("UPDATE runs SET updated_at = now() - CASE id WHEN %s THEN interval '2 hours' ELSE interval '1 hour' END", known)
    scheduler = cluster.scheduler()
    scheduler.wait_for_log(f"event=run_lost run={lost}", 30 * SLOWER)
    ended = {r["id"]: r for r in cluster.sql("SELECT * FROM runs")}
    assert ended[lost]["ended"] == "unknown" and ended[lost]["on_done_at"] is None
    assert ended[known]["ended"] is None and ended[known]["ended_at"] is None


def test_progress_is_told_while_it_runs(cluster):
    sandbox = cluster.sandbox(listings=1500, clean=True, limits="none", latency="400ms")
    integration = cluster.integration(sandbox)
    cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration})
    seen = []

    def look():
        for row in cluster.sql("SELECT p.*, r.updated_at FROM run_progress p JOIN runs r ON r.id = p.run_id WHERE p.state = 'running'"):
            if not seen or seen[-1]["processed"] != row["processed"]:
                seen.append(row)
        return len(seen) >= 4

    wait_until(look, 40 * SLOWER, cluster.describe, 0.02)
    assert all(0 < row["processed"] < row["total"] == 1500 for row in seen)
    assert [row["processed"] for row in seen] == sorted(row["processed"] for row in seen)
    assert all(row["worker_peak_bytes"] > 5 << 20 for row in seen)
    assert seen[-1]["updated_at"] - seen[0]["updated_at"] > timedelta(seconds=2), "at most one write a second"
    cluster.wait_idle(40)
    row = cluster.one("SELECT processed FROM runs WHERE task = 'import_resources'")
    assert row == 1500


def test_push_waits_for_the_result(cluster):
    sandbox = cluster.sandbox(listings=20, clean=True)
    integration = cluster.integration(sandbox)
    cluster.worker()
    result = cluster.longshore("push", "guesty", "import_resources", "--integration", integration, "--wait", "20s", "--json")
    told = result.json()
    assert told["state"] == "done" and told["task"] == "import_resources"
    assert told["result"]["added"] > 20 and told["result"]["complete"] is True  # its photos too
    assert told["result"]["run"] == told["run_id"] == cluster.one("SELECT id FROM runs WHERE task = 'import_resources'")
    assert 0 < cluster.redis.client.pttl(f"result:{{guesty}}:{told['id']}") <= 620000
    plain = cluster.longshore("push", "longshore", "noop", "--wait", "20s")
    assert re.search(r"^state +done$", plain.out, re.M)


def test_push_waits_for_a_dead_one(cluster):
    cluster.worker()
    result = cluster.longshore.run("push", "guesty", "import_resource", "--wait", "20s", "--json")
    assert result.code == 1
    told = result.json()
    assert told["state"] == "dead" and told["class"] == "bad_job" and "integration_id" in told["error"]


def test_push_says_how_far_it_is(cluster):
    sandbox = cluster.sandbox(listings=500, clean=True, limits="none", latency="700ms")
    sandbox.fault(match="skip=200", delay_ms=60000)  # it is under way for as long as anybody looks
    integration = cluster.integration(sandbox)
    began = time.monotonic()
    waits = cluster.longshore.run("push", "guesty", "import_resources", "--integration", integration, "--wait", "300ms",
                                  "--lane", "low")
    took = time.monotonic() - began  # what this machine needs for a command
    assert waits.code == 1 and re.search(r"not done after 0\.3 s: it waits in guesty:low", waits.err), waits
    assert "no live worker serves guesty" in waits.err or "nothing of guesty" in waits.err
    delayed = cluster.longshore.run("push", "guesty", "noop", "--run-at", "1h", "--wait", "200ms", "--json")
    assert delayed.code == 1 and delayed.json()["state"] == "delayed" and "delayed until" in delayed.json()["text"]
    cluster.redis.client.delete("ready:{guesty}:low", "ring:{guesty}:low")
    worker = cluster.worker()
    worker.wait_for_log("event=started", 20 * SLOWER)
    runs = cluster.longshore.run("push", "guesty", "import_resources", "--integration", integration, "--wait",
                                 f"{5 + 3 * took:.0f}s", "--json")
    assert runs.code == 1, runs
    told = runs.json()
    assert told["state"] == "in_flight" and "it runs since" in told["text"] and told["job"]["worker"]
    assert re.search(r"run \d+: \d+ of 500 items", told["text"]) and told["run"]["total"] == 500
    worker.kill9()


def test_a_recorded_outcome_is_a_row(cluster):
    sandbox = cluster.sandbox(listings=5, clean=True)
    integration = cluster.integration(sandbox)
    cluster.worker()

    def row(job):
        wait_until(lambda: cluster.sql("SELECT 1 AS x FROM outcomes WHERE job_id = %s", job), 20 * SLOWER, cluster.describe)
        (found,) = cluster.sql("SELECT * FROM outcomes WHERE job_id = %s", job)
        return found

    cluster.push({"task": "import_resources", "id": "rec", "integration_id": integration, "record": True})
    done = row("rec")
    assert done["state"] == "done" and done["queue"] == "guesty" and done["task"] == "import_resources"
    assert done["result"]["processed"] == 5 and done["run_id"] == done["result"]["run"]
    cluster.push({"task": "import_resource", "id": "bad", "integration_id": integration, "record": True})
    dead = row("bad")
    assert dead["state"] == "dead" and dead["class"] == "bad_job" and "external_id" in dead["error"]
    cluster.wait_idle()
    # The same id again: of a name that is used each night the last outcome stands.
    cluster.push({"task": "nonsense", "id": "rec", "record": True})
    wait_until(lambda: row("rec")["state"] == "dead", 20 * SLOWER, cluster.describe)
    cluster.push({"task": "noop", "id": "one", "record": True, "idempotency_key": "k"})
    row("one")
    cluster.wait_idle()
    cluster.push({"task": "noop", "id": "two", "record": True, "idempotency_key": "k", "result_ttl": 60})
    dropped = row("two")
    assert dropped["state"] == "dropped" and dropped["why"] == "duplicate"
    wait_until(lambda: cluster.redis.client.get("result:{guesty}:two"), 10 * SLOWER, cluster.describe)
    assert json.loads(cluster.redis.client.get("result:{guesty}:two"))["why"] == "duplicate"


def test_a_recorded_job_is_not_done_before_its_row_is_written(cluster):
    worker = cluster.worker()
    cluster.push({"task": "noop", "id": "first"})
    worker.wait_for_log("event=job_done job=first", 20 * SLOWER)
    cluster.postgres.stop()
    try:
        cluster.push({"task": "noop", "id": "kept", "record": True, "result_ttl": 60})
        wait_until(lambda: cluster.redis.client.hlen("flight:{guesty}") == 1, 20 * SLOWER, cluster.describe)
        worker.wait_for_log("event=postgres_down", 20 * SLOWER)
        assert cluster.redis.client.hlen("flight:{guesty}") == 1 and not cluster.redis.client.get("result:{guesty}:kept")
    finally:
        cluster.postgres.start()
    wait_until(lambda: cluster.redis.client.get("result:{guesty}:kept"), 40 * SLOWER, cluster.describe)
    assert cluster.one("SELECT state FROM outcomes WHERE job_id = 'kept'") == "done"
