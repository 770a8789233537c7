"""Who may ask: checked on every route before the body is looked at.

Host and Origin are checked on all methods: a page that a browser shows from elsewhere must not reach a service on this
machine, not even by a name that it makes point here (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from latentstore.server.heads import text
from latentstore.server.keys import FILE, Key, digest_of, read_keys
from latentstore.server.refusals import Refusal
from latentstore.types import whole_number

PUBLIC = "public"  # of a route: anyone may ask, for it tells nothing of the store
GOOD_KEPT = 64
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ASK = ((b"www-authenticate", b'Bearer realm="latentstore"'),)


class Guard:
    """Checks hosts, origins and keys.

    Args:
        store: Its folder, where the keys are.
        hosts: Names the service is reached by, without port.
        open_to_all: Whether it may be asked without a key before any was made: on loopback only. Once there was one,
            it stays closed.
    """

    def __init__(self, store: Path, hosts: Iterable[str], *, open_to_all: bool) -> None:
        self._store = store
        self._hosts = {host.lower() for host in hosts}
        self._open = open_to_all
        self._keys: dict[str, Key] = {}
        self._stamp: tuple[int, int] | None = None
        self._good: set[tuple[str, str | None]] = set()  # hosts and origins of callers that were let in
        self.reload()

    def reload(self) -> None:
        """Read the keys again if their file changed."""
        try:
            found = (self._store / FILE).stat()
        except FileNotFoundError:
            stamp = None
        else:
            stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._stamp:
            self._keys, self._stamp = read_keys(self._store), stamp
            self._open = False

    def check_headers(self, pairs: Sequence[tuple[bytes, bytes]], headers: dict[bytes, bytes]) -> None:
        """Refuse a request to another address, and one whose headers can be read in two ways.

        Args:
            pairs: All of them, names in small letters.
            headers: The last of each name.
        """
        names = [] if len(headers) == len(pairs) else [name for name, _ in pairs]
        host = text(headers, b"host") if names.count(b"host") <= 1 else None
        self.check_address(host, text(headers, b"origin"))
        if names.count(b"authorization") > 1 or names.count(b"content-type") > 1:
            raise Refusal(400, "HeaderTwice", "a header that may stand once stands twice; send it once")

    def check_address(self, host: str | None, origin: str | None) -> None:
        """Refuse a request that was sent to another name, or by a page from another host."""
        if (host, origin) in self._good:
            return
        if host is None:
            raise Refusal(400, "HostRefused", "the request has no single Host header; send one")
        if _name(host) not in self._hosts:
            raise Refusal(
                403,
                "HostRefused",
                f"the service is not called {host[:100]!r}; start it with --allow-host to allow that",
            )
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            raise Refusal(
                403, "OriginRefused", f"pages of {origin[:100]!r} may not ask this service; ask from its own page"
            )
        if len(self._good) < GOOD_KEPT:
            self._good.add((host, origin))

    def check_key(self, authorization: str | None, right: str) -> str:
        """Refuse a request whose key does not allow it; returns the key's name, "" without one."""
        if right == PUBLIC:
            return ""
        if authorization is None:
            if self._open:
                return ""
            raise Refusal(401, "KeyMissing", "this needs a key; send Authorization: Bearer KEY", _ASK)
        scheme, _, given = authorization.partition(" ")
        key = self._keys.get(digest_of(given.strip())) if scheme.lower() == "bearer" else None
        if key is None:
            raise Refusal(401, "KeyUnknown", "the key is not one of this service; ask its owner for one", _ASK)
        if right not in key.rights:
            raise Refusal(
                403,
                "KeyInsufficient",
                f"key {key.name!r} is for {key.role!r}, which may not {right}; use another",
            )
        return key.name


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and whole_number(port) is not None else host.lower()
