"""What the system tests stand on: real servers and the real programs, each in a folder of its own.

One class per process (Redis, Postgres, Sandbox, Scheduler, Worker, MailServer), each with start, stop, kill9, its
log and its settings; Longshore runs the command; Cluster ties them together.  Nothing sleeps for luck:
wait_until waits for what is wanted, up to a deadline.
"""

from .cluster import Cluster
from .daemons import Longshore, Scheduler, Worker
from .mail import MailServer
from .postgres import Postgres
from .process import Process, lease_port, wait_until
from .redis_server import Redis
from .sandbox import Sandbox

__all__ = [
    "Cluster", "Longshore", "MailServer", "Postgres", "Process", "Redis", "Sandbox", "Scheduler", "Worker",
    "lease_port", "wait_until",
]
