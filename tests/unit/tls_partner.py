"""A partner behind TLS, for tests of what counts as sent: HTTP/2 where the client agrees on it, else HTTP/1.1.

tls_partner.py CERT KEY LOG STREAMS HOLD_MS [h1]: prints its port.  Each connection waits HOLD_MS before its handshake.  The log has
a line for each event: "US accepted 0", "US arrived PATH", "US refused PATH" (more streams than STREAMS on one connection), with
CLOCK_MONOTONIC in microseconds.
Paths: /ANY/MS is answered after MS; /gate/N/ANY when N of them have arrived; /once/NAME is dropped with its connection the first time, and
/refused/NAME is refused (HTTP/2) the first time: both are answered when they come again; /moved redirects.
"""

import asyncio
import socket
import ssl
import sys
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

CERT, KEY, LOG, STREAMS, HOLD_MS = sys.argv[1:6]
H1 = "h1" in sys.argv[6:]
log = open(LOG, "a", buffering=1)
seen, gate = set(), []


def note(what, path="0"):
    log.write(f"{time.monotonic_ns() // 1000} {what} {path}\n")


def first_time(path):
    new = path not in seen
    seen.add(path)
    return new


class Lenient(h2.connection.H2Connection):
    open_inbound_streams = 0  # those beyond the limit are refused one by one here, not with the whole connection


class Partner(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.text = transport, b""
        self.h2, self.open = None, set()
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            self.h2 = Lenient(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: int(STREAMS)})
            self.h2.initiate_connection()
            self.flush()

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data):
        if not self.h2:
            return self.h1_received(data)
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.opened(dict(event.headers)[":path"], event.stream_id)
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()

    def opened(self, path, stream):
        if len(self.open) == int(STREAMS):
            note("refused", path)
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        else:
            self.open.add(stream)
            self.asked(path, stream)

    def h1_received(self, data):
        self.text += data
        while b"\r\n\r\n" in self.text:
            head, self.text = self.text.split(b"\r\n\r\n", 1)
            lines = head.decode().lower().split("\r\n")
            length = [int(line.split(":")[1]) for line in lines if line.startswith("content-length:")]
            self.text = self.text[length[0] if length else 0:]
            self.asked(head.decode().split()[1], 0)

    def asked(self, path, stream):
        note("arrived", path)
        kind, tail = path.split("/")[1], path.split("/")[-1]
        if kind == "once" and first_time(path):
            self.transport.abort()
        elif kind == "refused" and first_time(path):
            self.open.remove(stream)
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif kind == "gate":
            gate.append((self, path, stream))
            if len(gate) == int(path.split("/")[2]):
                for partner, each, its in gate:
                    partner.answer(each, its, 200)
        else:
            wait = int(tail) / 1000 if tail.isdigit() else 0
            asyncio.get_running_loop().call_later(wait, self.answer, path, stream, 302 if kind == "moved" else 200)

    def answer(self, path, stream, status):
        if self.transport.is_closing():
            return
        if self.h2:
            self.open.remove(stream)
            self.h2.send_headers(stream, [(":status", str(status)), ("location", "/elsewhere/0")])
            self.h2.send_data(stream, b"{}", end_stream=True)
            self.flush()
        else:
            self.transport.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\nLocation: /elsewhere/0\r\n\r\n{{}}".encode())


async def serve_one(sock, context):
    await asyncio.sleep(int(HOLD_MS) / 1000)
    note("accepted")
    try:
        await asyncio.get_running_loop().connect_accepted_socket(Partner, sock, ssl=context)
    except (OSError, ssl.SSLError):
        sock.close()


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, KEY)
    context.set_alpn_protocols(["http/1.1"] if H1 else ["h2", "http/1.1"])
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    listening.setblocking(False)
    print(listening.getsockname()[1], flush=True)
    tasks = set()
    while True:
        sock, _ = await asyncio.get_running_loop().sock_accept(listening)
        tasks.add(asyncio.create_task(serve_one(sock, context)))


asyncio.run(main())
