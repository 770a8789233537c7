"""Keys of the service: made once, shown once, kept as hashes beside the store.

A key is 256 random bits, so its sha256 needs neither salt nor slow hashing: nobody can try them all.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from latentstore.errors import AlreadyExists, ConfigInvalid, ManifestInvalid, NotFound, suggest
from latentstore.storage import files
from latentstore.storage.layout import check_name

FILE = "keys.json"
PREFIX = "ls_"
# What each role may do. Reading is part of every role; SQL and writing are not part of each other.
ROLES: dict[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "sql": frozenset({"read", "sql"}),
}


@dataclass(frozen=True)
class Key:
    """What is known of a key that was handed out.

    Attributes:
        name: Whose it is.
        role: "read", "write" or "sql".
        created: When, UTC.
        digest: sha256 of the key, hex.
    """

    name: str
    role: str
    created: str
    digest: str

    @property
    def rights(self) -> frozenset[str]:
        """What it may do."""
        return ROLES[self.role]


def read_keys(store: Path) -> dict[str, Key]:
    """The keys of a store by digest; empty where none was made.

    Raises:
        ManifestInvalid: The file is damaged.
    """
    path = store / FILE
    try:
        listed = json.loads(path.read_bytes())
        keys = [Key(**one) for one in listed]
        if any(key.role not in ROLES for key in keys):
            raise ValueError("an unknown role")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise files.unreadable(path, error) from error
    except (ValueError, TypeError) as error:
        raise ManifestInvalid(f"{path} is no list of keys ({error}); remove it and make new ones") from error
    return {key.digest: key for key in keys}


def create_key(store: Path, role: str, name: str) -> str:
    """Make a key; it is nowhere but in the answer.

    Args:
        store: Folder of the store.
        role: "read", "write" (and read) or "sql" (and read).
        name: Whose it is, to revoke it by.

    Raises:
        ConfigInvalid: Another role, or an impossible name.
        AlreadyExists: The name has a key.
    """
    if role not in ROLES:
        raise ConfigInvalid(f"unknown role {role!r}; {suggest(role, ROLES)}")
    check_name(name, "name of a key")
    with files.locked(store / f".{FILE}.lock"):
        keys = read_keys(store)
        if any(key.name == name for key in keys.values()):
            raise AlreadyExists(f"there is a key named {name!r}; revoke it first, or choose another name")
        made = PREFIX + secrets.token_urlsafe(32)
        key = Key(name, role, datetime.now(UTC).isoformat(timespec="seconds"), digest_of(made))
        _write(store, [*keys.values(), key])
    return made


def revoke_key(store: Path, name: str) -> None:
    """Forget a key; a running service refuses it within a second.

    Raises:
        NotFound: No key of this name.
    """
    with files.locked(store / f".{FILE}.lock"):
        keys = list(read_keys(store).values())
        if all(key.name != name for key in keys):
            raise NotFound(f"no key is named {name!r}; {suggest(name, [key.name for key in keys])}")
        _write(store, [key for key in keys if key.name != name])


def digest_of(key: str) -> str:
    """How a key is stored."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _write(store: Path, keys: list[Key]) -> None:
    content = json.dumps([asdict(key) for key in keys], indent=2) + "\n"
    with files.storing(store / FILE, "no key was made or revoked"):
        files.replace(store / FILE, content.encode(), secret=True)
