"""Q12, Q1: one customer's flood holds up no other customer, one partner's no other partner."""

import json
import re
import time

from harness import wait_until
from harness.process import SLOWER

FLOOD, FEW = 20000, 10


def test_ten_jobs_are_not_behind_twenty_thousand(cluster):
    sandbox = cluster.sandbox()
    big, small = (cluster.integration(sandbox, account=f"acct-{n}") for n in (1, 2))
    client = cluster.redis.client
    flood = json.dumps({"task": "noop", "integration_id": big})
    for _ in range(FLOOD // 1000):
        client.lpush("queue:{guesty}", *[flood] * 1000)
    for n in range(FEW):
        cluster.push({"task": "noop", "id": f"few-{n}", "integration_id": small})
    worker = cluster.worker(concurrency=100)
    wait_until(lambda: worker.log_text().count(" job=few-") >= FEW, 50, cluster.describe, 0.1)
    ended = re.findall(r"event=job_done.* integration=(\d+)", worker.log_text())
    before = len(ended) - 1 - ended[::-1].index(str(small))
    print(f"the last of {FEW} was done after {before - FEW + 1} of {FLOOD}")
    assert before < 1000 + FEW


def test_a_busy_partner_slows_no_other_ones_pickup(cluster):
    worker = cluster.crash_worker(concurrency=20)
    worker.wait_for_log("event=started")
    client = cluster.redis.client
    wait = json.dumps({"task": "wait", "args": {"ms": 200}})
    for _ in range(10):
        client.lpush("queue:{guesty}", *[wait] * 1000)  # a hundred seconds' work
    wait_until(lambda: client.hlen("flight:{guesty}") >= 10, 20, worker.log_tail)
    took = []
    for _ in range(20):
        began = time.monotonic()
        cluster.push({"task": "noop"}, "queue:{longshore}")
        wait_until(lambda: not cluster.busy(("longshore",)), 20, worker.log_tail, 0.002)
        took.append(time.monotonic() - began)
    print(f"pushed to done beside a busy partner: worst {max(took) * 1000:.0f} ms")
    assert cluster.busy(("guesty",)) > 20, "it was busy all the time"
    assert sorted(took)[10] < SLOWER, sorted(took)  # of half of them: what comes late once was held up by the machine
