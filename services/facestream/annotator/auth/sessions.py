"""Login sessions as signed cookies. No I/O.

A session is `name|expiry|random token|signature`. The server stores no sessions, so logins cannot
exhaust its memory. A session is valid until it expires or is revoked by logout, and as long as its
account exists with the same password or token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

from facestream.annotator.auth.accounts import Account, Accounts

SESSION_LIFETIME_S = 30 * 24 * 3600
DEVICE_LIFETIME_S = 365 * 24 * 3600
MAX_REVOKED = 4096
_NONCE_BYTES = 12
_DEVICE = "device\0"  # distinguishes its signature from that of a session


class Sessions:
    """Creates, verifies and revokes sessions.

    Args:
        accounts: the accounts that sessions belong to.
        clock: Unix time in seconds, because sessions outlive the process.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float]) -> None:
        self._accounts, self._clock = accounts, clock
        self._key = accounts.session_key()
        self._revoked: dict[str, None] = {}  # oldest first; the oldest is evicted first

    def create(self, account: Account) -> str:
        """Return the cookie value of a new session."""
        expiry = int(self._clock() + SESSION_LIFETIME_S)
        payload = f"{account.name}|{expiry}|{secrets.token_hex(_NONCE_BYTES)}"
        return f"{payload}|{self._signature(payload, account)}"

    def verify(self, session: str) -> Account | None:
        """Return the account of a session, or None if it is forged, expired or revoked."""
        payload, _, signature = session.rpartition("|")
        name, _, rest = payload.partition("|")
        expiry = rest.partition("|")[0]
        account = self._accounts.get(name)
        if account is None or not _equal(signature, self._signature(payload, account)):
            return None
        if session in self._revoked or int(expiry) < self._clock():
            return None
        return account

    def create_device(self, account: Account) -> str:
        """Return the cookie value that marks a device from which the account has logged in.

        It grants no access. It only exempts the device from the login limits of other addresses.
        """
        expiry = int(self._clock() + DEVICE_LIFETIME_S)
        payload = f"{account.name}|{expiry}|{secrets.token_hex(_NONCE_BYTES)}"
        return f"{payload}|{self._signature(_DEVICE + payload, account)}"

    def verify_device(self, cookie: str, name: str) -> str:
        """Return the id of a known device of this account; empty if it is none."""
        payload, _, signature = cookie.rpartition("|")
        owner, _, rest = payload.partition("|")
        expiry, _, device = rest.partition("|")
        account = self._accounts.get(owner)
        if account is None or owner != name:
            return ""
        if not _equal(signature, self._signature(_DEVICE + payload, account)):
            return ""
        return device if int(expiry) >= self._clock() else ""

    def revoke(self, session: str) -> None:
        """Invalidate a session at logout."""
        if self.verify(session) is None:
            return
        self._revoked[session] = None
        while len(self._revoked) > MAX_REVOKED:
            del self._revoked[next(iter(self._revoked))]

    def _signature(self, payload: str, account: Account) -> str:
        message = f"{payload}\0{account.secret}".encode(errors="replace")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def _equal(signature: str, expected: str) -> bool:
    return hmac.compare_digest(signature.encode(errors="replace"), expected.encode())
