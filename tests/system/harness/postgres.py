"""One Postgres cluster per session of tests, a fresh database per test.

Postgres refuses to run as root; then it runs as the user postgres."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg2

from .process import Process, lease_port, wait_until


def _programs():
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if candidates:
        return candidates[-1]
    found = shutil.which("postgres")
    assert found, "postgres is not installed"
    return Path(found).parent


def _user():
    return "postgres" if os.getuid() == 0 else None


class Postgres(Process):
    def __init__(self, folder):
        self.programs = _programs()
        self.port = lease_port()
        self.data = Path(folder) / "data"
        # fsync off: these tests kill processes, never the machine.
        argv = [self.programs / "postgres", "-D", self.data, "-p", self.port, "-c", "listen_addresses=127.0.0.1",
                "-c", f"unix_socket_directories={folder}", "-c", "fsync=off", "-c", "max_connections=200",
                "-c", "shared_buffers=64MB", "-c", "timezone=UTC"]
        super().__init__("postgres", argv, folder, user=_user())
        self.made = 0
        self._connection = None

    def start(self, wait=True):
        if not self.data.exists():
            self._initdb()
        super().start()
        if wait:
            self.wait_up()
        return self

    def _initdb(self):
        if self.user:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        done = subprocess.run(
            [str(self.programs / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync"],
            capture_output=True, text=True, cwd=self.folder, user=self.user, group=self.user,
            extra_groups=[] if self.user else None)
        assert done.returncode == 0, done.stderr

    def url(self, database):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def connect(self, database="postgres"):
        connection = psycopg2.connect(self.url(database), connect_timeout=10)
        connection.autocommit = True
        return connection

    def answers(self):
        try:
            self.connect().close()
            return True
        except psycopg2.OperationalError:
            return False

    def wait_up(self):
        wait_until(self.answers, 30, lambda: "Postgres; its log ends:\n" + self.log_tail(), every=0.05)

    def create_database(self, template=None):
        """A new database's name."""
        self.made += 1
        name = f"test_{self.made}"
        # Hundreds of small files are copied faster than written page by page (from 15 on one may choose).
        how = " STRATEGY file_copy" if self._own().server_version >= 150000 else ""
        self._execute(f'CREATE DATABASE {name} TEMPLATE {template or "template1"}{how}')
        return name

    def drop_database(self, name):
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _own(self):
        """A connection that is kept, made anew when the server was restarted."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except (AttributeError, psycopg2.OperationalError, psycopg2.InterfaceError):
            self._connection = self.connect()
        return self._connection

    def _execute(self, statement):
        with self._own().cursor() as cursor:
            cursor.execute(statement)

    def restart(self, down_s=0, how=signal.SIGINT):
        """SIGINT: fast shutdown; SIGQUIT: immediate, as after a crash."""
        self.signal(how)
        self.wait(30)
        time.sleep(down_s)
        self.start()

    def stop_signal(self):
        return signal.SIGINT

    def check(self):
        return list(self.problems)  # its log is Postgres' own business
