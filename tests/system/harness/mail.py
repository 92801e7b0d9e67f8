"""A mail server (tests/unit/mail_server.py) and what happened there."""

import json
import re
import signal
import subprocess

from .process import ROOT, Process


class MailServer(Process):
    """Plain; or, `secured`, one that offers STARTTLS, and a login behind it (desk, s3cret).  Its certificate is its own authority: `cert`."""

    def __init__(self, folder, secured=False, name="mail", **options):
        self.journal, self.cert = folder / f"{name}.journal", None
        argv = ["/usr/bin/python3", ROOT / "tests/unit/mail_server.py", self.journal]
        if secured:
            self.cert, key = folder / f"{name}.cert", folder / f"{name}.key"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", self.cert,
                            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
            argv += [self.cert, key]
        argv += [f"{k}={v}" for k, v in options.items()]
        super().__init__(name, argv, folder, exits=(-signal.SIGTERM,))
        self.port = None

    def start(self):
        super().start()
        self.wait_for_log(r"(?m)^\d+$")
        self.port = int(re.search(r"(?m)^\d+$", self.log_text()).group())
        return self

    def log(self, what):
        whole, _, _ = self.journal.read_text().rpartition("\n")  # the last line may be half written
        return [e for e in map(json.loads, whole.splitlines()) if e["what"] == what]
