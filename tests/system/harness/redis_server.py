"""A Redis of one test's own."""

import signal
import time

import redis

from .process import Process, lease_port, wait_until


class Redis(Process):
    def __init__(self, folder, aof=False, name="redis", options=()):
        self.port = lease_port()
        argv = ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", folder, "--save", "",
                "--daemonize", "no", "--appendonly", "yes" if aof else "no", "--appendfsync", "always", *options]
        super().__init__(name, argv, folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, socket_timeout=60)

    def start(self, wait=True):
        super().start()
        if wait:
            self.wait_up()
        return self

    def wait_up(self):
        wait_until(self.answers, 20, f"Redis on port {self.port}")

    def answers(self):
        try:
            return self.client.ping()
        except (redis.ConnectionError, redis.BusyLoadingError, redis.TimeoutError):
            return False

    def restart(self, down_s=0):
        """Stops it and starts it anew; with AOF nothing is lost.  down_s: how long clients see it gone."""
        self.signal(signal.SIGTERM)
        self.wait(20)
        time.sleep(down_s)
        self.start()

    def crash(self, down_s=0):
        self.kill9()
        time.sleep(down_s)
        self.start()

    def commands(self):
        """How many commands Redis has run so far, those that look at it apart (INFO, CONFIG, PING)."""
        stats = self.client.info("commandstats")
        own = {"cmdstat_info", "cmdstat_config", "cmdstat_config|resetstat", "cmdstat_ping"}
        return {name: row["calls"] for name, row in stats.items() if name not in own}

    def stop(self):
        self.client.close()
        super().stop()
