"""A partner as small as can be: one list, read by offset, in this very process.  What it gives may be spoilt page by page."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Shelf:
    """items: id -> item.  total False: the list does not say how many there are."""

    def __init__(self, items=(), total=True):
        self.items = {str(i): {"id": str(i), "name": f"item {i}"} for i in items}
        self.total, self.asked, self.spoil = total, [], None
        shelf = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                status, answer = shelf.answer(self.path)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked was killed
                    self.wfile.write(body)

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path):
        at = urlsplit(path)
        query = {k: v[0] for k, v in parse_qs(at.query).items()}
        self.asked.append(path)
        if self.spoil and (spoilt := self.spoil(query)):
            return spoilt
        if at.path.endswith("/photos"):
            return 200, {"photos": []}
        ids = sorted(self.items, key=lambda i: (len(i), i))
        skip, limit = int(query.get("skip", 0)), int(query.get("limit", 100))
        answer = {"items": [self.items[i] for i in ids[skip:skip + limit]]}
        if self.total:
            answer["total"] = len(ids)
        return 200, answer

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def shelf_manifest(size=1000, photos=None, **more):
    """`more` goes into the collection; `photos`, of each item that changed, are a collection of their own."""
    paging = {"kind": "offset", "offset_param": "skip", "limit_param": "limit", "size": size, "total": "total"}
    collection = {"get": "/items", "records": "items", "id": "id", "table": "resources", "deletes": "full_scan",
                  "map": {"kind": {"const": "item"}, "name": {"path": "name", "required": True}}}
    return {"partner": "shelf", "manifest": 1, "api": {"base": {"production": "http://127.0.0.1:1"}}, "pagination": paging,
            "collections": {"items": {**collection, **more}, **({"photos": photos} if photos else {})}}


def add_shelf(cluster, folder, manifest):
    """Makes the partner known."""
    home = folder / "drivers" / "shelf"
    home.mkdir(parents=True)
    (home / "manifest.json").write_text(json.dumps(manifest))
    cluster.add_drivers(home.parent)
