"""The live view: what waits, what is held and why, what runs where since when; and what a person may do about it."""

import json
import re
import signal
import time

import pytest

from harness import wait_until
from harness.partners import guesty_as
from harness.process import SLOWER
from test_cli import refused


def jobs(cluster, *words):
    return cluster.longshore("job", "list", *words, "--json").json()


def show(cluster, job):
    return cluster.longshore("job", "show", job, "--json").json()


@pytest.fixture
def still(cluster):
    """A partner with one integration, and nobody who works."""
    sandbox = cluster.sandbox(listings=4, clean=True, limits="none")
    cluster.integration_id = cluster.integration(sandbox)
    return cluster


def patient(cluster):
    """Guesty, for whose answers is waited longer than any test looks."""
    guesty_as("guesty", cluster.folder / "drivers", lambda m: m["api"].update(timeout={"connect": "5s", "read": "300s", "total": "310s"}))
    cluster.add_drivers(cluster.folder / "drivers")


def push(cluster, job, integration=None, **more):
    cluster.push({"id": job, "task": "import_resources", "integration_id": integration or cluster.integration_id, **more})


def test_what_waits(still):
    for n in range(3):
        push(still, f"a{n}")
    still.push({"id": "urgent", "task": "noop"}, "queue:{guesty}:high")
    rows = jobs(still, "--queue", "guesty")
    assert {r["id"]: (r["state"], r["queue"]) for r in rows} == {
        "urgent": ("ready", "guesty:high"), **{f"a{n}": ("ready", "guesty") for n in range(3)}}
    assert all(r["worker"] is None and r["due"] is None and r["attempts"] == 0 for r in rows)
    assert [r["id"] for r in jobs(still, "--queue", "guesty:high")] == ["urgent"]
    assert [r["id"] for r in jobs(still, "--integration", still.integration_id)] == ["a0", "a1", "a2"], "oldest first"
    assert len(jobs(still, "--limit", "2")) == 2 and jobs(still, "--state", "delayed") == []
    assert jobs(still, "--queue", "longshore") == []
    shown = show(still, "a2")
    assert shown["payload"]["id"] == "a2" and shown["integration_id"] == still.integration_id and shown["crashes"] == 0
    assert any("no live worker serves guesty" in why for why in shown["why"])
    assert any(f"2 jobs of integration {still.integration_id} stand before it" in why for why in shown["why"])
    assert any("1 jobs stand in higher lanes" in why for why in shown["why"])
    assert show(still, shown["job"])["id"] == "a2", "by our own id too"


def test_held_jobs_are_not_ready_and_say_why(still):
    still.scheduler()
    push(still, "one")
    still.longshore("integration", "pause", still.integration_id, "--reason", "their accountant called")
    wait_until(lambda: still.queue()["held"] == 1, 15 * SLOWER, still.describe)
    assert still.queue()["ready"] == 0, "ready counts what could run"
    (row,) = jobs(still, "--state", "held")
    assert row["id"] == "one" and "paused" in row["why"] and jobs(still, "--state", "ready") == []
    why = show(still, "one")["why"]
    assert any("their accountant called" in line for line in why), why
    shown = still.longshore("queue", "show", "guesty", "--json").json()
    (share,) = shown["integrations"]
    assert share == {"integration_id": still.integration_id, "ready": 1, "in_flight": 0, "cap": 0, "paused": True}
    scheduler = still.processes[-1]

    def held_in_metrics():
        page = scheduler.get("/metrics").text
        return ('integration_queue_length{queue_name="guesty"} 0' in page
                and 'integration_queue_held{queue_name="guesty"} 1' in page)
    wait_until(held_in_metrics, 15 * SLOWER, lambda: scheduler.get("/metrics").text)

    still.longshore("integration", "resume", still.integration_id)
    still.longshore("queue", "pause", "guesty", "--reason", "their night")
    why = show(still, "one")["why"]
    assert any("guesty is paused" in line for line in why) and any("their night" in line for line in why), why
    assert still.queue()["held"] == 1 and still.queue()["ready"] == 0
    assert still.longshore("queue", "show", "guesty", "--json").json()["pause_reason"] == "their night"
    still.longshore("queue", "resume", "guesty")
    assert still.queue()["held"] == 0 and still.queue()["ready"] == 1
    assert all("paused" not in line for line in show(still, "one")["why"])


def test_what_runs_where_and_who_is_at_the_cap(cluster):
    patient(cluster)
    sandbox = cluster.sandbox(listings=4, clean=True, limits="none", latency="290000")
    integration = cluster.integration(sandbox, in_flight=1)
    cluster.scheduler()
    worker = cluster.worker()
    before = time.time()
    for n in range(3):
        push(cluster, f"r{n}", integration)
    wait_until(lambda: cluster.queue()["in_flight"] == 1, 20 * SLOWER, cluster.describe)
    (running,) = jobs(cluster, "--state", "in_flight")
    (listed,) = cluster.longshore("worker", "list", "--json").json()
    assert running["id"] == "r0" and running["worker"] == listed["worker"]
    assert listed["pid"] in worker.children() and listed["concurrency"] == 1000 and "guesty" in listed["partners"]
    since = cluster.one("SELECT extract(epoch FROM %s::timestamptz)::float8", running["since"])
    assert before - 2 < since < time.time() + 2, running
    why = show(cluster, "r2")["why"]
    assert f"integration {integration} is at its cap: 1 of 1 jobs in flight" in why, why
    held = cluster.longshore("worker", "show", listed["worker"], "--json").json()
    assert [j["id"] for j in held["jobs"]] == ["r0"] and held["alive"] is True
    shown = cluster.longshore("queue", "show", "guesty", "--json").json()
    assert shown["integrations"] == [{"integration_id": integration, "ready": 2, "in_flight": 1, "cap": 1, "paused": False}]
    assert [j["id"] for j in shown["running"]] == ["r0"] and shown["workers"] == 1
    refused(cluster.longshore.run("job", "cancel", "r0"), 1, "is running on", listed["worker"])
    refused(cluster.longshore.run("job", "retry", "r0"), 1, "is running already")
    refused(cluster.longshore.run("job", "retry", "r1"), 1, "is ready already")
    refused(cluster.longshore.run("worker", "show", "nobody"), 3, "nobody")
    for words in (("queue", "show", "guesty"), ("queue", "list"), ("job", "list"), ("job", "show", "r1"), ("worker", "list"),
                  ("worker", "show", listed["worker"])):
        text = cluster.longshore(*words).out
        assert "r0" in text or "guesty" in text or listed["worker"] in text, f"{words} for people: {text}"
    worker.kill9()


def test_delayed_until_and_retry(still):
    soon = int(time.time() * 1000) + 3_600_000
    still.longshore("push", "guesty", "import_resources", "--integration", still.integration_id, "--run-at", "1h")
    (row,) = jobs(still, "--state", "delayed")
    due = still.one("SELECT (extract(epoch FROM %s::timestamptz) * 1000)::int8", row["due"])
    assert abs(due - soon) < 60_000 and row["state"] == "delayed"
    assert any(line.startswith("delayed until ") for line in show(still, row["id"])["why"])
    still.longshore("job", "retry", row["id"])
    assert [r["state"] for r in jobs(still)] == ["ready"]


def test_cancel_leaves_a_discarded_letter(still):
    push(still, "no*[t]?", args={"mode": "full"}, record=True)
    push(still, "not")
    still.longshore("push", "guesty", "import_resources", "--integration", still.integration_id, "--run-at", "1h")
    (delayed,) = jobs(still, "--state", "delayed")
    for job in ("no*[t]?", delayed["id"]):
        assert still.longshore("job", "cancel", job, "--json").json() == {"cancelled": 1}
        refused(still.longshore.run("job", "show", job), 3, "no job")
    assert [r["id"] for r in jobs(still)] == ["not"], "a pattern in an id matches nothing but itself"
    letters = still.sql("SELECT state, class, letter FROM dead_letters ORDER BY failed_at")
    assert [(x["state"], x["class"]) for x in letters] == [("discarded", "cancelled")] * 2
    assert json.loads(letters[0]["letter"]["payload"])["args"] == {"mode": "full"}
    assert still.dead() == []
    kept = still.sql("SELECT job_id, task, state, why, class, error FROM outcomes")
    assert kept == [{"job_id": "no*[t]?", "task": "import_resources", "state": "dropped", "why": "cancelled", "class": None,
                     "error": "cancelled by an operator"}], "of the one that asked for it"


def test_purge_keeps_what_it_takes_in_postgres(still):
    other = still.integration(still.processes[-1], "acct-2")
    payloads = [json.dumps({"id": f"p{n}", "task": "import_resources", "integration_id": still.integration_id}) for n in range(450)]
    still.redis.client.lpush("queue:{guesty}", *payloads, "no job at all")
    push(still, "high", other)
    refused(still.longshore.run("queue", "purge", "guesty"), 2, "--yes")
    refused(still.longshore.run("queue", "purge", "gusty", "--yes"), 3, "guesty")
    assert still.longshore("queue", "purge", "guesty:low", "--yes", "--json").json() == {"purged": 0}
    done = still.longshore("queue", "purge", "guesty", "--integration", still.integration_id, "--yes", "--json").json()
    assert done == {"purged": 450}
    assert still.queue()["ready"] == 2
    rows = still.sql("SELECT letter FROM dead_letters WHERE state = 'discarded' AND class = 'purged'")
    assert sorted(r["letter"]["payload"] for r in rows) == sorted(payloads), "every byte that was pushed"
    # What was taken out by hand can be listed and shown.
    for words in (["--class", "purged"], ["--state", "discarded"]):
        listed = still.longshore("dead", "list", *words, "--limit", "1000", "--json").json()
        assert len(listed) == 450 and {x["class"] for x in listed} == {"purged"}
    assert still.longshore("dead", "show", listed[0]["id"], "--json").json()["class"] == "purged"
    assert still.longshore("dead", "list", "--json").json() == []
    refused(still.longshore.run("dead", "list", "--state", "buried"), 2, "discarded")
    assert still.longshore("queue", "purge", "guesty", "--yes", "--json").json() == {"purged": 2}
    assert still.busy() == 0 and still.dead() == []
    assert still.one("SELECT count(*) FROM dead_letters WHERE state = 'discarded'") == 452


def test_what_each_job_waits_for_and_since_when(cluster):
    """USR1 tells it of each job; `worker show` in sum, and which jobs those are."""
    patient(cluster)
    sandbox = cluster.sandbox(listings=4, clean=True, limits="none")
    one, other = cluster.integration(sandbox, "acct-1"), cluster.integration(sandbox, "acct-2")
    worker = cluster.worker(log_level="error")  # it speaks up even so
    sandbox.fault(match="/v1/listings", account=1, delay_ms=290000)
    sandbox.fault(match="/oauth2/token", delay_ms=290000, skip=1)
    push(cluster, "for-http", one)
    wait_until(lambda: sandbox.log(path="/v1/listings"), 20 * SLOWER, cluster.describe)
    for n in range(2):
        push(cluster, f"for-token{n}", other)

    def told():
        since = worker.log_size()
        worker.signal(signal.SIGUSR1)
        worker.wait_for_log("event=coroutines ", 10 * SLOWER, since)
        lines = worker.log_text()[since:].splitlines()
        return [dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line)) for line in lines]

    def jobs_of(lines):
        return {line["job"]: line for line in lines if "job" in line}
    wait_until(lambda: len(jobs_of(told())) == 3, 20 * SLOWER, lambda: str(told()), 0.1)
    wait_until(lambda: int(jobs_of(told())["for-http"]["since_ms"]) > 1000, 20 * SLOWER, lambda: str(told()), 0.2)
    lines = told()
    jobs = jobs_of(lines)
    assert jobs["for-http"]["waits_for"] == "http" and jobs["for-http"]["task"] == "import_resources"
    assert jobs["for-http"]["integration"] == str(one) and jobs["for-http"]["partner"] == "guesty"
    assert jobs["for-http"]["attempt"] == "1" and int(jobs["for-http"]["running_ms"]) >= int(jobs["for-http"]["since_ms"])
    assert {line["name"] for line in lines if "name" in line} >= {"claimer", "beat", "job"}, "and all that is not a job"
    assert lines[-1]["event"] == "coroutines" and lines[-1]["jobs"] == "3"

    (listed,) = cluster.longshore("worker", "list", "--json").json()

    def shown():
        return cluster.longshore("worker", "show", listed["worker"], "--json").json()
    wait_until(lambda: sum(w["jobs"] for w in shown()["waits"].values()) == 3, 20 * SLOWER, lambda: str(shown()), 0.2)
    assert shown()["waits"]["http"]["jobs"] >= 1 and shown()["waits"]["http"]["longest_ms"] > 0
    assert {j["id"] for j in shown()["jobs"]} == {"for-http", "for-token0", "for-token1"}
    assert "longest_ms" in cluster.longshore("worker", "show", listed["worker"]).out
    worker.kill9()  # nobody waits for that


def test_a_dead_job_is_told(cluster):
    cluster.scheduler()
    cluster.worker()
    cluster.push({"id": "lost", "task": "no_such_task"})
    wait_until(lambda: len(cluster.dead()) == 1, 20 * SLOWER, cluster.describe)
    (row,) = jobs(cluster, "--state", "dead")
    assert row["id"] == "lost" and row["state"] == "dead" and "no_such_task" in row["why"]
    shown = show(cluster, "lost")
    assert shown["state"] == "dead" and shown["letter"] in shown["why"][0]
    refused(cluster.longshore.run("job", "retry", "lost"), 1, "dead replay")


def test_mistakes(cluster):
    refused(cluster.longshore.run("job", "list", "--state", "lost"), 2, "in_flight")
    refused(cluster.longshore.run("job", "list", "--queue", "gusty"), 3, "guesty")
    refused(cluster.longshore.run("queue", "show", "guesty:middle"), 2, "middle")
    refused(cluster.longshore.run("job", "show", "nothing"), 3, "nothing")
    refused(cluster.longshore.run("job", "list", "--redis", "redis://127.0.0.1:1"), 4, "127.0.0.1:1")


def test_alerts_of_a_lane_over_its_bound(still):
    """Held jobs cost memory, so they count for the bound; nobody has to serve them, so they raise no no_worker."""
    still.longshore("integration", "pause", still.integration_id)
    job = json.dumps({"task": "import_resources", "integration_id": still.integration_id})
    for _ in range(11):
        still.redis.client.lpush("queue:{guesty}:low", *[job] * 1000)
    still.scheduler()

    def alerts():
        return {(a["kind"], a["scope"]) for a in still.sql("SELECT kind, scope FROM alerts WHERE resolved_at IS NULL")}
    wait_until(lambda: ("lane_bound", "guesty:low") in alerts(), 30 * SLOWER, lambda: f"an alert; {alerts()}")
    assert ("queue_depth", "guesty") not in alerts(), "that one counts what could run"
    still.push({"task": "noop"}, "queue:{longshore}")
    wait_until(lambda: ("no_worker", "longshore") in alerts(), 40 * SLOWER, lambda: f"no_worker; {alerts()}")
    assert ("no_worker", "guesty") not in alerts()
