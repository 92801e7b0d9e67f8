"""What comes from npm for these tests alone: json-server and real airport data, installed once into build/npm."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from .process import ROOT, Process, lease_port, wait_until

FOLDER = ROOT / "build" / "npm"
LISTED = Path(__file__).resolve().parents[1]


def install():
    """The folder with node_modules, as package-lock.json says.  Fails, and says how, where npm reaches no registry."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = (LISTED / "package-lock.json").read_text()
    stamp = FOLDER / "installed.json"
    with open(FOLDER / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return FOLDER
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LISTED / name, FOLDER / name)
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=FOLDER,
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"npm ci in {FOLDER} failed:\n{done.stdout}{done.stderr}"
        stamp.write_text(wanted)
    return FOLDER


class JsonServer(Process):
    """json-server: a REST interface to one JSON file."""

    def __init__(self, folder, data):
        self.port = lease_port()
        self.url = f"http://127.0.0.1:{self.port}"
        program = FOLDER / "node_modules" / "json-server" / "lib" / "cli" / "bin.js"
        super().__init__("json-server", ["node", program, "--host", "127.0.0.1", "--port", self.port, "--quiet", data],
                         folder, exits=(0, -15, 143))

    def start(self):
        super().start()
        wait_until(self._answers, 40, lambda: "json-server; it said:\n" + self.log_tail())
        return self

    def _answers(self):
        import requests

        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"{self.url}/db", timeout=20).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False
