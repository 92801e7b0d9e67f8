"""Starts by the clock: each slot once, whoever leads, dies, sleeps or forgets; pauses; when and why then; and now."""

import json
import re
import signal
from collections import Counter
from datetime import datetime, timezone

import pytest
from harness import wait_until
from harness.process import SLOWER

QUEUED = re.compile(rb" (beat-(\d+)-(\d+)) \d+ \d+ \d+[^\n]*\n(.*)", re.S)


def queued(cluster, partner="guesty", lane="normal"):
    """What the clock has queued and nobody has taken yet: (integration, slot in ms, payload)."""
    found = []
    for member in cluster.redis.client.zrange(f"ready:{{{partner}}}:{lane}", 0, -1):
        match = QUEUED.search(member)
        if match:
            found.append((int(match[2]), int(match[3]), json.loads(match[4])))
    return found


def slots(cluster, integration):
    return sorted(slot for i, slot, _ in queued(cluster) if i == integration)


def schedule(cluster, integration):
    (row,) = cluster.sql("SELECT * FROM schedules WHERE integration_id = %s", integration)
    return row


def leads(scheduler):
    return scheduler.log_text().count("event=leading ") > scheduler.log_text().count("event=leading_ended ")


@pytest.mark.timeout(90 * SLOWER)
def test_each_slot_runs_once_though_the_leader_sleeps(cluster):
    sandbox = cluster.sandbox(listings=1)
    each, last = cluster.integration(sandbox, catch_up="all"), cluster.integration(sandbox, "acct-2")
    three = [cluster.scheduler(import_every="1s") for _ in range(3)]
    (leader,) = wait_until(lambda: [s for s in three if leads(s)], 10 * SLOWER, "one to lead")
    others = [s for s in three if s is not leader]
    wait_until(lambda: len(slots(cluster, last)) >= 3, 20 * SLOWER, leader.log_tail)
    leader.signal(signal.SIGSTOP)
    wait_until(lambda: any(leads(s) for s in others), 10 * SLOWER, "another to lead")
    seen = len(slots(cluster, each))
    wait_until(lambda: len(slots(cluster, each)) >= seen + 3, 20 * SLOWER, others[0].log_tail)
    leader.signal(signal.SIGCONT)
    seen = len(slots(cluster, each))
    wait_until(lambda: len(slots(cluster, each)) >= seen + 3, 20 * SLOWER, others[0].log_tail)
    wait_until(lambda: "event=leading_ended" in leader.log_text(), 10 * SLOWER, leader.log_tail)

    # All of them: none is missing, none is there twice.  The first start is the moment it was added.
    _, *grid = slots(cluster, each)
    assert [b - a for a, b in zip(grid, grid[1:])] == [1000] * (len(grid) - 1), grid
    # One stands for those that were missed: on the same grid, none twice.
    made = sorted((slot, payload["args"]["mode"]) for i, slot, payload in queued(cluster) if i == last)  # at one moment: each second has one more
    _, *grid = [slot for slot, _ in made]
    steps = Counter(b - a for a, b in zip(grid, grid[1:]))
    assert max(steps) > 3000 and min(steps) == 1000 and all(step % 1000 == 0 for step in steps), steps
    assert schedule(cluster, last)["missed"] >= max(steps) / 1000 - 1
    modes = Counter(mode for _, mode in made)
    assert modes["full"] == 1 and modes["incremental"] == len(grid), "the first is a full one"


def test_a_start_that_postgres_did_not_hear_of_is_not_made_twice(cluster):
    sandbox = cluster.sandbox(listings=1)
    integration = cluster.integration(sandbox, every="1h")
    scheduler = cluster.make_scheduler().start()
    wait_until(lambda: len(slots(cluster, integration)) == 1, 20 * SLOWER, scheduler.log_tail)
    wait_until(lambda: cluster.one("SELECT last_slot IS NOT NULL FROM import_schedules"), 20 * SLOWER, scheduler.log_tail)
    # What is left where the leader dies between the push and Postgres.
    scheduler.kill9()
    cluster.sql("UPDATE import_schedules SET next_at = last_slot, last_slot = NULL RETURNING 1")
    cluster.make_scheduler().start()
    wait_until(lambda: schedule(cluster, integration)["next_at"] > datetime.now(timezone.utc), 30 * SLOWER, "it to move on")
    assert len(slots(cluster, integration)) == 1


def test_what_redis_lost_is_started_again_and_what_was_done_is_not(cluster):
    sandbox = cluster.sandbox(listings=1, clean=True)
    lost = cluster.integration(sandbox, every="1d")
    scheduler = cluster.make_scheduler().start()
    (slot,) = wait_until(lambda: slots(cluster, lost), 20 * SLOWER, scheduler.log_tail)
    cluster.redis.client.flushall()
    wait_until(lambda: slots(cluster, lost) == [slot], 30 * SLOWER, scheduler.log_tail)
    scheduler.wait_for_log("event=starts_restored of=guesty starts=1", 20 * SLOWER)
    assert queued(cluster)[0][2]["args"]["mode"] == "full"
    cluster.worker()
    wait_until(lambda: cluster.one("SELECT last_success_at FROM integrations"), 30 * SLOWER, cluster.describe)
    cluster.wait_idle(20)
    runs = cluster.one("SELECT count(*) FROM runs")
    cluster.redis.client.flushall()
    wait_until(lambda: cluster.redis.client.hexists("beat:{guesty}", "token"), 30 * SLOWER, scheduler.log_tail)
    wait_until(lambda: schedule(cluster, lost)["next_at"], 30 * SLOWER, scheduler.log_tail)  # who leads anew plans anew
    assert schedule(cluster, lost)["next_at"] > datetime.now(timezone.utc)
    assert cluster.busy() == 0 and cluster.one("SELECT count(*) FROM runs") == runs


def test_pauses_at_three_levels_end_by_themselves_and_owe_one_import(cluster):
    sandbox = cluster.sandbox(listings=1)
    integration = cluster.integration(sandbox)
    for words in (("--scheduling", "--for", "1h"), ("--partner", "guesty"), ("--integration", integration, "--for", "1h")):
        cluster.longshore("pause", *words, "--reason", f"because {words[0]}", "--by", "ada@desk")
    pauses = cluster.status()["pauses"]
    assert [p["level"] for p in pauses] == ["scheduling", "partner", "integration"]
    assert all(p["by"] == "ada@desk" and p["reason"].startswith("because --") for p in pauses)
    assert [bool(p["until"]) for p in pauses] == [True, False, True]
    shown = cluster.longshore("integration", "show", integration, "--json").json()
    assert shown["pause"]["level"] == "integration" and shown["pause"]["reason"] == "because --integration"
    scheduler = cluster.scheduler(import_every="1s")
    wait_until(lambda: schedule(cluster, integration)["next_at"], 20 * SLOWER, scheduler.log_tail)
    assert schedule(cluster, integration)["held_by"] == "integration paused: because --integration"
    for words, held in ((("--integration", integration), "partner paused"), (("--partner", "guesty"), "scheduling paused")):
        cluster.longshore("resume", *words)
        assert schedule(cluster, integration)["held_by"].startswith(held)
    wait_until(lambda: cluster.one("SELECT next_at < now() - interval '3 s' FROM schedules"), 20 * SLOWER, "it to be owed")
    assert queued(cluster) == []
    cluster.longshore("pause", "--scheduling", "--for", "50m")
    assert "@" in cluster.status()["pauses"][0]["by"]
    cluster.longshore("pause", "--scheduling", "--for", "1s")
    scheduler.wait_for_log("event=pause_over of=scheduling", 20 * SLOWER)
    scheduler.wait_for_log(r"event=caught_up of=guesty starts=1 full=1 missed=[1-9]", 20 * SLOWER)
    assert cluster.status()["pauses"] == []
    # One that ends by itself lets its jobs run again too.
    cluster.longshore("integration", "pause", integration, "--for", "1s")
    scheduler.wait_for_log(f"event=pause_over of=guesty integration={integration}", 20 * SLOWER)
    cluster.worker()
    wait_until(lambda: cluster.one("SELECT count(*) FROM resources"), 20 * SLOWER, cluster.describe)


MISUNDERSTOOD = [
    ((), "what?"),
    (("guesty", "--scheduling"), "several are named"),
    (("guesty", "--for", "soon"), "soon"),
    (("guesty", "--until", "2020-01-01"), "2020-01-01 is past"),
    (("guesty", "--for", "1h", "--until", "2099-01-01"), "twice"),
    (("--integration", "seven"), "seven"),
]


def test_a_pause_that_is_misunderstood(cluster):
    for words, said in MISUNDERSTOOD:
        result = cluster.longshore.run("pause", *words)
        assert result.code == 2 and said in result.err, result
    assert cluster.status()["pauses"] == []


def test_when_and_why_then(cluster):
    sandbox = cluster.sandbox(listings=1)
    integration = cluster.integration(sandbox, strategy="incremental", every="30 4 * * *", zone="Asia/Kolkata", full_every="7d")
    scheduler = cluster.scheduler(import_every="auto")
    wait_until(lambda: schedule(cluster, integration)["last_at"], 20 * SLOWER, scheduler.log_tail)
    row = cluster.longshore("integration", "show", integration, "--json").json()["schedule"]
    assert row["strategy"] == "incremental" and row["every"] == "30 4 * * *" and row["full_every"] == "7 days"
    assert row["last_mode"] == "full" and row["next_mode"] == "incremental"
    following = datetime.fromisoformat(row["next_at"]).astimezone(timezone.utc)
    assert (following.hour, following.minute) == (23, 0), "4:30 there, spread over a minute"
    status = cluster.status()["schedule"]
    assert status["due"] == 0 and status["next"]["integration_id"] == integration
    # What is set is heeded within moments, and taken back by `default`.
    cluster.longshore("integration", "set", integration, *(f"--set={s}=default" for s in ("strategy", "every", "zone")))
    wait_until(lambda: schedule(cluster, integration)["every"] == "1h", 20 * SLOWER, scheduler.log_tail)
    assert "until they are registered" in schedule(cluster, integration)["reason"]
    cluster.sql("""UPDATE integrations SET settings = '{"strategy": "daily"}' WHERE id = %s RETURNING 1""", integration)
    wait_until(lambda: schedule(cluster, integration)["strategy"] == "daily", 20 * SLOWER, scheduler.log_tail)
    # By the back door: said, not started, no harm to others.
    other = cluster.integration(sandbox, "acct-2")
    cluster.sql("""UPDATE integrations SET settings = '{"every": "now and then"}' WHERE id = %s RETURNING 1""", integration)
    wait_until(lambda: schedule(cluster, integration)["next_at"] is None, 20 * SLOWER, scheduler.log_tail)
    assert '"now" is no minute' in schedule(cluster, integration)["reason"]
    wait_until(lambda: len(slots(cluster, other)) == 1, 20 * SLOWER, scheduler.log_tail)


def test_sync_now(cluster):
    sandbox = cluster.sandbox(listings=3, clean=True)
    integration = cluster.integration(sandbox)
    cluster.longshore("integration", "pause", integration)
    waits = cluster.longshore("integration", "sync", integration, "--force")
    assert "is paused" in waits.err
    (member,) = cluster.redis.client.zrange("ready:{guesty}:high", 0, -1)
    assert json.loads(member.split(b"\n", 1)[1])["args"] == {"mode": "full", "force": True}
    cluster.longshore("integration", "resume", integration)
    cluster.worker()
    cluster.wait_idle(20)
    done = cluster.longshore("integration", "sync", integration, "--json", "--wait").json()
    assert done["state"] == "done" and done["result"]["processed"] == 3
    modes = [r["mode"] for r in cluster.sql("SELECT mode FROM runs WHERE task = 'import_resources' ORDER BY id")]
    assert modes == ["full", "incremental"], "the first reads everything"
    assert cluster.longshore("integration", "sync", integration, "--full", "--wait", "20s", "--json").json()["state"] == "done"
    assert cluster.longshore.run("integration", "sync", 999).code == 3
