"""The simulated partners (tests/sandbox) and their control endpoint."""

import contextlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import requests

from .process import BIN, Process


class Sandbox(Process):
    def __init__(self, folder, env=None, name="sandbox", **flags):
        """Flags by name: listings=300, latency="20ms", limits="none", clean=True."""
        argv = [BIN / "longshore-sandbox", "--listen", "127.0.0.1:0"]
        for key, value in flags.items():
            flag = "--" + key.replace("_", "-")
            argv += [flag] if value is True else [flag, value]
        super().__init__(name, argv, folder, env)
        self.session = requests.Session()
        self.session.trust_env = False
        self.url = None

    def start(self):
        since = self.log_size()
        super().start()
        # What takes the times must not be starved by what it times.  Where the kernel shares by sessions, a process' nice counts
        # only within its own.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.pid, -10)
            Path(f"/proc/{self.pid}/autogroup").write_text("-10")
        self.wait_for_log(r"listening on http://127\.0\.0\.1:\d+\n", since=since)
        self.url = re.findall(r"listening on (http://127\.0\.0\.1:\d+)", self.log_text())[-1]
        bench = re.findall(r"bench on (http://127\.0\.0\.1:\d+)", self.log_text())
        self.bench_url = bench[-1] if bench else None
        return self

    def restart(self):
        """Comes back on the same port (the content is the same too: it follows from seed and anchor)."""
        port = self.url.rsplit(":", 1)[1]
        self.argv[self.argv.index("--listen") + 1] = f"127.0.0.1:{port}"
        self.start()

    def stop(self):
        self.session.close()
        super().stop()

    # ---- as a partner's client sees it ----

    def token(self, account="acct-1"):
        answer = self.mint(account)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def mint(self, account="acct-1", secret=None, **more):
        number = account.split("-")[1]
        form = {"grant_type": "client_credentials", "scope": "open-api", "client_id": account,
                "client_secret": secret or f"secret-{number}", **more}
        return self.session.post(f"{self.url}/oauth2/token", data=form, timeout=30)

    def get(self, path, token=None, session=None, **params):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return (session or self.session).get(f"{self.url}{path}", headers=headers, params=params, timeout=30)

    # ---- control ----

    def control(self, method, path, body=None):
        answer = self.session.request(method, f"{self.url}/_control{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer

    def fault(self, **rule):
        self.control("POST", "/faults", rule)

    def clear_faults(self):
        self.control("DELETE", "/faults")

    def settings(self, **values):
        self.control("POST", "/settings", values)

    def reset(self, *what):
        self.control("POST", "/reset", {"what": list(what)} if what else {})

    def update(self, id, account="acct-1", **fields):
        return self.control("POST", "/update", {"account": account, "id": id, "fields": fields}).json()["changed"]

    def remove(self, id, account="acct-1"):
        return self.control("POST", "/update", {"account": account, "id": id, "remove": True}).json()["changed"]

    def stats(self):
        return self.control("GET", "/stats").json()

    def log(self, since=0, account=None, path=None):
        """Arrivals in order; `path`: only those whose path (with query) holds this."""
        query = f"/log?since={since}" + (f"&account={account}" if account else "")
        answer = self.control("GET", query).json()
        assert answer["lost"] == 0, "the ring has gone over what this test needs"
        return [e for e in answer["entries"] if not path or path in e["path"]]

    def statuses(self, path=None):
        return Counter(e["status"] for e in self.log(path=path))

    def items(self, noun, account="acct-1"):
        """What the account holds: dicts with noun, position, id, awkward, item."""
        text = self.control("GET", f"/items?account={account}&noun={noun}").content.decode()
        return [json.loads(line) for line in text.splitlines()]


def busiest(times_us, window_us):
    """The largest number of arrivals in any window of this length, by brute force over the sorted times."""
    times = sorted(times_us)
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window_us:
            first += 1
        most = max(most, last - first + 1)
    return most
