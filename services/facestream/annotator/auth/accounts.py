"""Accounts of the web UI and the API: users with a password, and tokens; each has a role.

Viewers may read, admins may also change cameras. Passwords are stored as scrypt hashes (RFC 7914),
tokens as plain text; both are compared in constant time. `load_accounts` reads them from files,
because other processes can see arguments and environment variables. Without accounts,
authentication is off.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from facestream.common.core.config_files import read_yaml
from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import register_secret
from facestream.common.security.token_files import read_token

Role = Literal["viewer", "admin"]
MIN_PASSWORD_CHARS = 8
MAX_PASSWORD_CHARS = 256
MAX_USERS = 256

# scrypt N, r, p: 16 MB and about 50 ms per attempt, expensive to guess and cheap to serve.
_COST, _BLOCK_SIZE, _PARALLELISM = 2**14, 8, 1
_MAX_MEMORY_BYTES = 64 * 1024 * 1024
_SALT_BYTES, _HASH_BYTES = 16, 32
_USER_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
# `_USER_NAME` allows no colon: no user can have such a name.
_TOKEN_NAMES: dict[Role, str] = {"admin": ":admin", "viewer": ":viewer"}


@dataclass(frozen=True, slots=True)
class Account:
    """A user, or the holder of a token.

    Attributes:
        name: of the user; for a token it starts with a colon.
        role: viewer or admin.
        secret: the token, or the hash of the password.
    """

    name: str
    role: Role
    secret: str = field(repr=False)

    @property
    def is_admin(self) -> bool:
        """Whether the account may change cameras."""
        return self.role == "admin"


class Accounts:
    """All accounts by name."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._by_name = {account.name: account for account in accounts}
        self._dummy_hash = hash_password(secrets.token_hex(8)) if self._by_name else ""

    def __bool__(self) -> bool:
        """Return whether any account exists."""
        return bool(self._by_name)

    def get(self, name: str) -> Account | None:
        """Return the account with this name, or None."""
        return self._by_name.get(name)

    def token_names(self) -> list[str]:
        """Return the names of the accounts that log in with a token."""
        return [name for name in _TOKEN_NAMES.values() if name in self._by_name]

    def find_by_token(self, token: str) -> Account | None:
        """Return the account of a token, or None."""
        found = None
        for name in _TOKEN_NAMES.values():
            account = self._by_name.get(name)
            if account is not None and hmac.compare_digest(
                account.secret.encode(), token.encode(errors="replace")
            ):
                found = account
        return found

    def verify_password(self, name: str, password: str) -> Account | None:
        """Return the user, or None if the password is wrong.

        Takes tens of milliseconds, for an unknown name too: the time does not reveal which exist.
        """
        account = None if name in _TOKEN_NAMES.values() else self._by_name.get(name)
        stored = account.secret if account else self._dummy_hash
        return account if verify_password_hash(password, stored) else None

    def session_key(self) -> bytes:
        """Return the key that signs sessions.

        It is derived from the admin token, so that sessions outlive a restart and end when the
        token changes. Without an admin token it is random.
        """
        admin = self._by_name.get(_TOKEN_NAMES["admin"])
        if admin is None:
            return secrets.token_bytes(_HASH_BYTES)
        return hashlib.sha256(b"facestream session\0" + admin.secret.encode()).digest()


def hash_password(password: str) -> str:
    """Return a hash for the users file: `scrypt$N$r$p$salt$hash`, the last two in base64."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = _scrypt(password, salt, _COST, _BLOCK_SIZE, _PARALLELISM)
    texts = (base64.b64encode(part).decode() for part in (salt, digest))
    return "$".join(("scrypt", str(_COST), str(_BLOCK_SIZE), str(_PARALLELISM), *texts))


def verify_password_hash(password: str, stored: str) -> bool:
    """Return whether a stored hash belongs to this password; False if it is malformed."""
    try:
        salt, digest, parameters = _parse_hash(stored)
    except ValueError:
        return False
    return hmac.compare_digest(_scrypt(password, salt, *parameters), digest)


def load_accounts(
    token_file: Path | None, viewer_token_file: Path | None, users_file: Path | None
) -> Accounts:
    """Read accounts from files; each file is optional.

    Args:
        token_file: one line, the admin token.
        viewer_token_file: one line, the viewer token.
        users_file: YAML, `users: [{name, role, password}]`, passwords as from `hash_password`.

    Raises:
        SettingsError: a file cannot be read, or its content is malformed or too weak.
    """
    accounts: list[Account] = []
    files: tuple[tuple[Role, Path | None], ...] = (
        ("admin", token_file),
        ("viewer", viewer_token_file),
    )
    for role, file in files:
        if file is not None:
            accounts.append(Account(_TOKEN_NAMES[role], role, read_token(file)))
    if len({account.secret for account in accounts}) < len(accounts):
        raise SettingsError(f"{viewer_token_file}: viewer and admin token must differ")
    if users_file is not None:
        accounts += _read_users(users_file)
    return Accounts(accounts)


def _read_users(file: Path) -> list[Account]:
    document = read_yaml(file)
    entries = document.get("users") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_USERS:
        raise SettingsError(f"{file}: must contain a list 'users' with 1 to {MAX_USERS} entries")
    accounts: dict[str, Account] = {}
    for i, entry in enumerate(entries, start=1):
        where = f"{file}: user {i}"
        if not isinstance(entry, dict) or set(entry) != {"name", "role", "password"}:
            raise SettingsError(f"{where}: must have exactly the keys name, role and password")
        name, role, stored = (entry[key] for key in ("name", "role", "password"))
        if not isinstance(name, str) or not _USER_NAME.fullmatch(name):
            raise SettingsError(f"{where}: name: use lower-case letters, digits and . _ @ -")
        if name in accounts:
            raise SettingsError(f"{where}: duplicate name {name!r}")
        if role not in get_args(Role):
            raise SettingsError(f"{where}: role: must be one of {', '.join(get_args(Role))}")
        try:
            _parse_hash(stored)
        except ValueError:
            raise SettingsError(
                f"{where}: password: not a hash; create one with: facestream hash-password"
            ) from None
        register_secret(stored)
        accounts[name] = Account(name, role, stored)
    return list(accounts.values())


def _parse_hash(stored: object) -> tuple[bytes, bytes, tuple[int, int, int]]:
    """Return salt, hash and scrypt parameters of a stored hash, or raise ValueError."""
    if not isinstance(stored, str):
        raise ValueError("not text")
    scheme, *texts = stored.split("$")
    if scheme != "scrypt" or len(texts) != 5:
        raise ValueError("not scrypt")
    cost, block_size, parallelism = (int(text) for text in texts[:3])
    # Stronger parameters than ours are accepted up to a few seconds and 128 MB per login.
    if not (
        1 < cost <= 2**17
        and cost & (cost - 1) == 0
        and 1 <= block_size <= 8
        and 1 <= parallelism <= 4
    ):
        raise ValueError("parameters out of range")
    try:
        salt, digest = (base64.b64decode(text, validate=True) for text in texts[3:])
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if len(salt) < _SALT_BYTES or len(digest) != _HASH_BYTES:
        raise ValueError("too short")
    return salt, digest, (cost, block_size, parallelism)


def _scrypt(password: str, salt: bytes, cost: int, block_size: int, parallelism: int) -> bytes:
    return hashlib.scrypt(
        password.encode(errors="replace"),
        salt=salt,
        n=cost,
        r=block_size,
        p=parallelism,
        maxmem=_MAX_MEMORY_BYTES * max(1, cost // _COST),
        dklen=_HASH_BYTES,
    )
