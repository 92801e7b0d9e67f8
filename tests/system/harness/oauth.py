"""A partner that people sign in to: authorization codes with PKCE, devices, refresh tokens that are good for one call."""

import base64
import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OAuthPartner:
    """Access tokens are access-N, refresh tokens refresh-N; only the newest refresh token is taken."""

    def __init__(self):
        self.lock = threading.Lock()
        self.codes = {}  # code: its challenge
        self.newest = 0
        self.calls = []  # forms of the token endpoint
        self.pending = 0  # polls of a device that are told to wait
        self.hold = None  # an event: a refresh is done, and its answer waits for it
        self.held = threading.Event()
        self.listed = 0
        partner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def reply(self, status, value):
                body = json.dumps(value).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # whoever asked is gone

            def do_GET(self):
                partner.listed += 1
                good = self.headers.get("Authorization") == f"Bearer access-{partner.newest}"
                self.reply(200 if good else 401, [{"id": "a1", "name": "Pier 1"}] if good else {"message": "expired"})

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.reply(*partner.post(self.path, {name: values[0] for name, values in form.items()}))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        if self.hold:
            self.hold.set()
        self.server.shutdown()
        self.server.server_close()

    def sign_in(self, address):
        """What a person does at the address that a browser was sent to: the address that the browser is sent back to."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
        assert address.startswith(self.url + "/authorize?"), address
        assert query["response_type"] == "code" and query["code_challenge_method"] == "S256", query
        code = f"code-{len(self.codes) + 1}"
        self.codes[code] = query["code_challenge"]
        return f"{query['redirect_uri']}?{urllib.parse.urlencode({'code': code, 'state': query['state']})}"

    def post(self, path, form):
        if path == "/device":
            return 200, {"device_code": "device-secret-1", "user_code": "WDJB-MJHT", "interval": 1, "expires_in": 600,
                         "verification_uri": f"{self.url}/enter"}
        with self.lock:
            self.calls.append(form)
            answer = getattr(self, form["grant_type"].rsplit(":", 1)[-1])(form)
        if self.hold and form["grant_type"] == "refresh_token":
            self.held.set()
            self.hold.wait(60)
        return answer

    def pair(self):
        self.newest += 1
        return 200, {"access_token": f"access-{self.newest}", "expires_in": 3600, "refresh_token": f"refresh-{self.newest}"}

    def authorization_code(self, form):
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        if self.codes.pop(form["code"], None) != challenge:
            return 400, {"error": "invalid_grant"}
        return self.pair()

    def device_code(self, form):
        if self.pending:
            self.pending -= 1
            return 400, {"error": "authorization_pending"}
        return self.pair()

    def refresh_token(self, form):
        if form["refresh_token"] != f"refresh-{self.newest}":
            return 400, {"error": "invalid_grant", "error_description": "spent already"}
        return self.pair()
