"""How soon a raw push is picked up by an idle pool, and what an idle worker costs Redis."""

import statistics
import threading
import time

import redis
from harness import wait_until
from harness.process import SLOWER


class Echo:
    """A bare client that waits for a push and answers it: what being woken costs on this machine, now."""

    def __init__(self, port):
        self.redis, self.client = redis.Redis(port=port), redis.Redis(port=port)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.redis.blpop("echo")[1] != b"end":
            self.redis.lpush("echoed", "")

    def round_ms(self):
        began = time.perf_counter()
        self.client.lpush("echo", "")
        self.client.blpop("echoed")
        return (time.perf_counter() - began) * 1000

    def close(self):
        self.client.lpush("echo", "end")
        self.thread.join(20)


def test_a_raw_push_is_picked_up_within_20_ms(cluster):
    cluster.worker().wait_for_log("event=started")
    cluster.push({"task": "noop"})
    cluster.wait_idle(20)
    client, took, bare, echo = cluster.redis.client, [], [], Echo(cluster.redis.port)
    for _ in range(50):
        bare.append(echo.round_ms())
        idle_at = time.monotonic() + 0.1  # the worker has armed its doorbell and sleeps
        wait_until(lambda: time.monotonic() > idle_at and not cluster.busy(), 10, "an idle pool", 0.005)
        began = time.perf_counter()
        client.lpush("queue:{guesty}", '{"task":"noop"}')
        while cluster.busy():  # pushed, admitted, claimed and done: more than the pick-up
            assert time.perf_counter() - began < 30, cluster.describe()
        took.append((time.perf_counter() - began) * 1000)
    print(f"pushed to done: median {statistics.median(took):.2f} ms, worst {max(took):.2f} ms")
    echo.close()
    # The bench has the median; here other tests take the cores, and what must be seen is that nobody waits for a poll.
    quarter = len(took) // 4
    assert sorted(took)[quarter] < 20 * SLOWER + 5 * sorted(bare)[quarter], (sorted(took), sorted(bare))
    assert max(took) < 2500 * SLOWER + 5 * max(bare), "even the safety poll is quicker"


def test_an_idle_worker_leaves_redis_alone(cluster):
    worker = cluster.worker()
    worker.wait_for_log("event=started")
    cluster.push({"task": "noop"})
    cluster.wait_idle(20)
    settled = time.monotonic() + 2
    wait_until(lambda: time.monotonic() > settled, 5, every=0.1)
    before, began = cluster.redis.commands(), time.monotonic()
    until = began + 5
    wait_until(lambda: time.monotonic() > until, 10, every=0.5)
    after, seconds = cluster.redis.commands(), time.monotonic() - began
    spent = {name: calls - before.get(name, 0) for name, calls in after.items() if calls != before.get(name, 0)}
    rate = sum(spent.values()) / seconds
    print(f"idle: {rate:.1f} commands a second: {spent}")
    assert rate < 10, spent
    assert worker.is_running()
