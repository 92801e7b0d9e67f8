"""A wire that can be cut: TCP to a server of this machine, through a port of its own."""

import contextlib
import socket
import threading

from .process import lease_port


class Proxy:
    """cut(): all connections close and none is accepted, while the server behind lives on; mend(): as before."""

    def __init__(self, target):
        self.target, self.port = target, lease_port()
        self.lock, self.open = threading.Lock(), set()
        self.listener = None

    def mend(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def cut(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self.listener.close()
        with self.lock:
            for one in self.open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)  # wakes recv; whoever pumps closes

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open |= {near, far}
            threading.Thread(target=self._both, args=(near, far), daemon=True).start()

    def _both(self, near, far):
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()
        with self.lock:
            self.open -= {near, far}
        near.close()
        far.close()


def _pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
