"""Calls of one job beside each other: so many as the manifest says, each once, whatever ends the attempt in between."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness import wait_until
from harness.process import SLOWER

MANIFEST = {
    "partner": "towers", "manifest": 1,
    "api": {"base": {"production": "http://127.0.0.1:1"}, "concurrency": {"integration": 8}},
    "collections": {
        "towers": {"get": "/towers", "id": "id", "table": "resources", "map": {"name": "name"}},
        "halls": {"get": "/halls", "id": "id", "id_prefix": "hall-", "table": "resources", "map": {"name": "name"},
                  "detail": {"get": "/halls/{id}"}, "parallel": 2},
        "rooms": {"get": "/towers/{parent.id}/rooms", "each": "towers", "id": "id", "id_prefix": "room-", "table": "resources",
                  "parallel": 3, "map": {"name": {"path": "name", "required": True}}},
    },
}


class Towers:
    """Answers once as many are asked for at a time as `together`; what is in `refuse` gets that status instead, once."""

    def __init__(self):
        self.together, self.refuse, self.calls = 1, {}, []
        self.heard = threading.Event()  # set: the refusal has been heard, and the others are answered
        self.heard.set()
        self.active = self.most = 0
        self.changed = threading.Condition()
        towers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                words = self.path.split("?")[0].strip("/").split("/")
                with towers.changed:
                    towers.calls.append(self.path)
                    towers.active += 1
                    towers.most = max(towers.most, towers.active)
                    towers.changed.notify_all()
                    towers.changed.wait_for(lambda: towers.most >= towers.together, 20)
                    status, headers = towers.refuse.pop(words[1], (200, {}))
                    towers.active -= 1
                if status == 200:
                    towers.heard.wait(50)
                item = {"id": words[1], "name": f"tower {words[1]}"}
                body = json.dumps([{"id": f"{words[1]}-{n}", "name": f"room {n}"} for n in range(2)] if len(words) > 2 else item).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    pass  # whoever asked has been killed

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def asked(self):
        return sorted(int(path.strip("/").split("/")[1]) for path in self.calls)

    def again(self, together=1):
        self.together, self.calls, self.most = together, [], 0


@pytest.fixture
def towers(cluster, tmp_path):
    folder = tmp_path / "drivers" / "towers"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    cluster.add_drivers(folder.parent)
    towers = Towers()
    yield towers
    towers.heard.set()
    with towers.changed:
        towers.together = 0
        towers.changed.notify_all()
    towers.server.shutdown()


def test_calls_beside_each_other(cluster, towers):
    integration = cluster.integration(towers, partner="towers", base="")
    cluster.scheduler()
    worker = cluster.worker(partners="towers")
    quiet = lambda: cluster.busy(("towers", "longshore")) == 0
    job = lambda **args: cluster.push({"task": args.pop("task", "import_resources"), "integration_id": integration, "args": args}, "queue:{towers}")

    def soon():  # a wait for the limit is over now
        late = cluster.redis.client.zrange("delayed:{towers}", 0, -1)
        if late:
            cluster.redis.client.zadd("delayed:{towers}", {m: 1 for m in late}, xx=True)
        return quiet()

    towers.again(together=3)
    job(collection="rooms", parents=[str(n) for n in range(10)])
    wait_until(lambda: towers.calls and quiet(), 30 * SLOWER, cluster.describe, 0.05)
    assert towers.most == 3 and towers.asked() == list(range(10)), "three at a time, each once"
    run = cluster.sql("SELECT state, processed, added, pages, calls FROM runs")[0]
    assert (run["state"], run["processed"], run["added"], run["pages"], run["calls"]) == ("done", 20, 20, 10, 10)

    towers.again(together=2)
    job(task="import_resource", collection="halls", external_ids=[str(n) for n in range(7)])
    wait_until(lambda: towers.calls and quiet(), 30 * SLOWER, cluster.describe, 0.05)
    assert towers.most == 2 and towers.asked() == list(range(7))

    # The second has to wait for the limit: the attempt ends, and what went on beside it is not asked for again.
    towers.again(together=3)
    towers.refuse = {"1": (429, {"Retry-After": "60"})}
    towers.heard.clear()
    job(collection="rooms", parents=[str(n) for n in range(6)])
    wait_until(lambda: list(cluster.redis.client.scan_iter("limit:{towers}*:hold")), 30 * SLOWER, cluster.describe, 0.05)
    towers.heard.set()
    wait_until(lambda: cluster.redis.client.zcard("delayed:{towers}") == 1 or (towers.calls and quiet()), 30 * SLOWER, cluster.describe, 0.05)
    first = towers.asked()
    assert first == [0, 1, 2], towers.calls
    for key in cluster.redis.client.scan_iter("limit:{towers}*"):
        cluster.redis.client.delete(key)
    worker.stop()
    worker = cluster.worker(partners="towers", grace="100ms")
    wait_until(soon, 30 * SLOWER, cluster.describe, 0.05)
    assert towers.asked() == [0, 1, 1, 2, 3, 4, 5], towers.calls

    # One that is refused is set aside alone; a process that dies repeats what was under way.
    towers.again()
    towers.refuse = {"2": (404, {})}
    job(collection="rooms", parents=[str(n) for n in range(5)])
    wait_until(lambda: towers.calls and quiet(), 30 * SLOWER, cluster.describe, 0.05)
    assert towers.asked() == list(range(5)) and cluster.one("SELECT parent_id FROM rejected_items") == "2"
    towers.again(together=4)
    job(collection="rooms", parents=[str(n) for n in range(20, 26)])
    wait_until(lambda: towers.most == 3, 30 * SLOWER, cluster.describe, 0.05)
    worker.kill9_child()
    with towers.changed:
        towers.together = 0
        towers.changed.notify_all()
    wait_until(quiet, 30 * SLOWER, cluster.describe, 0.05)
    assert set(towers.asked()) == set(range(20, 26))
    assert cluster.one("SELECT count(*) FROM resources WHERE external_id LIKE 'room-2_-%'") == 12
    assert cluster.one("SELECT count(*) FROM dead_letters") == 0
    # Cancelled in the middle: the job goes back, nothing hangs.
    towers.again(together=4)
    job(collection="rooms", parents=["30", "31", "32"])
    wait_until(lambda: towers.most == 3, 30 * SLOWER, cluster.describe, 0.05)
    worker.stop()
    assert "jobs_cancelled" in worker.log_text()
