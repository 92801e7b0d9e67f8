"""A sample of the walk over every step (failpoints.py), and that no program which is installed can be told to die.

The steps that once broke a promise are always in it; the others are drawn by LONGSHORE_SEED."""

import json
import os
import random

import pytest

from failpoints import FAIL_BIN, Point, Walk
from harness import Cluster
from harness.process import BIN, SANITIZED

PROGRAMS = ("longshore", "longshore-worker", "longshore-scheduler", "longshore-sandbox")
# What had all but settled was taken for superseded by its own run, and its children were lost; what was set aside twice.
ONCE_BROKEN = [("worker", "redis settle", "before"), ("worker", "redis settle", "before"), ("worker", "pg insert runs", "after"), ("worker", "pg insert checkpoints", "before"),
               ("worker", "redis enqueue", "after"), ("worker", "redis LREM outbox", "before"), ("supervisor", "redis reap", "after")]


def the_ledger_can_say_no(lane):
    """Each kind of wrong that is planted now must be found."""
    wrong, _ = lane.run()
    assert not wrong, wrong
    cluster, client = lane.cluster, lane.cluster.redis.client
    client.zpopmin("dead:{guesty}")
    client.hset("busy:{guesty}", 1, 3)
    client.set("stray:{guesty}", 1)
    cluster.sql("UPDATE resources SET version = 2 WHERE external_id = (SELECT min(external_id) FROM resources)")
    cluster.sql("DELETE FROM media WHERE external_id = (SELECT min(external_id) FROM media)")
    cluster.sql("DELETE FROM runs WHERE task = 'import_transactions'")
    cluster.sql("UPDATE runs SET state = 'running' WHERE task = 'import_company_resources'")
    cluster.sql("DELETE FROM outbound_requests WHERE action = 'receipt'")
    (ticket,) = [t for t in lane.partners.books("tickets") if t["title"] == f"Walk {lane.runs}"]
    lane.sandbox.control("POST", "/books", {"kind": "tickets", "id": ticket["id"], "fields": {"title": "lost"}})
    with open(lane.mail.journal, "a") as journal:
        journal.write(json.dumps(lane.mail.log("taken")[-1]) + "\n")
    lane.wanted["never"] = "job_done"
    found = "\n".join(lane.ledger())
    for words in ("dead letters in Redis", "stray:{guesty} is not in common/README.md", "busy:{guesty} is left over", "version 2",
                  "photos of", "a child was lost", "never ended as []", "doctor: busy", "stays running",
                  "('stripe', 'charge', 'done', None)", "0 tickets in the partner's books", "2 messages by smtp"):
        assert words in found, f"the ledger did not find: {words}\n{found}"


@pytest.mark.skipif(SANITIZED, reason="the walk has a build of its own")
@pytest.mark.timeout(180)
def test_nothing_is_lost_or_doubled_wherever_a_process_dies(postgres, migrated, tmp_path):
    assert (FAIL_BIN / "longshore-worker").exists(), f"{FAIL_BIN} is not built: make FAIL=1"
    seed = int(os.environ.get("LONGSHORE_SEED") or random.SystemRandom().randrange(1 << 31))
    databases = [postgres.create_database(template=migrated) for _ in range(2)]
    clusters = []
    try:
        for n, database in enumerate(databases):
            (tmp_path / f"lane{n}").mkdir()
            clusters.append(Cluster(tmp_path / f"lane{n}", postgres, database))
        walk = Walk(clusters, seed)
        walk.prepare()
        steps = walk.learn()
        walk.random.shuffle(steps)
        first = []
        for wanted in ONCE_BROKEN:
            found = [s for s in steps if tuple(s[0][:3]) == wanted and s not in first]
            assert found, f"{wanted} is met no more"
            first.append(found[0])
        walked = walk.walk([s for s in steps if s not in first] + first, seconds=16, at_least=10)  # from the end
        walk.verdict(seed)
        the_ledger_can_say_no(walk.lanes[0])
    finally:
        problems = [p for cluster in clusters for p in cluster.close()]
        for database in databases:
            postgres.drop_database(database)
    assert not walk.wrong, f"LONGSHORE_SEED={seed} tries it again:\n" + "\n".join(walk.wrong)
    assert len(walked) >= 8 and sum(row[0] for row in walk.table.values()) >= 7, "it was a walk"
    assert not problems, problems


def test_no_program_that_is_installed_can_be_told_to_die():
    for program in PROGRAMS:
        assert b"LONGSHORE_FAILPOINT" not in (BIN / program).read_bytes(), program
