"""A partner's queue is confirmed once what it held is stored: who dies in between gets the same items again, with no harm."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness import wait_until
from harness.process import SLOWER

MANIFEST = {
    "partner": "feed", "manifest": 1,
    "api": {"base": {"production": "http://127.0.0.1:1"}, "timeout": {"read": "50s"}},
    "pagination": {"kind": "ack_queue", "limit_param": "limit", "size": 3, "ack": {"post": "/news/done", "json": {"ids": "{ids}"}}},
    "collections": {"news": {"get": "/news", "records": "news", "id": "id", "table": "resources",
                             "map": {"name": {"path": "name", "required": True}}}},
}


class Feed:
    """Seven items, one of them no row.  The first acknowledgement gets no answer."""

    def __init__(self):
        self.items = [{"id": n, "name": None if n == 2 else f"item {n}"} for n in range(7)]
        self.reads, self.asked, self.over = [], threading.Event(), threading.Event()
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self, what):
                body = json.dumps(what).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                page = feed.items[:3]
                feed.reads.append([item["id"] for item in page])
                self.reply({"news": page})

            def do_POST(self):
                done = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["ids"]
                if not feed.asked.is_set():  # the first one gets no answer, and confirms nothing
                    feed.asked.set()
                    feed.over.wait(50)
                    return
                feed.items = [item for item in feed.items if str(item["id"]) not in done]
                self.reply({})

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def feed(cluster, tmp_path):
    folder = tmp_path / "drivers" / "feed"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    cluster.add_drivers(folder.parent)
    feed = Feed()
    yield feed
    feed.over.set()
    feed.server.shutdown()


def test_who_dies_before_the_acknowledgement_gets_the_same_items_again(cluster, feed):
    integration = cluster.integration(feed, partner="feed", base="")
    cluster.scheduler()
    worker = cluster.worker()
    cluster.push({"task": "import_resources", "integration_id": integration}, "queue:{feed}")
    assert feed.asked.wait(20 * SLOWER), cluster.describe()
    # Stored, what is no row too, before the partner is told.
    stored = {r["external_id"] for r in cluster.sql("SELECT external_id FROM resources")}
    assert stored == {"0", "1"} and cluster.one("SELECT count(*) FROM rejected_items") == 1
    worker.kill9_child()
    wait_until(lambda: feed.reads[-1] == [] and cluster.busy(("feed", "longshore")) == 0, 45, cluster.describe, 0.1)
    assert feed.reads[:2] == [[0, 1, 2], [0, 1, 2]] and feed.reads[2:] == [[3, 4, 5], [6], []], feed.reads
    rows = {r["external_id"]: r["version"] for r in cluster.sql("SELECT external_id, version FROM resources")}
    assert rows == {str(n): 1 for n in (0, 1, 3, 4, 5, 6)}, "what came again was not changed"
    assert cluster.one("SELECT count(*) FROM rejected_items") == 1
    (run,) = cluster.sql("SELECT state FROM runs")
    assert run["state"] == "done"
