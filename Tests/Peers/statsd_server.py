#!/usr/bin/env python3
"""Receives statsd: datagrams on a UDP port (or, given a path, on a Unix socket), lines on a TCP port.

`statsd_server.py [PATH]` prints `PORT n`, the UDP and the TCP port alike, then a line of JSON for each datagram, `{"datagram": text}`, and
for each complete line, `{"line": text}`.
"""

import json
import os
import socket
import sys
import threading

lock = threading.Lock()


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


def datagrams(receiver):
    while True:
        say(datagram=receiver.recv(65536).decode())


def lines(listener):
    while True:
        connection, _ = listener.accept()
        say(connection=True)
        with connection, connection.makefile("r", encoding="utf-8", newline="\n") as file:
            try:
                for line in file:
                    say(line=line.rstrip("\n"))
            except ConnectionError:
                pass


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    if len(sys.argv) > 1:
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(sys.argv[1])
    else:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("127.0.0.1", port))
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    threading.Thread(target=lines, args=(listener,), daemon=True).start()
    print("PORT", port, flush=True)
    try:
        datagrams(receiver)
    finally:
        if len(sys.argv) > 1:
            os.unlink(sys.argv[1])


if __name__ == "__main__":
    main()
