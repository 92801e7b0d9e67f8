"""A mail server that does what the recipient's name says, for tests of the client and of notifications.

mail_server.py LOG [CERT KEY [tls]] [auth=MECHANISM,…] [tokens=URL] [size=BYTES]: prints its port.  With CERT it offers STARTTLS (tls: TLS from the first
byte), and only then a login: user "desk", password "s3cret", or a token by XOAUTH2 or OAUTHBEARER: "t0ken", or what a GET of URL takes.  LOG has a JSON line for each thing that happened: {"what": "login" | "begun" | "taken" | "closed", "to", "tls", "message"}.
Recipients: later* 451, only the first time; refused* 550; echo* 550 with the address in it; full* 552 behind the message; tired* 421 and closed;
noisy* no reply of SMTP; loud* 552 within the message, and closed; cut* closed with its word on DATA, only the first time; dropped* closed within the message, gone* behind it, without
a word; leaving* 250 and 421 at once, and closed; mute* no word, and not closed.
"""

import base64
import contextlib
import json
import re
import socket
import socketserver
import ssl
import sys
import threading
import urllib.request

options = dict(a.split("=", 1) for a in sys.argv[2:] if "=" in a)
LOG, CERT, KEY, TLS = ([a for a in sys.argv[1:] if "=" not in a] + [None] * 3)[:4]
TLS = TLS == "tls"
MECHANISMS = [m for m in options.get("auth", "PLAIN,XOAUTH2,OAUTHBEARER").split(",") if m]
SIZE = int(options.get("size", 1000000))
BEARER = {"XOAUTH2": (rb"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01", ""),
          "OAUTHBEARER": (rb"n,a=([^\x01,]+),\x01host=[^\x01]+\x01port=[0-9]+\x01auth=Bearer ([^\x01]+)\x01\x01", "AQ==")}
log, lock, seen = open(LOG, "a", buffering=1), threading.Lock(), set()
context = None
if CERT:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, KEY)


def is_good(token):
    if "tokens" not in options:
        return token == "t0ken"
    try:
        urllib.request.urlopen(urllib.request.Request(options["tokens"], headers={"Authorization": f"Bearer {token}"}), timeout=20).close()
    except urllib.error.HTTPError:
        return False
    return True


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
        text = self.rfile.readline(16384)
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
            self.say("250 mail.example.com", "250 8BITMIME", *(["250 STARTTLS"] if context and not self.secure else ["250 AUTH " + " ".join(MECHANISMS)] if context and MECHANISMS else []), f"250 SIZE {SIZE}")
        elif word == "STARTTLS" and context and not self.secure:
            self.say("220 go ahead")
            self.encrypt()
        elif word == "AUTH":
            self.login(line)
        elif word == "MAIL":
            size = re.search(r" SIZE=(\d+)$", line)
            self.say("552 5.3.4 longer than any may be" if size and int(size[1]) > SIZE else "250 2.1.0 Ok")
        elif word in ("RSET", "NOOP"):
            self.say("250 2.0.0 Ok")
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
        how, response = words[1].upper(), base64.b64decode(words[2])
        if how in BEARER:
            return self.bearer(how, response)
        good = response == b"\0desk\0s3cret"
        self.note("login", how=how, good=good)
        return self.say("235 2.7.0 welcome" if good else "535 5.7.8 authentication failed")

    def bearer(self, how, response):
        """As Google, Microsoft and RFC 7628 have it: why not is a challenge, and the dialogue ends once that is answered."""
        form, dummy = BEARER[how]
        found = re.fullmatch(form, response)
        user, token = found.groups() if found else (b"", b"")
        good = is_good(token.decode())
        self.note("login", how=how, good=good, user=user.decode())
        if good:
            return self.say("235 2.7.0 Accepted")
        self.say("334 " + base64.b64encode(b'{"status":"401","schemes":"bearer","scope":"https://mail.example.com/"}').decode())
        ended = self.line() == dummy
        self.note("gave up", good=ended)
        return self.say("535 5.7.8 Username and Password not accepted" if ended else "501 5.5.2 not what is said then")

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
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            self.say("354 end with a dot")
            return False
        self.say("354 end with a dot")
        lines = []
        while (line := self.line()) != ".":
            if not lines:
                self.note("begun", to=self.to)
            if self.to.startswith("dropped"):
                return False
            if self.to.startswith("loud"):
                self.say("552 5.3.4 not one byte more")
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
        if self.to.startswith("leaving"):  # both in one segment
            self.wfile.write(b"250 2.0.0 Ok: queued as 4FBX1\r\n421 4.3.2 shutting down\r\n")
            return False
        self.say("250 2.0.0 Ok: queued as 4FBX1")
        return True


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address = True, True
    request_queue_size = 64


server = Server(("127.0.0.1", 0), Session)
print(server.server_address[1], flush=True)
server.serve_forever()
