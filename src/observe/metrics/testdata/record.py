#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what the real kube-proxy serves at /metrics: README.md says how to run it.

    ip netns exec NAME ./record.py KUBE_PROXY > kube-proxy.txt

Plays an API server with a Node, three Services and their slices, changes them while kube-proxy
runs, asks its health port, and prints what /metrics answers, without help texts and without the
samples of the Go runtime and the like.
"""
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

API = ("127.0.0.1", 18080)
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


def meta(name, **more):
    uid = f"00000000-0000-0000-0000-{abs(hash(name)) % 10**12:012}"
    return {"name": name, "namespace": "default", "uid": uid, "resourceVersion": "1", **more}


def service(name, ip, protocol, **spec):
    port = {"name": "p", "port": 80, "targetPort": 8080, "protocol": protocol}
    spec = {"clusterIP": ip, "clusterIPs": [ip], "ports": [port], "type": "ClusterIP", **spec}
    return {"kind": "Service", "apiVersion": "v1", "metadata": meta(name), "spec": spec}


def slice_(name, addresses, protocol, node, version, **annotations):
    return {
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
        "metadata": {**meta(name + "-1", labels={"kubernetes.io/service-name": name},
                            annotations=annotations), "resourceVersion": version},
        "endpoints": [{"addresses": [a], "nodeName": node, "conditions": {"ready": True}}
                      for a in addresses],
        "ports": [{"name": "p", "port": 8080, "protocol": protocol}],
    }


NODE = {"kind": "Node", "apiVersion": "v1", "metadata": {**meta("n1"), "namespace": ""}, "spec": {},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}
OBJECTS = {
    "/api/v1/services": [
        service("tcp", "10.96.0.10", "TCP"),
        service("udp", "10.96.0.11", "UDP"),
        service("local", "10.96.0.12", "TCP", internalTrafficPolicy="Local",
                externalTrafficPolicy="Local", externalIPs=["198.51.100.1"]),
    ],
    "/apis/discovery.k8s.io/v1/endpointslices": [
        slice_("tcp", ["10.244.0.2"], "TCP", "n1", "1"),
        slice_("udp", ["10.244.0.3"], "UDP", "n1", "1"),
        slice_("local", ["10.244.1.2"], "TCP", "n2", "1"),
    ],
    "/api/v1/nodes": [NODE],
    "/apis/networking.k8s.io/v1/servicecidrs": [],
}
CHANGES = {path: [] for path in OBJECTS}
READY = threading.Condition()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.reply(201, {"kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": {}})

    def do_GET(self):
        url, query = urlparse(self.path), parse_qs(urlparse(self.path).query)
        if url.path not in OBJECTS:
            return self.reply(404, {"kind": "Status", "apiVersion": "v1", "code": 404})
        if "watch" in query:
            return self.watch(url.path, "sendInitialEvents" in query)
        first = (OBJECTS[url.path] or [{"kind": "ServiceCIDR", "apiVersion":
                                        "networking.k8s.io/v1"}])[0]
        self.reply(200, {"kind": first["kind"] + "List", "apiVersion": first["apiVersion"],
                         "metadata": {"resourceVersion": "1"}, "items": OBJECTS[url.path]})

    def watch(self, path, initial):
        if initial:  # as a server without streaming lists: the client lists instead
            return self.reply(422, {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                                    "reason": "Invalid", "code": 422})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        sent = 0
        while True:
            with READY:
                while len(CHANGES[path]) == sent:
                    READY.wait()
                change = CHANGES[path][sent]
            sent += 1
            self.wfile.write(json.dumps({"type": "MODIFIED", "object": change}).encode() + b"\n")
            self.wfile.flush()


def get(url):
    try:
        return urllib.request.urlopen(url).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def kept(line):
    """Types of all families, samples of those whose labels and buckets matter to a proxy."""
    families = ("kubeproxy_", "rest_client_", "process_", "kubernetes_build_info")
    return line.startswith("# TYPE ") or line.startswith(families)


def main():
    server = ThreadingHTTPServer(API, Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = subprocess.Popen(
        [sys.argv[1], "--proxy-mode=nftables", f"--master=http://{API[0]}:{API[1]}",
         "--kube-api-content-type=application/json", "--hostname-override=n1",
         "--cluster-cidr=10.244.0.0/16", "--conntrack-max-per-core=0", "--conntrack-min=0",
         "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s",
         "--iptables-min-sync-period=1s", "--iptables-sync-period=2s"],
        stdout=sys.stderr, stderr=sys.stderr)
    try:
        time.sleep(12)
        path = "/apis/discovery.k8s.io/v1/endpointslices"
        with READY:
            now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
            CHANGES[path].append(slice_("udp", ["10.244.0.4"], "UDP", "n1", "2", **{TRIGGER: now}))
            READY.notify_all()
        time.sleep(4)
        get("http://127.0.0.1:10256/healthz")
        get("http://127.0.0.1:10256/livez")
        # Someone else removes the table: a sync that fails.
        subprocess.run(["nft", "delete", "table", "ip", "kube-proxy"], check=True)
        with READY:
            CHANGES[path].append(slice_("udp", ["10.244.0.5"], "UDP", "n1", "3"))
            READY.notify_all()
        time.sleep(5)
        text = get("http://127.0.0.1:10249/metrics")
        print("\n".join(line for line in text.splitlines() if kept(line)))
    finally:
        proxy.terminate()
        proxy.wait()


main()
