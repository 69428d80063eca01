"""Who may come in, and as what: users with a password, and bearers of a token.

A viewer may look, an admin may also change cameras. Passwords are kept as scrypt hashes (RFC 7914)
and tokens as they are; both are compared in constant time. `load_accounts` reads them from files,
as arguments and variables are seen by others. No accounts at all means that the door is open.
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

# 16 MB and about 50 ms a try: dear to guess, cheap to serve.
_COST, _BLOCK, _LANES = 2**14, 8, 1
_MAX_MEMORY_BYTES = 64 * 1024 * 1024
_SALT_BYTES, _HASH_BYTES = 16, 32
_USER_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
# No user can have such a name.
_TOKEN_NAMES: dict[Role, str] = {"admin": ":admin", "viewer": ":viewer"}


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may come in.

    name: of the user; begins with a colon where it is whoever bears a token.
    secret: the token, or the hash of the password.
    """

    name: str
    role: Role
    secret: str = field(repr=False)

    @property
    def is_admin(self) -> bool:
        """Whether it may change cameras."""
        return self.role == "admin"


class Accounts:
    """All that may come in."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._by_name = {account.name: account for account in accounts}
        self._nobody = hash_password(secrets.token_hex(8)) if self._by_name else ""

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def get(self, name: str) -> Account | None:
        """The account of this name."""
        return self._by_name.get(name)

    def find_by_token(self, token: str) -> Account | None:
        """Whose token this is."""
        found = None
        for name in _TOKEN_NAMES.values():
            account = self._by_name.get(name)
            if account is not None and hmac.compare_digest(
                account.secret.encode(), token.encode(errors="replace")
            ):
                found = account
        return found

    def verify_password(self, name: str, password: str) -> Account | None:
        """The user, if the password is theirs. Takes tens of milliseconds, whoever it is."""
        account = None if name in _TOKEN_NAMES.values() else self._by_name.get(name)
        is_right = verify_password_hash(password, account.secret if account else self._nobody)
        return account if is_right else None

    def session_key(self) -> bytes:
        """What sessions are signed with: of the admin's token, so that they outlive a restart of
        the service and end with the token; without one, of chance."""
        admin = self._by_name.get(_TOKEN_NAMES["admin"])
        if admin is None:
            return secrets.token_bytes(_HASH_BYTES)
        return hashlib.sha256(b"facestream session\0" + admin.secret.encode()).digest()


def hash_password(password: str) -> str:
    """A line for the users' file: `scrypt$cost$block$lanes$salt$hash`, the last two in base64."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = _scrypt(password, salt, _COST, _BLOCK, _LANES)
    texts = (base64.b64encode(part).decode() for part in (salt, digest))
    return "$".join(("scrypt", str(_COST), str(_BLOCK), str(_LANES), *texts))


def verify_password_hash(password: str, stored: str) -> bool:
    """Whether the stored line is this password's."""
    try:
        salt, digest, numbers = _parsed(stored)
    except ValueError:
        return False
    return hmac.compare_digest(_scrypt(password, salt, *numbers), digest)


def load_accounts(
    token_file: Path | None, viewer_token_file: Path | None, users_file: Path | None
) -> Accounts:
    """The accounts that these files hold; each file may be left out.

    Args:
        token_file: one line, the admin's token.
        viewer_token_file: one line, the viewers' token.
        users_file: YAML, `users: [{name, role, password}]`, passwords as of `hash_password`.

    Raises:
        SettingsError: a file cannot be read, or what it holds is too weak or malformed.
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
        raise SettingsError(f"{viewer_token_file}: the same token as the admin's")
    if users_file is not None:
        accounts += _read_users(users_file)
    return Accounts(accounts)


def _read_users(file: Path) -> list[Account]:
    document = read_yaml(file)
    entries = document.get("users") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_USERS:
        raise SettingsError(f"{file}: must hold a list of 1 to {MAX_USERS} under 'users'")
    accounts: dict[str, Account] = {}
    for i, entry in enumerate(entries, start=1):
        where = f"{file}: user {i}"
        if not isinstance(entry, dict) or set(entry) != {"name", "role", "password"}:
            raise SettingsError(f"{where}: must have name, role and password, and nothing else")
        name, role, stored = (entry[key] for key in ("name", "role", "password"))
        if not isinstance(name, str) or not _USER_NAME.fullmatch(name):
            raise SettingsError(f"{where}: name: use lower-case letters, digits, and . _ @ -")
        if name in accounts:
            raise SettingsError(f"{where}: {name!r} is given twice")
        if role not in get_args(Role):
            raise SettingsError(f"{where}: role: must be one of {', '.join(get_args(Role))}")
        try:
            _parsed(stored)
        except ValueError:
            raise SettingsError(
                f"{where}: password: not a hash; make one with: facestream hash-password"
            ) from None
        register_secret(stored)
        accounts[name] = Account(name, role, stored)
    return list(accounts.values())


def _parsed(stored: object) -> tuple[bytes, bytes, tuple[int, int, int]]:
    """Salt, hash and numbers of a stored line; ValueError where it is not one."""
    if not isinstance(stored, str):
        raise ValueError("not text")
    kind, *texts = stored.split("$")
    if kind != "scrypt" or len(texts) != 5:
        raise ValueError("not scrypt")
    cost, block, lanes = (int(text) for text in texts[:3])
    # Dearer than what is made here, if need be: a few seconds and 128 MB a login, not more.
    if not (1 < cost <= 2**17 and cost & (cost - 1) == 0 and 1 <= block <= 8 and 1 <= lanes <= 4):
        raise ValueError("numbers out of range")
    try:
        salt, digest = (base64.b64decode(text, validate=True) for text in texts[3:])
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if len(salt) < _SALT_BYTES or len(digest) != _HASH_BYTES:
        raise ValueError("too short")
    return salt, digest, (cost, block, lanes)


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    return hashlib.scrypt(
        password.encode(errors="replace"),
        salt=salt,
        n=cost,
        r=block,
        p=lanes,
        maxmem=_MAX_MEMORY_BYTES * max(1, cost // _COST),
        dklen=_HASH_BYTES,
    )
