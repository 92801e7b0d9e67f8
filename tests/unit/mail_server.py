"""A mail server that does what the recipient's name says, for tests of the client and of notifications.

mail_server.py LOG [CERT KEY [tls]]: prints its port.  With CERT it offers STARTTLS (tls: TLS from the first byte), and only then a login,
user "desk", password "s3cret".  LOG has a JSON line for each thing that happened: {"what": "login" | "begun" | "taken" | "closed", "to", "tls", "message"}.
Recipients: later* 451, only the first time; refused* 550; echo* 550 with the address in it; full* 552 behind the message; tired* 421 and closed;
noisy* no reply of SMTP; cut* closed with its word on DATA, only the first time; dropped* closed within the message, gone* behind it, without
a word; mute* no word, and not closed.
"""

import base64
import contextlib
import json
import socket
import socketserver
import ssl
import sys
import threading

LOG, CERT, KEY = sys.argv[1], *(sys.argv[2:4] or (None, None))
TLS = "tls" in sys.argv[4:]
log, lock, seen = open(LOG, "a", buffering=1), threading.Lock(), set()
context = None
if CERT:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, KEY)


class Closed(Exception):
    pass


class Session(socketserver.StreamRequestHandler):
    secure, to, first = TLS, None, False

    def note(self, what, **more):
        with lock:
            log.write(json.dumps({"what": what, "tls": self.secure, **more}) + "\n")

    def say(self, *lines):
        for i, line in enumerate(lines):
            self.wfile.write((line[:3] + "-" + line[4:] if i + 1 < len(lines) else line).encode() + b"\r\n")

    def line(self):
        text = self.rfile.readline(4096)
        if not text.endswith(b"\n"):
            raise Closed
        return text.rstrip(b"\r\n").decode()

    def handle(self):
        try:
            if TLS:
                self.encrypt()
            self.say("220 mail.example.com ESMTP")
            while self.one(self.line()):
                pass
        except (Closed, OSError):
            pass
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.note("closed", to=self.to)

    def encrypt(self):
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.secure = True

    def one(self, line):
        word = line.split(":")[0].split(" ")[0].upper()
        if word == "EHLO":
            self.say("250 mail.example.com", "250 8BITMIME", *(["250 STARTTLS"] if context and not self.secure else ["250 AUTH PLAIN"] if context else []), "250 SIZE 1000000")
        elif word == "STARTTLS" and context and not self.secure:
            self.say("220 go ahead")
            self.encrypt()
        elif word == "AUTH":
            self.login(line)
        elif word in ("MAIL", "RSET", "NOOP"):
            self.say("250 2.1.0 Ok")
        elif word == "RCPT":
            return self.recipient(line[line.index("<") + 1:line.rindex(">")])
        elif word == "DATA":
            return self.data()
        elif word == "QUIT":
            self.say("221 bye")
            return False
        else:
            self.say("502 5.5.2 no such command")
        return True

    def login(self, line):
        words = line.split(" ")
        if len(words) < 3:
            self.say("334 ")
            words.append(self.line())
        good = base64.b64decode(words[2]) == b"\0desk\0s3cret"
        self.note("login", good=good)
        self.say("235 2.7.0 welcome" if good else "535 5.7.8 authentication failed")

    def recipient(self, to):
        self.to = to
        with lock:
            self.first = to not in seen
            seen.add(to)
        self.say("451 4.7.1 greylisted, come again" if to.startswith("later") and self.first else
                 "550 5.1.1 no such user" if to.startswith("refused") else
                 f"550 5.1.1 <{to}>: no such user" if to.startswith("echo") else
                 "421 4.3.2 not now" if to.startswith("tired") else
                 "HTTP/1.1 400 Bad Request" if to.startswith("noisy") else "250 2.1.5 Ok")
        return not to.startswith("tired")

    def data(self):
        if self.to.startswith("cut") and self.first:  # both in one segment
            self.connection.send(b"354 end with a dot\r\n", socket.MSG_MORE)
            return False
        self.say("354 end with a dot")
        lines = []
        while (line := self.line()) != ".":
            if not lines:
                self.note("begun", to=self.to)
            if self.to.startswith("dropped"):
                return False
            lines.append(line[1:] if line.startswith(".") else line)
        if self.to.startswith("full"):
            self.say("552 5.2.2 mailbox is full")
            return True
        self.note("taken", to=self.to, message="\n".join(lines) + "\n")
        if self.to.startswith("gone"):
            return False
        if self.to.startswith("mute"):
            self.line()
        self.say("250 2.0.0 Ok: queued as 4FBX1")
        return True


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address = True, True
    request_queue_size = 64


server = Server(("127.0.0.1", 0), Session)
print(server.server_address[1], flush=True)
server.serve_forever()
