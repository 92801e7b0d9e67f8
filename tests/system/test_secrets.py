"""Secrets: a new key while workers run, new credentials while jobs call, and nothing of either where people look."""

import base64
import json
import re
import secrets
import signal
import subprocess

import pytest

from harness import wait_until
from harness.process import SLOWER


def line(name):
    return name + " " + base64.b64encode(secrets.token_bytes(32)).decode() + "\n"


def import_list(cluster, worker, integration, job):
    """What any account has: a worker may go by the credentials before for 5 s."""
    cluster.push({"task": "import_transactions", "id": job, "integration_id": integration})
    worker.wait_for_log(rf"event=job_done job={job}\b", 20 * SLOWER)


def import_one(cluster, worker, sandbox, integration, job):
    item = next(i["id"] for i in sandbox.items("listing") if not i["awkward"])
    cluster.push({"task": "import_resource", "id": job, "integration_id": integration, "args": {"external_id": item}})
    worker.wait_for_log(rf"event=job_done job={job}\b", 20 * SLOWER)


def with_keys(cluster, worker, text, n):
    """Another key file, and a HUP; the n-th start."""
    cluster.key_file.write_text(text)
    worker.signal(signal.SIGHUP)
    wait_until(lambda: len(re.findall("event=started", worker.log_text())) == n, 20 * SLOWER, cluster.describe)


@pytest.mark.timeout(60 * SLOWER)
def test_a_new_key_while_workers_run(cluster):
    sandbox = cluster.sandbox()
    integration = cluster.integration(sandbox)
    old = cluster.key_file.read_text()
    new = line("fresh")
    worker = cluster.worker()
    import_one(cluster, worker, sandbox, integration, "before")
    rotate = ("secret", "rotate-key")

    cluster.key_file.write_text(new + old)
    refused = cluster.longshore.run(*rotate)
    assert refused.code == 1 and "HUP" in refused.err and cluster.one("SELECT left(sealed, 8) FROM credentials") == "v1.test."
    with_keys(cluster, worker, new + old, 2)
    wait_until(lambda: cluster.longshore.run("doctor", "--json").json()[-1]["state"] == "warn", 20 * SLOWER, "an old key")

    # A pair of tokens that waits in Redis for Postgres is told of (that it moves is test_auth_grant's).
    waiting = "grant:{guesty}:%d" % integration
    cluster.redis.client.set(waiting, cluster.one("SELECT sealed FROM credentials"), ex=600)
    listed = {(r["place"][:15], r["key"], r["count"], r["state"]) for r in cluster.longshore("secret", "list", "--json").json()}
    assert ("tokens in Redis", "test", 1, "old key") in listed, listed
    cluster.redis.client.delete(waiting)

    two = [cluster.longshore.start(*rotate, "--json") for _ in range(2)]
    done = [json.loads(p.communicate(timeout=20 * SLOWER)[0]) for p in two]
    assert [p.returncode for p in two] == [0, 0]
    assert sum(d["re_encrypted"] for d in done) == 1 and sum(d["tokens_in_redis"] for d in done) == 1
    assert all(d["left"] == 0 for d in done)
    again = cluster.longshore(*rotate, "--json").json()
    assert again["re_encrypted"] == 0 and again["left"] == 0
    assert [(r["key"], r["state"]) for r in cluster.longshore("secret", "list", "--json").json()] == [("fresh", "encrypts")]

    with_keys(cluster, worker, new, 3)  # the old one is gone, and nobody misses it
    import_one(cluster, worker, sandbox, integration, "after")
    assert len(sandbox.log(path="/oauth2/token")) == 1

    # A key that goes without a rotation: what Redis has is missing, not broken; Postgres' own says what to do.
    cluster.key_file.write_text(line("other"))
    worker.signal(signal.SIGHUP)
    wait_until(lambda: len(re.findall("event=started", worker.log_text())) == 4, 20 * SLOWER, cluster.describe)
    cluster.push({"task": "import_resource", "id": "keyless", "max_retries": 0, "integration_id": integration,
                  "args": {"external_id": "x"}})
    wait_until(lambda: cluster.dead(), 20 * SLOWER, cluster.describe)
    (letter,) = cluster.dead()
    assert letter["class"] == "internal" and "LONGSHORE_SECRET_KEY_FILE does not have" in letter["error"]
    code = cluster.longshore.run(*rotate)
    assert code.code == 1 and f"integration {integration}" in code.err and "not in the file" in code.err


@pytest.mark.timeout(60 * SLOWER)
def test_new_credentials_while_jobs_call(cluster):
    """Tried, stored, looked at again; whoever dies after the store leaves what was tried."""
    sandbox = cluster.sandbox()
    integration = cluster.integration(sandbox)  # acct-1
    worker = cluster.worker()
    import_one(cluster, worker, sandbox, integration, "before")
    rotate = ("integration", "rotate", integration)

    def credentials(account, secret):
        return json.dumps({"client_id": account, "client_secret": secret})

    bad = cluster.longshore.run(*rotate, "--credentials", "-", "--json", input=credentials("acct-2", "never-let-in"))
    assert bad.code == 1 and bad.json()["result"] == "refused" and bad.json()["in_force"] == "old"
    assert "never-let-in" not in bad.out + bad.err
    assert cluster.one("SELECT rotated_at IS NULL FROM credentials") is True
    assert cluster.longshore("integration", "verify", integration).out == "valid\n"

    dying = cluster.longshore.start(*rotate, "--credentials", "-", stdin=subprocess.PIPE)
    sandbox.settings(latency_ms=1500)
    dying.stdin.write(credentials("acct-2", "secret-2"))
    dying.stdin.close()
    wait_until(lambda: cluster.one("SELECT rotated_at IS NOT NULL FROM credentials"), 20 * SLOWER, "the store")
    dying.kill()
    assert dying.wait() == -9
    dying.stdout.close()
    sandbox.settings(latency_ms=10)
    import_list(cluster, worker, integration, "after")
    assert cluster.longshore("integration", "verify", integration).out == "valid\n"

    back = cluster.longshore(*rotate, "--back", "--json").json()
    assert back == {"result": "rotated", "in_force": "new", "reason": None}
    import_list(cluster, worker, integration, "back")

    # Stored by hand, and killed before the old token is dropped: nobody works on with the old account's, neither after the same
    # command once more nor where nobody gives it.
    token, give = f"token:{{guesty}}:{integration}", ("integration", "resume", integration, "--credentials", "-")
    before = cluster.one("SELECT sealed FROM credentials")
    cluster.redis.client.execute_command("CLIENT", "PAUSE", 60000, "WRITE")
    dying = cluster.longshore.start(*give, stdin=subprocess.PIPE)
    dying.stdin.write(credentials("acct-2", "secret-2"))
    dying.stdin.close()
    wait_until(lambda: cluster.one("SELECT sealed FROM credentials") != before, 20 * SLOWER, "the store")
    dying.kill()
    assert dying.wait() == -9
    dying.stdout.close()
    cluster.redis.client.execute_command("CLIENT", "UNPAUSE")
    cluster.redis.client.set(token, "of acct-1", ex=600)  # whatever became of the command that was under way
    cluster.longshore(*give, input=credentials("acct-2", "secret-2"))
    assert not cluster.redis.client.exists(token)
    cluster.redis.client.set(token, "of acct-2", ex=600)
    cluster.longshore(*give, input=credentials("acct-2", "secret-2"))
    assert cluster.redis.client.exists(token), "of the same account it stays: few are to be had"
    cluster.sql("UPDATE credentials SET changing_since = now() - interval '2 minutes' RETURNING 1")
    scheduler = cluster.scheduler()
    wait_until(lambda: cluster.one("SELECT changing_since IS NULL FROM credentials"), 20 * SLOWER, cluster.describe)
    assert not cluster.redis.client.exists(token)
    scheduler.stop()
    assert sandbox.statuses()[401] == 1, "the refused trial alone"
    assert cluster.dead() == []
    for secret in ("secret-1", "secret-2", "never-let-in"):
        assert secret not in worker.log_text()
