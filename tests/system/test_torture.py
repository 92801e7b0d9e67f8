"""A short torture (torture.py): everything dies around a few hundred jobs, and the ledger must be right."""

import os
import random

import pytest

from harness.keys import documented_keys
from harness.process import SLOWER
from torture import Torture


def the_ledger_can_say_no(torture):
    """Each kind of wrong that is planted now must be found."""
    cluster, client = torture.cluster, torture.cluster.redis.client
    integration = next(iter(torture.accounts.values()))
    for process in torture.workers + torture.schedulers:
        process.stop()  # they would put some of it right
    torture.pushed["never-pushed"] += 1
    client.set("stray:{guesty}", 1)
    client.set("seen:{guesty}:endless", 1)
    client.hset("busy:{guesty}", integration, 3)
    client.hset("flight:{guesty}", mapping={f"nobody:{n}:2:0": "1" for n in range(41)})
    cluster.sql("UPDATE resources SET version = 99 WHERE external_id = (SELECT min(external_id) FROM resources)")
    cluster.sql("UPDATE resources SET name = 'another' WHERE external_id = (SELECT max(external_id) FROM resources)")
    runs = cluster.sql("SELECT r.id FROM runs r JOIN runs p ON p.root_id = r.id AND p.id <> r.id WHERE r.on_done_at IS NOT NULL"
                       " GROUP BY r.id ORDER BY r.id")
    cluster.sql("UPDATE runs SET ended = NULL WHERE id = %s", runs[0]["id"])
    client.hset("run:{longshore}:999999", "job", "")
    torture.ledger()
    client.delete("run:{longshore}:999999")
    client.delete("stray:{guesty}", "seen:{guesty}:endless", "busy:{guesty}", "flight:{guesty}")
    found = "\n".join(torture.wrong)
    for words in ("1 jobs were lost: ['never-pushed']", "stray:{guesty} is not in common/README.md", "seen:{guesty}:endless has no end",
                  f"integration {integration}: busy 3, no lease", "41 in flight, the partner may have 40", "busy nil", "version 99",
                  "'name': ('another'", "flight:{guesty} is left over", f"run {runs[0]['id']} of company-", "run:{longshore}:999999 is left over"):
        assert words in found, f"the ledger did not find: {words}\n{found}"


@pytest.mark.timeout(170 if SLOWER > 1 else 110)
def test_every_promise_is_kept_while_everything_dies(cluster):
    seed = int(os.environ.get("LONGSHORE_SEED") or random.SystemRandom().randrange(1 << 31))
    torture = Torture(cluster, 20, seed, rate=90 // SLOWER, workers=2)
    wrong = torture.run()
    torture.verdict()
    assert not wrong, f"seed {seed} (LONGSHORE_SEED={seed} tries it again):\n" + "\n".join(wrong[:20])
    assert torture.samples > 50 and len(torture.pushed) > 200, "it was a torture"
    the_ledger_can_say_no(torture)


def test_a_key_that_the_readme_does_not_name_would_be_found():
    names = documented_keys()

    def named(key):
        return any(k.pattern.fullmatch(key) for k in names)

    assert named("queue:{guesty}:low") and named("ready:{guesty}:normal") and named("worker:{guesty}:host-1-abc")
    assert not named("queue:{guesty}:lower") and not named("ready:{guesty}") and not named("flight:guesty")
