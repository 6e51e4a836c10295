"""Run in a fresh network namespace: one machine on a bridge, fetching a page from its gateway."""
import fcntl
import http.server
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(__file__))
from vm_probe import Machine


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a page\n")

    def log_message(self, *_):
        pass


def main():
    for command in ("ip link set lo up", "ip link add br0 type bridge",
                    "ip addr add 10.9.8.1/24 dev br0", "ip link set br0 up",
                    "ip tuntap add tap0 mode tap vnet_hdr", "ip link set tap0 master br0 up"):
        subprocess.run(command.split(), check=True)
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"tap0", 0x5002))  # TUNSETIFF: tap, vnet_hdr
    server = http.server.HTTPServer(("10.9.8.1", 8080), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as where:
        m = Machine(pathlib.Path(where), ["sh", "-c", "wget -qO- http://10.9.8.1:8080/; "
                                          "ip addr show eth0; ip route"],
                    tap=tap, network={"address": "10.9.8.7", "prefix": 24, "gateway": "10.9.8.1",
                                      "dns": "10.9.8.1", "mac": "02:00:00:00:09:07", "mtu": 1450})
        ready, code, out, err = m.run()
        m.kill()
        text = out.decode()
        print(ready, code, text, err)
        assert ready == "ok" and text.startswith("a page\n")
        assert "10.9.8.7/24" in text and "mtu 1450" in text and "02:00:00:00:09:07" in text
        assert "default via 10.9.8.1" in text


main()
