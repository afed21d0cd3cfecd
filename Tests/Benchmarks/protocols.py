"""Scenarios beyond HTTP/1.1 in clear text: TLS, HTTP/2, handshakes, TCP."""

import re
import shutil
import subprocess
import sys
import time

import peers

STREAMS = 8
CONNECTIONS_HTTP2 = 16
CONNECTIONS_TLS = 64
GIBIBYTE = 1 << 30


class ProtocolScenarios:
    """A part of `Bench`."""

    def protected(self, kind):
        """Everyone with the same certificate; HTTP/2 and HTTP/1.1 by ALPN."""
        certificate = peers.Certificate(self.folder, kind)
        found = [peers.Martlet(self.options.proxy, self.folder, self.backend_port, certificate=certificate)]
        if shutil.which("haproxy"):
            found.append(peers.HAProxy(self.folder, self.backend_port, self.descriptors, certificate=certificate))
        if shutil.which("nginx"):
            found.append(peers.Nginx("nginx", self.folder, self.backend_port, certificate=certificate))
        envoy = peers.find_envoy(peers.ROOT)
        if envoy:
            found.append(peers.Envoy(envoy, self.folder, self.backend_port, certificate=certificate))
        return found

    def h2load(self, peer, connections, streams, *options):
        if not shutil.which("h2load"):
            sys.exit("bench: h2load is not installed (Debian: nghttp2-client)")
        before, began = peer.usage(), time.monotonic()
        text = subprocess.run(
            [*self.load_core, "h2load", f"-c{connections}", f"-m{streams}", "-t1", f"-D{self.options.seconds:g}", *options,
             f"https://127.0.0.1:{peer.port}/150"],
            capture_output=True, text=True, check=True, timeout=self.options.seconds + 60).stdout
        used, seconds = peer.usage() - before, time.monotonic() - began
        found = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", text)
        if not found or int(found[2]) == 0:
            sys.exit(f"bench: {peer.name} answered no request:\n{text}")
        if int(found[3]):
            self.note(f"{peer.name}: {found[3]} requests failed")
        return used.each(int(found[2]), seconds)

    def tls(self):
        median = self.compare("tls", self.protected("ec"), lambda peer: self.h2load(peer, CONNECTIONS_TLS, 1, "--h1"))
        self.show_cost("tls", f"HTTP/1.1 over TLS 1.3, 150-byte responses, {CONNECTIONS_TLS} keep-alive connections", median)
        self.ratio_gate("tls", median, "HAProxy", 1.0)

    def http2(self):
        median = self.compare("http2", self.protected("ec"),
                              lambda peer: self.h2load(peer, CONNECTIONS_HTTP2, STREAMS, "--npn-list=h2"))
        self.show_cost("http2", f"HTTP/2 over TLS 1.3, 150-byte responses, {CONNECTIONS_HTTP2} connections of {STREAMS} streams",
                       median)
        self.ratio_gate("http2", median, "HAProxy", 1.0)
        self.ratio_gate("http2", median, "Envoy", 0.4)

    def handshakes(self):
        for kind in ("ec", "rsa"):
            everyone = self.protected(kind)
            name = f"handshakes {everyone[0].certificate.name}"
            median = self.compare(name, everyone, self.handshake)
            self.show_cost(name, "full handshakes of TLS 1.3, one after the other", median, "handshake")
            self.ratio_gate(name, median, "HAProxy", 1.0)

    def handshake(self, peer):
        before = peer.usage()
        text = subprocess.run(
            [*self.load_core, "openssl", "s_time", "-connect", f"127.0.0.1:{peer.port}", "-new",
             "-time", f"{max(1, round(self.options.seconds)):g}"], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=True, timeout=self.options.seconds + 60).stdout
        used = peer.usage() - before
        found = re.findall(r"(\d+) connections in (\d+) real seconds", text)
        if not found or int(found[-1][0]) == 0:
            sys.exit(f"bench: {peer.name} shook no hands:\n{text}")
        return used.each(int(found[-1][0]), max(1, int(found[-1][1])))

    def tcp(self):
        found = [peers.Martlet(self.options.proxy, self.folder, self.backend_port, tcp=True)]
        if shutil.which("haproxy"):
            found += [peers.HAProxy(self.folder, self.backend_port, self.descriptors, tcp=True),
                      peers.HAProxy(self.folder, self.backend_port, self.descriptors, tcp=True, splice=True)]
        envoy = peers.find_envoy(peers.ROOT)
        if envoy:
            found.append(peers.Envoy(envoy, self.folder, self.backend_port, tcp=True))
        found.append(peers.Relay(self.programs["relay"], self.folder, self.backend_port))
        median = self.compare("tcp", found, self.transfer)
        self.show_cost("tcp", "1 GiB from the backend through a TCP proxy", median, "MiB")
        self.ratio_gate("tcp", median, "HAProxy TCP", 1.0)
        messages = self.compare("tcp messages", found, lambda peer: self.round(peer, 150, ()))
        self.show_cost("tcp messages", "150-byte responses through a TCP proxy, 64 connections", messages)
        self.ratio_gate("tcp messages", messages, "HAProxy TCP", 1.0)

    def transfer(self, peer):
        before, began = peer.usage(), time.monotonic()
        subprocess.run([*self.load_core, "curl", "-sS", "-o", "/dev/null", f"http://127.0.0.1:{peer.port}/{GIBIBYTE}"],
                       check=True, timeout=120)
        return (peer.usage() - before).each(GIBIBYTE >> 20, time.monotonic() - began)
