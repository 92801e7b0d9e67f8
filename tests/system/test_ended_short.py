"""A scan that ended short stays incomplete, whoever tells of it: the worker that scanned may have died before the job's end."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from harness import wait_until
from harness.process import SLOWER

COLLECTION = {"id": "id", "table": "resources", "records": "items", "map": {"name": "name"}}
MANIFEST = {
    "partner": "short", "manifest": 1,
    "api": {"base": {"production": "http://127.0.0.1:1"}, "timeout": {"read": "50s"}},
    "pagination": {"kind": "offset", "limit_param": "limit", "offset_param": "skip", "size": 3, "total": "total"},
    "collections": {"homes": {"get": "/homes", "id_prefix": "h-", **COLLECTION}, "rooms": {"get": "/rooms", "id_prefix": "r-", **COLLECTION}},
}


class Partner:
    """Ten homes, of which it gives four; one room, and no answer to the first who asks for it."""

    def __init__(self):
        self.homes_asked, self.rooms_asked, self.over = 0, threading.Event(), threading.Event()
        partner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                at = urlsplit(self.path)
                skip, rooms = int(parse_qs(at.query)["skip"][0]), at.path.endswith("/rooms")
                there, total = (range(1), 1) if rooms else (range(4), 10)
                partner.homes_asked += not rooms
                if rooms and not partner.rooms_asked.is_set():
                    partner.rooms_asked.set()
                    partner.over.wait(50)
                    return
                items = [{"id": n, "name": f"n {n}"} for n in there if skip <= n < skip + 3]
                body = json.dumps({"items": items, "total": total}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def partner(cluster, tmp_path):
    folder = tmp_path / "drivers" / "short"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    cluster.add_drivers(folder.parent)
    partner = Partner()
    yield partner
    partner.over.set()
    partner.server.shutdown()


@pytest.mark.timeout(90 * SLOWER)
def test_another_attempt_does_not_make_it_whole(cluster, partner):
    integration = cluster.integration(partner, partner="short", base="")
    cluster.scheduler()
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{short}")
    assert partner.rooms_asked.wait(20 * SLOWER), cluster.describe()
    asked = partner.homes_asked
    worker.kill9_child()
    wait_until(lambda: cluster.one("SELECT count(*) FROM resources") == 5 and cluster.busy(("short", "longshore")) == 0, 45, cluster.describe, 0.1)
    assert partner.homes_asked == asked, "scanned already, to an end that was too early"
    (run,) = cluster.sql("SELECT state, note FROM runs")
    assert run["state"] == "incomplete" and "total is 10, 4 were seen" in run["note"], run
    assert cluster.one(f"SELECT last_success_at IS NULL FROM integrations WHERE id = {integration}")
