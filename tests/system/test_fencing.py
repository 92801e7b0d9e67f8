"""Q3: a worker that was stopped, taken for dead and continued can neither finish its job, nor free a slot, nor write a checkpoint."""

import contextlib

from harness import wait_until
from harness.guesty import differences, expected, listing_row
from harness.leases import busy_is_exact
from harness.process import SLOWER

LISTINGS = 300  # three pages


@contextlib.contextmanager
def rows_locked(cluster):
    """No row can be written meanwhile: an import stands between a page's rows and its checkpoint."""
    with contextlib.closing(cluster.postgres.connect(cluster.database)) as connection:
        connection.autocommit = False
        connection.cursor().execute("LOCK TABLE resources IN EXCLUSIVE MODE")
        yield
        connection.rollback()


def waits_for_rows(cluster):
    return cluster.one("SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
                       " WHERE c.relname = 'resources' AND NOT l.granted") > 0


def checkpoint(cluster):
    rows = cluster.sql("SELECT job_id, state, generation, fence, updated_at FROM checkpoints WHERE collection = 'listings'")
    return rows[0] if rows else None


def test_a_stopped_worker_that_comes_back_is_fenced_out(cluster):
    client = cluster.redis.client
    sandbox = cluster.sandbox(listings=LISTINGS, reservations=10, clean=True, latency="20ms")
    integration = cluster.integration(sandbox)
    cluster.scheduler()
    first = cluster.worker()
    first.wait_for_log("event=started")
    with rows_locked(cluster):
        cluster.push({"task": "import_resources", "integration_id": integration, "id": "fenced"})
        wait_until(lambda: waits_for_rows(cluster), 20 * SLOWER, cluster.describe)
        (lease,) = client.hkeys("flight:{guesty}")
        first.pause()  # the supervisor too: nobody sees anything
    # Its rows are written by Postgres now; the next thing it does, once it runs again, is the checkpoint of this page.
    second = cluster.worker()
    wait_until(lambda: not client.hexists("flight:{guesty}", lease), 25 * SLOWER, cluster.describe, 0.1)
    wait_until(lambda: second.log_contains("event=job_done job=fenced"), 25 * SLOWER, cluster.describe)
    cluster.wait_idle(20)
    before = checkpoint(cluster)
    assert before and busy_is_exact(cluster)

    # Another job of the same integration holds a slot when the first comes back: that one must stay taken.
    sandbox.pause()
    cluster.push({"task": "import_transactions", "integration_id": integration, "id": "holds"})
    wait_until(lambda: client.hlen("flight:{guesty}") == 1, 20, cluster.describe)
    since = second.log_size()
    first.resume()
    first.wait_for_log("event=lease_lost", 20 * SLOWER)
    assert first.log_contains("event=job_handed_back job=fenced.*rule=fence.*newer claim"), first.log_tail()
    assert checkpoint(cluster) == before, "not even touched"
    assert client.hget("busy:{guesty}", integration) == b"1" and busy_is_exact(cluster)
    assert not second.log_contains("event=job_done job=holds", since), "its slot was taken all the time"
    sandbox.resume()
    cluster.wait_idle(30)
    assert busy_is_exact(cluster) and client.hlen("flight:{guesty}") == 0 and cluster.dead() == []
    assert not first.log_contains("event=job_done job=fenced")
    rows = cluster.sql("SELECT * FROM resources WHERE integration_id = %s", integration)
    assert not differences(rows, expected(sandbox.items("listing", "acct-1"), listing_row)[0])
