"""What was answered with 202 is done, once, whoever dies; and many who only hold connections open keep nobody out."""

import contextlib
import json
import resource
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import requests

from harness.process import SANITIZED, SLOWER, wait_until
from harness.webhooks import SECRET, event, hooked, mac, post, queued, receiver


def acme(cluster, tmp_path, change=lambda w: None):
    hooked(tmp_path / "drivers", "acme", "github", change)
    cluster.add_drivers(tmp_path / "drivers")
    return f"/webhooks/acme/{receiver(cluster, 'acme', {'webhook_secret': SECRET})}"


def signed(body):
    data = json.dumps(body).encode()
    return data, {"X-Hub-Signature-256": "sha256=" + mac("sha256", SECRET, data).hexdigest()}


class Partner(threading.Thread):
    """Sends its events one after the other, and each again until it is taken in, as partners do."""

    def __init__(self, name, path, ports, events):
        super().__init__(daemon=True)
        self.name, self.path, self.ports, self.events = name, path, ports, events
        self.answers, self.taken = Counter(), []

    def run(self):
        with requests.Session() as session:
            session.trust_env = False
            for n in range(self.events):
                id = f"{self.name}-{n}"
                about = {"id": id, "name": f"the item of {id}"}
                data, headers = signed(event(id, thing=about, at=int(time.time()), text="x" * 500))
                for attempt in range(2000):
                    with contextlib.suppress(requests.RequestException):
                        port = self.ports[(n + attempt) % len(self.ports)]
                        answer = session.post(f"http://127.0.0.1:{port}{self.path}", data=data, timeout=30,
                                              headers={"Content-Type": "application/json", **headers})
                        self.answers[answer.status_code] += 1
                        if answer.status_code == 202:
                            self.taken.append(id)
                            break
                    time.sleep(0.05)


def of_its_own_item(webhooks):
    webhooks["events"]["thing.changed"] = {"collection": "things", "do": "upsert", "id": "thing.id", "item": "thing"}


def test_a_flood_in_which_everything_dies(cluster, tmp_path):
    path = acme(cluster, tmp_path, of_its_own_item)
    first, second = cluster.scheduler(), cluster.scheduler()
    partners = [Partner(f"p{n}", path, [first.port, second.port], 60 if SANITIZED else 150) for n in range(6)]
    for partner in partners:
        partner.start()

    def reached(share):
        have = sum(len(p.taken) for p in partners)
        return have >= share * sum(p.events for p in partners)

    wait_until(lambda: reached(0.2), 30 * SLOWER, "a fifth of them")
    cluster.worker()
    cluster.redis.crash(down_s=0.3)
    wait_until(lambda: reached(0.4), 30 * SLOWER, "two fifths of them")
    first.kill9()
    first.start()
    wait_until(lambda: reached(0.6), 30 * SLOWER, "three fifths of them")
    cluster.redis.restart()
    second.term()  # gracefully, under load
    second.start()
    for partner in partners:
        partner.join(100 * SLOWER)
        assert len(partner.taken) == partner.events, (partner.answers, first.log_tail(5), second.log_tail(5))
    answers = sum((p.answers for p in partners), Counter())
    assert set(answers) <= {202, 503}, answers
    # Each told of an item of its own: what was done twice would be a second change of it.
    accepted = sorted(id for p in partners for id in p.taken)
    wait_until(lambda: cluster.one("SELECT count(*) FROM webhook_events WHERE processed_at IS NOT NULL") == len(accepted),
               30 * SLOWER, cluster.describe)
    cluster.wait_idle(partners=("acme",))
    events = cluster.sql("SELECT event_id, state FROM webhook_events ORDER BY event_id COLLATE \"C\"")
    assert [(e["event_id"], e["state"]) for e in events] == [(id, "done") for id in accepted]
    changes = cluster.sql("SELECT external_id, version, what FROM resource_changes ORDER BY external_id COLLATE \"C\"")
    assert [(c["external_id"], c["version"], c["what"]) for c in changes] == [(id, 1, "added") for id in accepted]
    assert cluster.one("SELECT count(*) FROM resources WHERE version = 1") == len(accepted)
    assert not queued(cluster, "acme") and not cluster.dead()


def is_read(port, client):
    """Whoever listens there has accepted this connection, and taken all that came over it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, queues, _, _, _, _, inode = line.split()[:10]
        if int(here.split(":")[1], 16) == port and int(there.split(":")[1], 16) == client.getsockname()[1]:
            return queues.endswith(":00000000") and inode != "0"
    return False


def test_a_stop_waits_for_what_is_coming_in(cluster, tmp_path):
    path = acme(cluster, tmp_path)
    scheduler = cluster.scheduler()
    data, headers = signed(event("half"))
    head = (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
            f"X-Hub-Signature-256: {headers['X-Hub-Signature-256']}\r\n\r\n").encode()
    with socket.create_connection(("127.0.0.1", scheduler.port), timeout=10) as s, \
            socket.create_connection(("127.0.0.1", scheduler.port), timeout=10) as gone:
        gone.sendall(head)  # and goes, without a word
        s.sendall(head + data[:20])
        wait_until(lambda: is_read(scheduler.port, s) and is_read(scheduler.port, gone), 10 * SLOWER, "both to be read")
        gone.close()
        scheduler.signal(15)
        scheduler.wait_for_log("event=stopping")
        time.sleep(0.3)
        assert scheduler.is_running()
        s.sendall(data[20:])
        answer = s.recv(4096)
    assert b" 202 " in answer and b"Connection: close" in answer
    assert scheduler.wait(20) == 0
    assert [job["args"]["event_id"] for job in queued(cluster, "acme")] == ["half"]


def test_ten_thousand_that_say_nothing(cluster, tmp_path):
    path = acme(cluster, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(1000 if SANITIZED else 10000, hard - 600)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + 600), hard))
    scheduler = cluster.scheduler()
    idle = []
    try:
        for n in range(wanted):
            idle.append(socket.create_connection(("127.0.0.1", scheduler.port), timeout=20))
            if n % 10 == 0:
                idle[-1].sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{{".encode())
        before = time.monotonic()
        for _ in range(20):
            assert post(scheduler, path, *signed(event())).status_code == 202
        assert time.monotonic() - before < 20 * SLOWER
        assert scheduler.get("/readyz").status_code == 200
    finally:
        for s in idle:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
