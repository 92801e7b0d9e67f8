"""Failures made on purpose: an import of which a tenth of the calls fail ends complete; production has none of them."""

import json
import time

from harness import wait_until
from harness.guesty import differences, expected, listing_row
from harness.process import SLOWER


def add(cluster, sandbox, environment, chaos):
    company = next((c["id"] for c in cluster.sql("SELECT id FROM companies")), None) or cluster.company()
    words = ["integration", "add", "--company", company, "--partner", "guesty", "--base-url", sandbox.url + "/v1",
             "--environment", environment, "--set", f"chaos={chaos}", "--credentials", "-"]
    return cluster.longshore.run(*words, input=json.dumps({"client_id": "acct-1", "client_secret": "secret-1"}))


def test_an_import_under_chaos_ends_complete(cluster):
    sandbox = cluster.sandbox(listings=1500, clean=True, limits="none", latency="1ms")
    integration = int(add(cluster, sandbox, "sandbox", 0.1).out.split()[-1])
    cluster.scheduler()
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration, "id": "chaos"})

    def is_over():  # what failed is tried again now, not in half a minute; what came garbled twice is replayed as a person would
        client, now = cluster.redis.client, time.time() * 1000
        late = client.zrangebyscore("delayed:{guesty}", now + 1500, "+inf")
        if late:
            client.zadd("delayed:{guesty}", {m: now for m in late}, xx=True)
        over = cluster.busy() == 0  # before the letters: what dies after this look is seen by the next
        letters = cluster.dead()
        if letters:
            assert all("x-longshore-chaos" in json.dumps(letter) for letter in letters), letters
            cluster.longshore("dead", "replay", "--partner", "guesty")
        return over and not letters

    wait_until(is_over, 50, cluster.describe, 0.2)
    rows = cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)
    assert not differences(rows, expected(sandbox.items("listing"), listing_row)[0])
    states = {r["state"] for r in cluster.sql("SELECT state FROM runs WHERE task = 'import_resources'")}
    assert "done" in states, states
    calls = len(sandbox.log(path="/v1/"))
    print(f"{worker.log_text().count('event=chaos')} of some {calls} calls failed on purpose")


def test_production_has_none(cluster):
    sandbox = cluster.sandbox(listings=1, clean=True, limits="none", latency="1ms")
    integration = cluster.integration(sandbox)
    refused = add(cluster, sandbox, "production", 0.1)
    assert refused.code == 2 and "not in production" in refused.err
    refused = cluster.longshore.run("integration", "set", str(integration), "--set", "chaos=0.1")
    assert refused.code == 2 and "not in production" in refused.err
    refused = cluster.longshore.run("integration", "set", str(integration), "--set", "adapter=2")
    assert refused.code == 2 and "does not have it" in refused.err
    staging = add(cluster, sandbox, "sandbox", 0.1).out.split()[-1]
    cluster.longshore("integration", "set", staging, "--set", "chaos=0.5", "--set", "adapter=1")
    assert cluster.one("SELECT settings FROM integrations WHERE id = %s", int(staging)) == {"chaos": "0.5", "adapter": "1"}
    for wrong in ("0", "1.5", "many"):
        assert "a share of the calls" in add(cluster, sandbox, "sandbox", wrong).err
