"""errors[].action of a manifest, end to end: what becomes of the job, its items, its place in the list, its integration."""

import pytest

from harness import wait_until
from harness.partners import guesty_as
from harness.process import SLOWER


def with_actions(manifest):
    manifest["errors"] = [
        {"status": 410, "class": "client", "action": "skip"},
        {"status": 409, "class": "client", "action": "set_aside"},
        {"status": 416, "class": "client", "action": "reset_paging"},
        {"status": 423, "class": "rate_limit", "action": "suspend_partner"},
    ] + manifest.get("errors", [])


@pytest.mark.timeout(60 * SLOWER)
def test_actions(cluster, tmp_path):
    guesty_as("actor", tmp_path, with_actions)
    cluster.add_drivers(tmp_path)
    sandbox = cluster.sandbox(listings=250, clean=True, limits="none")
    integration = cluster.integration(sandbox, partner="actor")
    worker = cluster.worker(partners="actor")
    cluster.scheduler()
    queue = "queue:{actor}"

    def item(id, status):
        sandbox.fault(match="/v1/listings/", status=status, times=1)
        cluster.push({"task": "import_resource", "id": id, "integration_id": integration, "args": {"external_id": "some-id"}}, queue)

    item("skipped", 410)
    worker.wait_for_log(r"event=job_done job=skipped\b", 20 * SLOWER)
    assert cluster.one("SELECT count(*) FROM rejected_items") == 0 and worker.log_contains(r'event=answer_skipped.* rule=.?errors\[0\]')
    item("aside", 409)
    worker.wait_for_log(r"event=job_done job=aside\b", 20 * SLOWER)
    assert cluster.sql("SELECT external_id, collection FROM rejected_items") == [{"external_id": "some-id", "collection": "listings"}]

    # The second page's cursor is gone: from the first page once more, and every item is there in the end.
    sandbox.fault(match="skip=100", status=416, times=1)
    cluster.push({"task": "import_resources", "id": "again", "integration_id": integration}, queue)
    worker.wait_for_log(r"event=paging_reset", 20 * SLOWER)
    # It is tried again by itself some time within the minute: now, unless it is done already.
    wait_until(lambda: cluster.longshore.run("job", "retry", "again").code == 0 or worker.log_contains(r"event=job_done job=again\b"), 20 * SLOWER,
               cluster.describe)
    worker.wait_for_log(r"event=job_done job=again\b", 20 * SLOWER)
    assert cluster.one("SELECT count(*) FROM resources") == 250
    pages = [e["path"] for e in sandbox.log(path="/v1/listings?")]
    assert len([p for p in pages if "skip=0&" in p or p.endswith("skip=0")]) == 2, pages

    # Locked out: paused until a person says so, and the job is not harmed.
    item("locked", 423)
    wait_until(lambda: cluster.sql("SELECT 1 FROM alerts WHERE kind = 'suspended' AND state = 'open'"), 20 * SLOWER, cluster.describe)
    assert cluster.longshore("integration", "show", integration, "--json").json()["status"] == "paused"
    wait_until(lambda: cluster.redis.client.hget("control:{actor}", integration) == b"0", 20 * SLOWER, "the pause in Redis, where it comes a moment later")
    sandbox.clear_faults()
    seen = len(sandbox.log())
    cluster.push({"task": "import_resource", "id": "waits", "integration_id": integration,
                  "args": {"external_id": sandbox.items("listing")[0]["id"]}}, queue)
    wait_until(lambda: cluster.queue("actor")["held"] >= 1, 20 * SLOWER, lambda: str(cluster.status()))
    assert len(sandbox.log()) == seen, "nobody calls a partner that has locked us out"
    cluster.longshore("integration", "resume", integration)
    assert cluster.one("SELECT state FROM alerts WHERE kind = 'suspended'") == "resolved"
    assert cluster.longshore("integration", "show", integration, "--json").json()["status"] == "active"
