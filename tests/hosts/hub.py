"""The hub as hosts know it: https://huggingface.co and its content network, over TLS, served from this machine.

Hosts find both names on the bridge and trust the certificate, so nothing in the product has to be told of a stand-in.
An answer can be held after some bytes, which makes "in the middle of a file" a moment that a test can wait for.
"""

import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.hosts.disk import CACHE
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.unit.reconciler.weights.hub import Handler, Hub, Server

HUB, CDN = "huggingface.co", "cas-bridge.xethub.hf.co"
PORTS = {"hub": 443, "cdn": 8443}
LONGEST = 60.0  # seconds that an answer is held, should a test end before it lets go
_TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
_JOIN = f"""
mkdir -p /run/hub /etc/ssl/certs {CACHE}
touch {_TRUSTED}
cat {_TRUSTED} - >/run/hub/trusted
{{ cat /etc/hosts; printf '%s %s %s\\n' "$@"; }} >/run/hub/hosts
mount --bind /run/hub/trusted {_TRUSTED}
mount --bind /run/hub/hosts /etc/hosts
"""


@dataclass(eq=False)
class Hold:
    """One answer that says nothing more after `at` bytes until it is let go. `breaks`: it ends there then.

    `asked`: the Range that it answers.
    """

    at: int
    breaks: bool = False
    asked: str = ""
    _reached: threading.Event = field(default_factory=threading.Event)
    _let_go: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Until the bytes before have been sent."""
        assert self._reached.wait(LONGEST), "nobody asked for it"

    def let_go(self) -> None:
        """The rest comes."""
        self._let_go.set()


@dataclass
class BridgeHub(Hub):
    """A hub for a fleet. `watch` is called at each request, before it is answered."""

    certificate: bytes = b""
    watch: Callable[[], None] = lambda: None
    holds: dict[str, list[Hold]] = field(default_factory=dict)  # path -> for its next answers
    held: list[Hold] = field(default_factory=list)

    def hold(self, path: str, at: int, *, breaks: bool = False) -> Hold:
        """Hold the next answer with this file's bytes; a second call is for the answer after that."""
        made = Hold(at, breaks)
        self.holds.setdefault(path, []).append(made)
        self.held.append(made)
        return made

    def listed_only(self) -> bool:
        """Nothing was asked but which files there are."""
        return all(seen.server == "hub" and seen.path.startswith("/api/models/") for seen in self.seen)


class _Handler(Handler):
    hub: BridgeHub

    def serve(self) -> None:
        self.hub.watch()
        super().serve()

    def pour(self, path: str, data: bytes) -> None:
        holds = self.hub.holds.get(path)
        if not holds:
            super().pour(path, data)
            return
        hold = holds.pop(0)
        hold.asked = self.headers.get("Range", "")
        sent = 0
        try:
            self.wfile.write(data[: hold.at])
            sent = min(hold.at, len(data))
            hold._reached.set()
            hold._let_go.wait(LONGEST)
            if not hold.breaks:
                self.wfile.write(data[hold.at :])
                sent = len(data)
        except OSError:  # whoever asked is gone
            pass
        self.close_connection = sent < len(data)
        self.note(path, sent)


@contextmanager
def serving(hub: BridgeHub, fleet: Fleet) -> Iterator[BridgeHub]:
    """Serve on the fleet's gateway, and have every host know it; a small disk of its own is each host's cache."""
    hub.origin, hub.cdn = f"https://{HUB}", f"https://{CDN}:{PORTS['cdn']}"
    hub.certificate, key = _certificate(HUB, CDN)
    with ExitStack() as stack:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(key + hub.certificate)
            file.flush()
            context.load_cert_chain(file.name)
        for name, port in PORTS.items():
            handler = type(name, (_Handler,), {"hub": hub, "name": name})
            server = Server((fleet.gateway, port), handler)
            # The handshake is left to the request's own thread: a host that falls silent in it stops nobody else.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            stack.callback(server.server_close)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            stack.callback(server.shutdown)
        stack.callback(lambda: [hold.let_go() for hold in hub.held])
        for host in fleet.hosts:
            stack.enter_context(_known_to(host, hub, fleet.gateway))
        yield hub


@contextmanager
def _known_to(host: Host, hub: BridgeHub, address: str) -> Iterator[None]:
    """The names, the certificate, and a cache on a small disk; all of it mounts, so that nothing is left of it."""
    host.run(["sh", "-ec", _JOIN, "sh", str(ip_address(address)), HUB, CDN], text=hub.certificate.decode())
    host.run(["mount", "-t", "tmpfs", "-o", "size=64m", "weights", CACHE])
    try:
        yield
    finally:
        host.heal()
        for place in (CACHE, "/etc/hosts", _TRUSTED):
            host.run(["umount", "-l", place])


def _certificate(*names: str) -> tuple[bytes, bytes]:
    """A certificate for these names that vouches for itself, and its key; PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    about = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(about)
        .issuer_name(about)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private
