"""On a Redis Cluster of three nodes, where a script that touches a key of another slot is refused.

The programs speak to one node, so the partner is one whose slot that node owns beside {longshore}'s; the two slots still
differ, and so do those of keys that a script might make up.  Every script of common/queue/lua must have run.
"""

import base64
import hashlib
import re
import subprocess

import pytest
import redis

from harness import Redis, lease_port, wait_until
from harness.partners import by_listing, guesty_as
from harness.process import ROOT, SLOWER
from harness.webhooks import post

SCRIPTS = sorted((ROOT / "common" / "queue" / "lua").glob("*.lua"))


def owns(node, key):
    try:
        node.client.exists(key)
        return True
    except redis.ResponseError as e:  # MOVED
        assert "MOVED" in str(e) or type(e).__name__ == "MovedError", e
        return False


@pytest.fixture
def three_nodes(cluster):
    """The node that owns {longshore}; the fixture's own Redis is put aside for it."""
    nodes = []
    for n in range(3):
        folder = cluster.folder / f"node{n}"
        folder.mkdir()
        nodes.append(cluster.add(Redis(folder, name=f"node{n}", options=(
            "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", lease_port()))).start())
    made = subprocess.run(["redis-cli", "--cluster", "create", *(f"127.0.0.1:{n.port}" for n in nodes), "--cluster-yes"],
                          capture_output=True, text=True, timeout=40)
    assert made.returncode == 0, made.stdout + made.stderr
    for node in nodes:
        wait_until(lambda node=node: re.search(r"cluster_state\W+ok", str(node.client.execute_command("CLUSTER INFO"))),
                   20 * SLOWER, "the cluster")
    (home,) = [n for n in nodes if owns(n, "queue:{longshore}")]
    cluster.redis = home
    cluster.longshore.env = cluster.env()
    return home


@pytest.fixture
def partner(cluster, three_nodes):
    """Guesty by a name whose slot is on the same node; one can ask it for a listing."""
    def asked(manifest):
        manifest["lookups"] = {"listing": {"get": "/listings/{in.id}", "params": {"id": {}}, "ttl": "1h"}}
        manifest["webhooks"]["verify"] = {"scheme": "none", "i_know": True}
        manifest["webhooks"]["events"].pop("listing.removed")

    name = next(f"guesty{n}" for n in range(100) if owns(three_nodes, f"queue:{{guesty{n}}}"))
    folder = cluster.folder / "drivers"
    guesty_as(name, folder, asked)
    cluster.drivers = str(folder)
    cluster.longshore.env = cluster.env()
    return name


@pytest.fixture
def fanned(cluster, three_nodes, partner):
    """One more, whose pages queue jobs."""
    name = next(f"byeach{n}" for n in range(100) if owns(three_nodes, f"queue:{{byeach{n}}}"))
    guesty_as(name, cluster.folder / "drivers", by_listing)
    return name


def have_run(node):
    """Scripts that the node has been given: EVALSHA is tried first, EVAL with the text follows where it must run."""
    shas = [hashlib.sha1(s.read_bytes()).hexdigest() for s in SCRIPTS]
    known = node.client.script_exists(*shas)
    return {s.stem for s, there in zip(SCRIPTS, known) if there}


@pytest.mark.timeout(60 * SLOWER)
def test_every_script_runs_on_a_cluster(cluster, three_nodes, partner, fanned):
    node = three_nodes
    with pytest.raises(redis.ResponseError):  # what a foreign key meets here
        node.client.eval("return redis.call('GET', '{elsewhere}:key')", 1, "queue:{longshore}")
    sandbox = cluster.sandbox(listings=30, reservations=10, clean=True, latency="20ms")
    integration = cluster.integration(sandbox, partner=partner)
    cluster.integration(sandbox, account="acct-2", partner=fanned)  # spawn; its ends go home by the outbox: run
    queue = f"queue:{{{partner}}}"
    # One worker a partner: a doorbell listens in one slot (common/README.md).
    workers = {p: cluster.worker(partners=p) for p in (partner, fanned, "longshore")}
    scheduler = cluster.scheduler(import_every="1s")  # fire, role
    for worker in workers.values():
        worker.wait_for_log("event=started", 20 * SLOWER)
    cluster.longshore("push", "longshore", "import_all_resources")  # enqueue, relay, children
    wait_until(lambda: cluster.one("SELECT count(*) FROM transactions WHERE integration_id = %s", integration) == 10,
               30 * SLOWER, cluster.describe)

    cluster.push({"task": "nonsense", "id": "bad"}, queue)  # settle: dead; then replay
    cluster.push({"task": "noop", "id": "late", "run_at": 1 + 1000 * int(node.client.time()[0] + 2)}, queue)  # promote
    sandbox.fault(match="/v1/listings/", status=429, retry_after=1, times=1)  # hold
    item = sandbox.items("listing")[0]["id"]
    cluster.push({"task": "import_resource", "id": "held", "integration_id": integration, "args": {"external_id": item}}, queue)
    worker = workers[partner]
    for id in ("late", "held"):
        worker.wait_for_log(rf"event=job_done job={id}\b", 20 * SLOWER)
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters"), 20 * SLOWER, cluster.describe)
    (letter,) = cluster.longshore("dead", "list", "--json").json()
    cluster.longshore("dead", "replay", letter["id"])

    node.client.lpush(f"outbox:{{{partner}}}", "nonsense")  # shelve
    wait_until(lambda: cluster.one("SELECT count(*) FROM dead_letters WHERE rule = 'outbox'"), 20 * SLOWER, cluster.describe)

    cluster.longshore("integration", "pause", integration)  # control; its jobs are held: count
    cluster.push({"task": "import_resource", "id": "waits", "integration_id": integration, "args": {"external_id": item}}, queue)
    cluster.push({"task": "noop", "id": "unwanted", "integration_id": integration, "unique": "once"}, queue)
    wait_until(lambda: "count" in have_run(node), 20 * SLOWER, "the count of held jobs")
    wait_until(lambda: cluster.longshore.run("job", "show", "unwanted").code == 0, 20 * SLOWER, "its place in the row")  # row
    wait_until(lambda: cluster.longshore.run("job", "cancel", "unwanted").code == 0, 20 * SLOWER, "its cancelling")  # bury
    cluster.longshore.run("doctor")  # recount, stranded
    cluster.longshore("integration", "resume", integration)  # open
    worker.wait_for_log(r"event=job_done job=waits\b", 20 * SLOWER)
    cluster.push({"task": "noop", "id": "only", "unique": "once"}, queue)  # unique
    worker.wait_for_log(r"event=job_done job=only\b", 20 * SLOWER)

    ask = {"name": "listing", "params": {"id": item}}
    cluster.push({"task": "lookup", "id": "asks", "integration_id": integration, "args": ask}, queue)  # cache_look, cache_put
    worker.wait_for_log(r"event=job_done job=asks\b", 20 * SLOWER)

    host = sandbox.url.split("//")[1]
    cluster.longshore("breaker", "open", partner, host, "--for", "1s")  # breaker_set; breaker_probe and breaker by the job
    cluster.push({"task": "import_resource", "id": "probe", "integration_id": integration, "args": {"external_id": item}}, queue)
    worker.wait_for_log(r"event=job_done job=probe\b", 20 * SLOWER)

    sandbox.settings(latency_ms=3000)
    cluster.push({"task": "import_resource", "id": "reaped", "integration_id": integration, "args": {"external_id": item}}, queue)
    wait_until(lambda: node.client.hlen(f"flight:{{{partner}}}"), 20 * SLOWER, cluster.describe)
    worker.kill9_child()  # reap
    sandbox.settings(latency_ms=10)
    worker.wait_for_log(r"event=job_done job=reaped\b", 30 * SLOWER)

    assert post(scheduler, f"/webhooks/{partner}/{integration}", {"event": "unheard of"}).status_code == 202  # take_in
    cluster.longshore("limit", "show", integration)  # usage
    key = f"new {base64.b64encode(bytes(range(32))).decode()}\n"
    cluster.key_file.write_text(key + cluster.key_file.read_text())
    cluster.longshore("secret", "rotate-key", "--force")  # reseal; the workers have their tokens in memory
    sandbox.term()  # amend: a permit whose call could not be sent goes back
    cluster.push({"task": "import_resource", "id": "refused", "integration_id": integration, "args": {"external_id": item}}, queue)
    wait_until(lambda: "amend" in have_run(node), 20 * SLOWER, cluster.describe)
    node.client.delete(f"control:{{{partner}}}")  # seed: as if all had been lost
    cluster.push({"task": "noop", "id": "restored"}, queue)
    wait_until(lambda: "seed" in have_run(node), 20 * SLOWER, cluster.describe)

    assert {s.stem for s in SCRIPTS} - have_run(node) == set()
    for process in cluster.processes:
        assert not process.log_contains(r"CROSSSLOT|MOVED|non local key|do not hash to the same slot"), process.log_tail()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_a_script_makes_up_no_key(script):
    """What Redis does not refuse: a key that is not declared, within the slot of those that are."""
    code = "\n".join(re.sub(r"--.*", "", line) for line in script.read_text().splitlines())
    keys = re.findall(r"\bp?call\(\s*[^,)]+,\s*([^,)]+)", code)
    made_up = [k for k in keys if ".." in k or k[0] in "'\""]
    assert keys and not made_up, made_up
    assert not re.search(r"['\"][a-z]*:?\{", code), "a hash tag in a string"
