"""Any number of schedulers: one leads, another takes over, a slot fires once; HUP reads anew."""

import json
import re
import signal

from harness import wait_until
from harness.process import ROOT, SLOWER


def beats(cluster, schedulers):
    return sum(s.log_text().count("event=beat ") for s in schedulers)


def test_one_leads_and_another_takes_over_within_ten_seconds(cluster):
    sandbox = cluster.sandbox(listings=2, clean=True)
    cluster.integration(sandbox)
    first = cluster.scheduler(import_every="1h")
    wait_until(lambda: "event=leading " in first.log_text(), 10 * SLOWER, "the first to lead")
    second = cluster.scheduler(import_every="1h")
    wait_until(lambda: beats(cluster, [first, second]) == 1, 10 * SLOWER, "the beat")
    assert "event=leading " not in second.log_text()
    first.kill9()
    wait_until(lambda: "event=leading " in second.log_text(), 10 * SLOWER, "the second to lead")
    # The same start is not made again by the new leader: one job was made.
    cluster.worker()
    cluster.wait_idle(20)
    assert cluster.one("SELECT count(*) FROM runs WHERE task = 'import_resources'") == 1


def test_a_leader_that_stops_leaves_at_once(cluster):
    first = cluster.scheduler()
    wait_until(lambda: "event=leading " in first.log_text(), 10 * SLOWER, "the first to lead")
    second = cluster.scheduler()
    (mine,) = re.findall(r"token=\d+", first.log_text().split("event=leading ")[1].split("\n")[0])
    assert first.term() == 0
    role = cluster.redis.client.get("role:{longshore}:scheduler") or b""
    assert not role.startswith(mine.removeprefix("token=").encode()), "the lease is not left to run out"
    wait_until(lambda: "event=leading " in second.log_text(), 3 * SLOWER, "the second to lead")


def test_pages(cluster):
    scheduler = cluster.scheduler()
    assert scheduler.get("/healthz").status_code == 200
    cluster.push({"task": "noop"}, "queue:{longshore}:high")
    wait_until(lambda: 'integration_queue_length{queue_name="longshore:high"} 1' in scheduler.get("/metrics").text,
               10 * SLOWER, "the queue's length in /metrics")
    cluster.worker(partners="guesty")
    wait_until(lambda: "longshore_workers_alive 1" in scheduler.get("/metrics").text, 20 * SLOWER, "a live worker")
    wait_until(lambda: cluster.sql("SELECT * FROM alerts WHERE kind = 'no_worker' AND scope = 'longshore'"), 40 * SLOWER,
               "the alert that nobody serves longshore")
    worker = cluster.worker(partners="longshore")
    wait_until(lambda: cluster.one("SELECT state FROM alerts WHERE kind = 'no_worker'") == "resolved", 20 * SLOWER,
               "the alert to resolve itself")
    assert worker.term() == 0


def test_a_list_that_nobody_serves_is_reported(cluster):
    cluster.push({"task": "noop"}, "queue:{gusty}")
    cluster.scheduler()
    wait_until(lambda: cluster.sql("SELECT * FROM alerts WHERE kind = 'unserved_list'"), 30 * SLOWER, "the alert")
    (alert,) = cluster.sql("SELECT * FROM alerts WHERE kind = 'unserved_list'")
    assert "queue:{gusty}" in alert["what"] and "queue:{guesty}" in alert["what"]


def test_the_alert_of_a_list_that_is_gone_resolves_itself(cluster):
    cluster.push({"task": "noop"}, "queue:{gusty}")
    cluster.push({"task": "noop"}, "queue:{gustavo}")
    first = cluster.scheduler()
    count = "SELECT count(*) FROM alerts WHERE kind = 'unserved_list' AND state = 'open'"
    wait_until(lambda: cluster.one(count) == 2, 30 * SLOWER, "the alerts")
    assert first.term() == 0
    cluster.redis.client.delete("queue:{gusty}")
    # A look confirms what it finds; what was not confirmed for 5 s is gone.  Another scheduler looks at once.
    wait_until(lambda: cluster.one("SELECT now() - max(last_seen) > interval '6 s' FROM alerts"), 20, "the alerts to age")
    cluster.scheduler()
    wait_until(lambda: cluster.one(count) == 1, 20 * SLOWER, lambda: str(cluster.sql("SELECT * FROM alerts")))
    assert cluster.one("SELECT scope FROM alerts WHERE state = 'open'") == "queue:{gustavo}"
    assert cluster.one("SELECT resolved_at IS NOT NULL FROM alerts WHERE scope = 'queue:{gusty}'")


MANIFEST = {"partner": "late", "manifest": 1, "api": {"base": {"production": "http://127.0.0.1:1"}},
            "collections": {"things": {"get": "/things", "records": "@", "id": "id", "table": "resources",
                                       "map": {"name": "name"}}}}


def test_hup_reads_manifests_anew_and_refuses_a_broken_one(cluster, tmp_path):
    folder, settings = tmp_path / "drivers", tmp_path / "settings"
    folder.mkdir()
    settings.write_text("log-format = logfmt\n")
    cluster.add_drivers(folder)
    scheduler, worker = cluster.scheduler(config=settings), cluster.worker(config=settings)
    served = len(list(ROOT.glob("drivers/*/manifest.json")))  # longshore in the place of the template
    worker.wait_for_log(f"event=started.*partners={served}")
    (folder / "late").mkdir()
    manifest = folder / "late" / "manifest.json"
    manifest.write_text(json.dumps({**MANIFEST, "colections": {}}))
    worker.signal(signal.SIGHUP)
    scheduler.signal(signal.SIGHUP)
    where = r"event=reload_refused.*late/manifest\.json:1: colections: unknown key"
    worker.wait_for_log(where, 10 * SLOWER)
    scheduler.wait_for_log(where, 10 * SLOWER)
    manifest.write_text(json.dumps(MANIFEST))
    # Neither do settings and keys end what runs that a new start would not take.
    keys = cluster.key_file.read_text()
    for file, text, right, why in ((settings, "log-level = loud\n", "log-format = logfmt\n", "loud"),
                                   (cluster.key_file, keys + "short AAAA\n", keys, cluster.key_file.name)):
        file.write_text(text)
        for process in (worker, scheduler):
            process.signal(signal.SIGHUP)
            process.wait_for_log(f"event=reload_refused.*{why}.*goes on unchanged", 10 * SLOWER)
            assert process.log_text().count("event=started") == 1
        file.write_text(right)
    worker.signal(signal.SIGHUP)
    scheduler.signal(signal.SIGHUP)
    worker.wait_for_log(f"event=started.*partners={served + 1}", 20 * SLOWER)
    wait_until(lambda: any(q["queue"] == "late" for q in cluster.status()["queues"]), 20 * SLOWER, "the new queue")
    # A process that dies meanwhile is started with what stands there: it waits until that is mended, and the worker with it.
    settings.write_text("log-level = loud\n")
    worker.kill9_child()
    worker.wait_for_log("event=process_died.*code=2", 20 * SLOWER)
    settings.write_text("log-format = logfmt\n")
    wait_until(lambda: worker.log_text().count("event=started") == 3, 40 * SLOWER, worker.log_text)
    scheduler.wait_ready(20 * SLOWER)
