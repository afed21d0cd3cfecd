#!/usr/bin/env python3
"""Both ends of WebSocket over HTTP/2 (RFC 8441), and of CONNECT over HTTP/2, frame by frame.

`extended_connect.py server` answers extended CONNECTs with 200 and sends back what comes; prints `PORT n`.
`extended_connect.py client PORT CASE…` goes through a proxy to an echo of one kind or the other.
"""

import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, not {wanted!r}")


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False))
        self.connection.initiate_connection()
        self.flush()
        self.events = []
        self.wait(h2.events.RemoteSettingsChanged)

    def flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def wait(self, *kinds):
        while True:
            for index, event in enumerate(self.events):
                if isinstance(event, kinds):
                    return self.events.pop(index)
            data = self.socket.recv(65536)
            if not data:
                raise SystemExit(f"the connection ended before {kinds}")
            self.events += self.connection.receive_data(data)
            self.flush()

    def request(self, headers, end=False):
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def response(self):
        return dict(self.wait(h2.events.ResponseReceived).headers)

    def receive(self, count):
        data = b""
        while len(data) < count:
            event = self.wait(h2.events.DataReceived)
            data += event.data
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.flush()
        return data

    def send(self, stream, data, end=False):
        while data:
            window = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
            if window == 0:
                self.events += self.connection.receive_data(self.socket.recv(65536))
                continue
            self.connection.send_data(stream, data[:window])
            data = data[window:]
            self.flush()
        if end:
            self.connection.end_stream(stream)
        self.flush()


def websocket(port):
    """A WebSocket without a key: RFC 8441 has none. One masked message, and its echo."""
    client = Client(port)
    expect("extended CONNECT is announced",
           client.connection.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL), 1)
    stream = client.request([
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"),
        (":authority", "test"), ("sec-websocket-version", "13")])
    answer = client.response()
    expect("status", answer[":status"], "200")
    for name in ("upgrade", "connection", "sec-websocket-accept", "content-length", "transfer-encoding"):
        expect(name, answer.get(name), None)
    client.send(stream, b"\x81\x85\x00\x00\x00\x00hello")
    expect("echo", client.receive(7), b"\x81\x05hello")
    # A message that takes several windows each way.
    size = 300000
    client.send(stream, b"\x82\xff" + size.to_bytes(8, "big") + b"\0\0\0\0" + b"z" * size)
    expect("echo", client.receive(size + 10), b"\x82\x7f" + size.to_bytes(8, "big") + b"z" * size)
    # The closing handshake, and the end of the stream.
    client.send(stream, b"\x88\x82\x00\x00\x00\x00\x03\xe8")
    expect("close", client.receive(4), b"\x88\x02\x03\xe8")
    client.send(stream, b"", end=True)
    client.wait(h2.events.StreamEnded)
    # The connection serves others as before.
    client.request([(":method", "GET"), (":scheme", "http"), (":path", "/chat"), (":authority", "test")], end=True)
    expect("status", client.response()[":status"], "426")


def refused(port):
    client = Client(port)
    client.request([
        (":method", "CONNECT"), (":protocol", "other"), (":scheme", "http"), (":path", "/chat"), (":authority", "test")])
    expect("status", client.response()[":status"], "403")


def connect(port):
    """CONNECT to an echo of bytes, each direction ending for itself."""
    client = Client(port)
    stream = client.request([(":method", "CONNECT"), (":authority", "example.com:443")])
    client.send(stream, b"early")
    expect("status", client.response()[":status"], "200")
    expect("echo", client.receive(5), b"early")
    client.send(stream, b"x" * 200000, end=True)
    expect("echo", client.receive(200000), b"x" * 200000)
    client.wait(h2.events.StreamEnded)


def serve(peer):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.local_settings = h2.settings.Settings(
        client=False, initial_values={h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    connection.initiate_connection()
    peer.sendall(connection.data_to_send())
    while data := peer.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = dict(event.headers)
                granted = headers[":method"] == "CONNECT" and headers.get(":protocol") == "websocket"
                connection.send_headers(
                    event.stream_id, [(":status", "200" if granted else "400")], end_stream=not granted)
            elif isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                # As a server would, without the mask, which is all zeros here.
                connection.send_data(event.stream_id, unmasked(event.data))
            elif isinstance(event, h2.events.StreamEnded):
                connection.end_stream(event.stream_id)
        peer.sendall(connection.data_to_send())


def unmasked(frame):
    """A short frame as its server would send it: without mask."""
    if len(frame) < 6 or not frame[1] & 0x80 or frame[1] & 0x7f > 125:
        return frame
    payload = bytes(byte ^ frame[2 + index % 4] for index, byte in enumerate(frame[6:]))
    return frame[:1] + bytes([len(payload)]) + payload


def main():
    if sys.argv[1] == "server":
        listener = socket.create_server(("127.0.0.1", 0))
        print("PORT", listener.getsockname()[1], flush=True)
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    for name in sys.argv[3:]:
        globals()[name](int(sys.argv[2]))
        print("OK", name, flush=True)


main()
