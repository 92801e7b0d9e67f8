"""The operator's command: what it prints, what it writes, and how it fails: one clear line and the right exit code."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import Longshore, lease_port
from harness.process import BIN, ROOT

CREDENTIALS = json.dumps({"client_id": "acct-1", "client_secret": "a-very-secret-secret"})
ADD = ("integration", "add", "--company", "Acme", "--partner", "guesty")


@pytest.fixture(autouse=True)
def leaks(monkeypatch):
    monkeypatch.setattr(Longshore, "leaks", True)


@pytest.fixture
def acme(cluster):
    cluster.longshore("company", "add", "Acme")
    return cluster


def add(cluster, *words):
    return int(cluster.longshore(*ADD, *words, "--credentials", "-", input=CREDENTIALS).out)


def errors(result):
    """The lines on stderr, without the one that AddressSanitizer greets coroutines with."""
    return [line for line in result.err.splitlines() if "ASan doesn't fully support" not in line]


def refused(result, code, *texts):
    """One line on stderr, nothing on stdout."""
    assert result.code == code, repr(result)
    assert len(errors(result)) == 1 and errors(result)[0].startswith("longshore: "), repr(result)
    assert result.out == "", repr(result)
    for text in texts:
        assert text in result.err, repr(result)


# ---- help and mistakes ----

def test_help_and_version(cluster):
    assert "integration add" in cluster.longshore("--help").out
    assert "--credentials" in cluster.longshore("integration", "add", "--help").out
    listed = cluster.longshore("integration", "--help").out
    assert "integration show" in listed and "company add" not in listed
    assert cluster.longshore("--version").out.startswith("longshore ")
    for words in (["--help"], ["driver", "list", "--json"], ["status"]):  # `| head`: an end as of any tool; a full disk: said
        read, write = os.pipe()
        os.close(read)
        gone, full = ended_on(cluster.longshore, words, write), ended_on(cluster.longshore, words, os.open("/dev/full", os.O_WRONLY))
        assert (gone.returncode, gone.stderr) == (-signal.SIGPIPE, ""), words
        assert full.returncode == 1 and "writing the result failed: No space left on device" in full.stderr, words


def ended_on(longshore, words, stdout):
    with os.fdopen(stdout, "w") as out:
        return subprocess.run([BIN / "longshore", *words], stdout=out, stderr=subprocess.PIPE, text=True, cwd=longshore.folder, env=longshore.env, timeout=50)


MISTAKES = [
    ((), 2, "which command"),
    (("statsu",), 2, "did you mean status?"),
    (("integration",), 2, "integration what"),
    (("integration", "ad"), 2, "did you mean integration add?"),
    (("status", "--jsn"), 2, "--jsn"),
    (("status", "more"), 2, "more"),
    (("company", "add"), 2, "NAME"),
    (("company", "add", "42"), 2, "number"),
    (("integration", "show", "x"), 2, "\"x\""),
    (("integration", "show", "99"), 3, "99"),
    (("integration", "pause", "99"), 3, "99"),
    (("integration", "list", "--company", "Nobody"), 3, "Nobody"),
    (("push", "gusty", "noop"), 3, "did you mean guesty?"),
    (("push", "guesty", "noop", "--lane", "fast"), 2, "fast"),
    (("push", "guesty", "noop", "--args", "{"), 2, "--args"),
    (("push", "guesty", "noop", "--args", "[]"), 2, "object"),
    (("push", "guesty", "noop", "--integration", "99"), 3, "99"),
    (("push", "guesty", "noop", "--run-at", "soon"), 2, "soon"),
    (("pause", "gusty"), 3, "gusty"),
    (("dead", "show", "nothing"), 3, "nothing"),
    (("dead", "replay"), 2, "--class"),
    (("dead", "replay", "--class", "clint"), 2, "clint"),
    (("dead", "discard", "x", "--partner", "guesty"), 2, "not both"),
    (("push", "stripe", "charge_card", '{"card": "4111 1111 1111 1111"}'), 2, "a card number"),
    (("driver", "show", "gusty"), 3, "gusty"),
    (("driver", "check", "./nowhere"), 3, "nowhere"),
    (("driver", "new", "Not-A-Name"), 2, "Not-A-Name"),
    ((*ADD, "--credentials", "nowhere.json"), 2, "nowhere.json"),
    ((*ADD, "--set", "every"), 2, "name=value"),
    ((*ADD, "--set", "evry=15m"), 2, "did you mean every?"),
    ((*ADD, "--set", "every=often"), 2, "often"),
    ((*ADD, "--set", "in_flight=0"), 2, "in_flight"),
    ((*ADD, "--set", "strategy=sometimes"), 2, "sometimes"),
    ((*ADD, "--environment", "staging"), 2, "staging"),
    ((*ADD, "--base-url", "ftp://x"), 2, "ftp://x"),
    (ADD, 2, "client_secret"),
]


def test_mistakes(acme):
    for words, code, text in MISTAKES:
        refused(acme.longshore.run(*words), code, text)
    assert acme.one("SELECT count(*) FROM integrations") == 0


def test_bad_credentials_are_refused_unseen(acme):
    for credentials, text in [("{\"client_id\": \"acct-1", "not JSON"), ("[]", "object"), ('{"client_id": "acct-1"}', "client_secret"),
                              ('{"client_id": "acct-1", "client_secret": ""}', "client_secret"), ("x" * 70000, "larger")]:
        result = acme.longshore.run(*ADD, "--credentials", "-", input=credentials)
        refused(result, 2, text)
        assert "acct-1" not in result.err


# ---- servers and keys that are not there ----

def test_unreachable_servers(cluster):
    port = lease_port()
    refused(cluster.longshore.run("status", "--redis", f"redis://127.0.0.1:{port}"), 4, "Redis", str(port))
    refused(cluster.longshore.run("status", "--database", f"postgresql://127.0.0.1:{port}/x"), 4, "Postgres", str(port))
    refused(cluster.longshore.run("migrate", "--database", f"postgresql://127.0.0.1:{port}/x"), 4, "Postgres", str(port))


def test_a_password_is_no_flag(cluster):
    result = cluster.longshore.run("status", "--redis", "redis://:hunter2hunter2@127.0.0.1")
    refused(result, 2, "LONGSHORE_REDIS_URL")
    assert "hunter2" not in result.err


def test_secret_key(acme, tmp_path):
    readable = tmp_path / "readable.key"
    readable.write_text(acme.key_file.read_text())
    readable.chmod(0o644)
    words = (*ADD, "--credentials", "-")
    for env, text in [
        ({"LONGSHORE_SECRET_KEY_FILE": ""}, "LONGSHORE_SECRET_KEY_FILE"),
        ({"LONGSHORE_SECRET_KEY_FILE": "", "LONGSHORE_SECRET_KEY": "c2hvcnQ="}, "32"),
        ({"LONGSHORE_SECRET_KEY_FILE": str(tmp_path / "none")}, "none"),
        ({"LONGSHORE_SECRET_KEY_FILE": str(readable)}, "readable.key"),
    ]:
        refused(acme.longshore.run(*words, input=CREDENTIALS, env=env), 2, text)
    assert acme.one("SELECT count(*) FROM integrations") == 0


# ---- migrate ----

def test_migrate(cluster, postgres, tmp_path):
    name = postgres.create_database()
    fresh = Longshore(tmp_path, {**cluster.env(), "LONGSHORE_DATABASE_URL": postgres.url(name)})
    try:
        refused(fresh.run("status"), 1, "longshore migrate")
        with ThreadPoolExecutor(5) as pool:
            runs = list(pool.map(lambda _: fresh("migrate", "--json").json(), range(5)))
        files = sorted(p.stem for p in (ROOT / "sql").glob("[0-9]*.sql"))
        assert sorted((m["name"] for run in runs for m in run)) == files, "each once, by whoever was first"
        assert fresh("migrate", "--json").json() == []
        assert fresh("status", "--json").json()["integrations"] == {}
    finally:
        postgres.drop_database(name)


# ---- companies, integrations ----

def test_companies(cluster):
    assert cluster.longshore("company", "add", "Acme & Söhne").out == "1\n"
    refused(cluster.longshore.run("company", "add", "Acme & Söhne"), 1, "Söhne")
    assert cluster.longshore("company", "add", "Other", "--json").json() == {"id": 2}
    assert [c["name"] for c in cluster.longshore("company", "list", "--json").json()] == ["Acme & Söhne", "Other"]
    assert "Acme & Söhne" in cluster.longshore("company", "list").out


def test_integrations(acme):
    one = add(acme, "--set", "every=15m", "--set", "every=30m", "--set", "in_flight=8", "--base-url", "http://127.0.0.1:1/v1")
    two = int(acme.longshore(*ADD[:3], "1", *ADD[4:], "--credentials", "-", input=CREDENTIALS).out)
    shown = acme.longshore("integration", "show", one, "--json").json()
    assert shown["company"] == "Acme" and shown["status"] == "active" and shown["status_reason"] is None
    assert shown["settings"] == {"every": "30m", "in_flight": 8} and shown["base_url"] == "http://127.0.0.1:1/v1"
    assert shown["environment"] == "production" and shown["health"] == "new" and shown["last_success_at"] is None
    assert [i["id"] for i in acme.longshore("integration", "list", "--partner", "guesty", "--json").json()] == [one, two]
    assert acme.longshore("integration", "list", "--status", "paused", "--json").json() == []
    sealed = acme.sql("SELECT sealed FROM credentials")
    assert len(sealed) == 2 and all("secret" not in row["sealed"] for row in sealed)
    refused(acme.longshore.run(*ADD[:3], "Nobody", *ADD[4:], "--credentials", "-", input=CREDENTIALS), 3, "Nobody")


def control(cluster, field, partner="guesty"):
    value = cluster.redis.client.hget(f"control:{{{partner}}}", field)
    return None if value is None else int(value)


def test_pauses_reach_redis(acme):
    one = add(acme, "--set", "in_flight=8")
    assert acme.longshore("integration", "pause", one, "--reason", "moving house").out == "paused\n"
    shown = acme.longshore("integration", "show", one, "--json").json()
    assert (shown["status"], shown["status_reason"]) == ("paused", "moving house")
    assert control(acme, str(one)) == 0 and control(acme, "partner") > 0
    acme.longshore("pause", "guesty", "--reason", "maintenance")
    assert control(acme, "partner") == 0
    assert acme.one("SELECT pause_reason FROM partner_states WHERE partner = 'guesty'") == "maintenance"
    acme.longshore("resume", "guesty")
    assert control(acme, "partner") > 0
    acme.longshore("integration", "resume", one)
    assert control(acme, str(one)) == 8
    assert acme.longshore("integration", "show", one, "--json").json()["status"] == "active"


def test_resume_with_new_credentials(acme):
    one = add(acme)
    acme.sql("UPDATE integrations SET status = 'auth_broken', status_reason = 'invalid_client'")
    acme.sql("INSERT INTO alerts (kind, severity, scope, what, todo) VALUES ('auth_broken', 'critical', %s, 'w', 't')", f"integration:{one}")
    before = acme.one("SELECT sealed FROM credentials")
    refused(acme.longshore.run("integration", "resume", one, "--credentials", "-", input='{"client_id": "x"}'), 2, "client_secret")
    shown = acme.longshore("integration", "show", one, "--json").json()
    assert (shown["status"], shown["health"], shown["why"]) == ("auth_broken", "down", "invalid_client")
    token, other = f"token:{{guesty}}:{one}", CREDENTIALS.replace("acct-1", "acct-2")
    acme.redis.client.set(token, "of acct-1")
    assert acme.longshore("integration", "resume", one, "--credentials", "-", input=CREDENTIALS).out == "active\n"
    assert acme.one("SELECT sealed FROM credentials") != before and acme.redis.client.exists(token)
    acme.longshore("integration", "resume", one, "--credentials", "-", input=other)
    assert not acme.redis.client.exists(token)  # or calls would go on as acct-1 until it ends
    assert acme.one("SELECT state FROM alerts") == "resolved"
    assert acme.longshore("integration", "show", one, "--json").json()["status_reason"] is None


# ---- push, status ----

def test_push_and_status(acme):
    one = add(acme)
    first = acme.longshore("push", "guesty", "import_resources", "--integration", one).out.strip()
    acme.longshore("push", "guesty", "import_media", "--integration", one, "--lane", "low", "--args", '{"a": [1]}')
    later = acme.longshore("push", "guesty", "noop", "--run-at", "1h", "--json").json()["id"]
    acme.push({"task": "noop"}, "queue:{guesty}:high")
    assert first and later and first != later
    status = acme.status()
    assert set(status) == {"queues", "workers", "leader", "integrations", "schedule", "pauses"}
    rows = {row["queue"]: row for row in status["queues"]}
    assert set(rows) >= {f"{p}{lane}" for p in ("guesty", "longshore") for lane in ("", ":high", ":low")}
    for row in rows.values():
        assert set(row) == {"queue", "ready", "delayed", "held", "in_flight", "dead", "oldest_age_s"}
    assert [rows[q]["ready"] for q in ("guesty:high", "guesty", "guesty:low")] == [1, 1, 1]
    assert rows["guesty"]["delayed"] == 1 and status["integrations"] == {"new": 1}
    assert status["workers"] == [] and status["leader"] is None
    assert "guesty:low" in acme.longshore("status").out
    (ready,) = acme.redis.client.zrange("ready:{guesty}:normal", 0, -1)
    header, payload = ready.decode().split("\n", 1)
    assert first in header and json.loads(payload) == {"task": "import_resources", "integration_id": one}
    (low,) = acme.redis.client.zrange("ready:{guesty}:low", 0, -1)
    assert json.loads(low.decode().split("\n", 1)[1])["args"] == {"a": [1]}


def test_push_for_another_partners_integration(acme, tmp_path):
    folder = tmp_path / "drivers" / "otherly"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({
        "partner": "otherly", "manifest": 1, "api": {"base": {"production": "http://127.0.0.1:1"}},
        "collections": {"things": {"get": "/things", "records": "@", "id": "id", "table": "resources", "map": {"name": "name"}}},
    }))
    acme.add_drivers(folder.parent)
    one = add(acme)
    refused(acme.longshore.run("push", "otherly", "import_resources", "--integration", one), 2, "guesty")


# ---- dead letters ----

def letter(name, minutes_ago, **more):
    at = int(time.time() * 1000) - minutes_ago * 60000
    job = {"task": "import_resource", "integration_id": 7, "args": {"external_id": name}}
    return at, json.dumps({"id": name, "queue": "guesty", "lane": "low", "integration_id": 7, "task": "import_resource", "class": "client",
                           "error": "404", "attempts": 1, "failed_at": at, "payload": json.dumps(job), **more})


def bury(cluster, *letters):
    for at, text in letters:
        cluster.redis.client.zadd("dead:{guesty}", {text: at})


def ready(cluster, lane="low"):
    members = cluster.redis.client.zrange(f"ready:{{guesty}}:{lane}", 0, -1)
    return sorted(json.loads(m.decode().split("\n", 1)[1])["args"]["external_id"] for m in members)


def listed(cluster, *words):
    return [row["id"] for row in cluster.longshore("dead", "list", "--json", *words).json()]


def test_dead_letters_in_redis(cluster):
    bury(cluster, letter("a", 1), letter("b", 10, **{"class": "data"}), letter("c", 100, integration_id=8))
    assert listed(cluster) == ["a", "b", "c"]
    assert listed(cluster, "--limit", "2") == ["a", "b"]
    assert listed(cluster, "--class", "data") == ["b"]
    assert listed(cluster, "--integration", "8") == ["c"]
    assert listed(cluster, "--since", "30m") == ["a", "b"]
    assert listed(cluster, "--partner", "longshore") == []
    assert cluster.longshore("dead", "show", "b", "--json").json()["class"] == "data"
    assert cluster.longshore("dead", "replay", "a", "--json").json() == {"replayed": 1}
    assert ready(cluster) == ["a"] and listed(cluster) == ["b", "c"]
    refused(cluster.longshore.run("dead", "replay", "a"), 3, "a")
    assert cluster.longshore("dead", "discard", "b").out == "1\n"
    assert ready(cluster) == ["a"] and listed(cluster) == ["c"] and len(cluster.dead()) == 1
    states = {row["id"]: row["state"] for row in cluster.sql("SELECT id, state FROM dead_letters")}
    assert states == {"a": "replayed", "b": "discarded"}


def test_dead_letters_in_postgres_alone(cluster):
    for at, text in (letter("a", 1), letter("b", 10), letter("c", 20, payload="not JSON")):
        parsed = json.loads(text)
        cluster.sql("INSERT INTO dead_letters (id, partner, integration_id, task, class, failed_at, letter)"
                    " VALUES (%s, 'guesty', 7, %s, %s, to_timestamp(%s / 1000.0), %s)",
                    parsed["id"], parsed["task"], parsed["class"], at, text)
    assert listed(cluster) == ["a", "b", "c"]
    assert cluster.longshore("dead", "replay", "a").out == "1\n"
    assert ready(cluster) == ["a"] and listed(cluster) == ["b", "c"]
    refused(cluster.longshore.run("dead", "replay", "a"), 3, "a")
    assert cluster.longshore("dead", "discard", "--since", "15m").out == "1\n"
    assert listed(cluster) == ["c"] and ready(cluster) == ["a"]
    assert cluster.longshore("dead", "replay", "--partner", "guesty").out == "1\n", "whatever it says, it is queued again"
    assert cluster.redis.client.zcard("ready:{guesty}:low") == 2


def test_a_letter_in_both_is_replayed_once(cluster):
    letters = [letter(f"l{i}", i) for i in range(20)]
    bury(cluster, *letters)
    for at, text in letters[::2]:
        cluster.sql("INSERT INTO dead_letters (id, partner, integration_id, class, failed_at, letter)"
                    " VALUES (%s, 'guesty', 7, 'client', to_timestamp(%s / 1000.0), %s)", json.loads(text)["id"], at, text)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: cluster.longshore("dead", "replay", "--integration", "7").out, range(4)))
    assert sum(map(int, runs)) == 20
    assert ready(cluster) == sorted(json.loads(text)["id"] for _, text in letters)
    assert cluster.dead() == [] and listed(cluster) == []


def test_what_is_no_letter_can_be_discarded(cluster):
    bury(cluster, (int(time.time() * 1000) - 1000, "neither JSON nor a letter"))
    (row,) = cluster.longshore("dead", "list", "--json").json()
    assert "neither JSON" in cluster.longshore("dead", "show", row["id"]).out
    result = cluster.longshore.run("dead", "replay", row["id"])
    refused(result, 2, row["id"])
    assert cluster.longshore("dead", "discard", row["id"]).out == "1\n"
    assert cluster.redis.client.zcard("dead:{guesty}") == 0 and listed(cluster) == []


# ---- drivers ----

def test_drivers(cluster, tmp_path):
    assert "guesty" in [d["partner"] for d in cluster.longshore("driver", "list", "--json").json()]
    assert json.loads(cluster.longshore("driver", "show", "guesty").out)["partner"] == "guesty"
    mine = tmp_path / "mine"
    mine.mkdir()
    dirs = f"{mine}:{cluster.drivers}"
    cluster.longshore("driver", "new", "acme_pms", "--drivers", dirs)
    manifest = mine / "acme_pms" / "manifest.json"
    assert json.loads(manifest.read_text())["partner"] == "acme_pms"
    assert cluster.longshore("driver", "check", mine / "acme_pms", "--json").json()["ok"] is True
    cluster.longshore("driver", "check", "acme_pms", "--drivers", dirs)
    refused(cluster.longshore.run("driver", "new", "acme_pms", "--drivers", dirs), 1, "there already")
    manifest.write_text(manifest.read_text().replace('"limits"', '"limmits"'))
    result = cluster.longshore.run("driver", "check", mine / "acme_pms")
    assert result.code == 1 and "limmits" in result.err and "limits" in result.err and f"{manifest}:" in result.err
    report = cluster.longshore.run("driver", "check", mine / "acme_pms", "--json")
    assert report.code == 1 and report.json()["ok"] is False and any("limmits" in p for p in report.json()["problems"])
    refused(cluster.longshore.run("push", "acme_pms", "noop", "--drivers", dirs), 1, "driver check acme_pms")
    assert os.listdir(mine) == ["acme_pms"]
