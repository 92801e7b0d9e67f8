"""What changed is kept beside the rows: by whom, and for how long."""

from harness import wait_until
from harness.process import SLOWER


def test_an_import_leaves_its_changes_and_the_leader_keeps_their_months(cluster):
    sandbox = cluster.sandbox(listings=5, reservations=8, clean=True, limits="none")
    integration = cluster.integration(sandbox)
    # The month after next, as it is when time has gone on by one.
    (missing,) = (r["name"] for r in cluster.sql(
        "SELECT max(relname)::text AS name FROM pg_class WHERE relname ~ '^resource_changes_y[0-9]{4}m[0-9]{2}$'"))
    cluster.sql(f"DROP TABLE {missing}")
    scheduler = cluster.scheduler()
    cluster.worker()
    assert cluster.longshore("history", "off", "transactions").code == 0
    cluster.push({"task": "import_resources", "integration_id": integration})
    wait_until(lambda: cluster.one("SELECT count(*) FROM runs WHERE task = 'import_transactions' AND state = 'done'") == 1,
               30 * SLOWER, cluster.describe)
    kept = cluster.sql("SELECT c.what, c.source, r.task FROM resource_changes c LEFT JOIN runs r ON r.id = c.run_id")
    assert len(kept) == 5 and all((r["what"], r["source"], r["task"]) == ("added", "full", "import_resources") for r in kept), kept
    assert cluster.one("SELECT count(*) FROM resource_at(%s, (SELECT max(external_id) FROM resources), now())", integration) == 1
    wait_until(lambda: cluster.one("SELECT to_regclass(%s) IS NOT NULL", missing), 15 * SLOWER, scheduler.log_tail)
