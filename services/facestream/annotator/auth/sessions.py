"""Sessions: what a browser that came in holds, as a signed cookie. Pure.

The server keeps no list of them, so there is none to fill up. A session is
`name|ends|chance|signature`; it is good until its end, as long as its account is there with the
same password or token, and until it is signed out of.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

from facestream.annotator.auth.accounts import Account, Accounts

SESSION_S = 30 * 24 * 3600
MAX_ENDED = 4096
_CHANCE_BYTES = 12


class Sessions:
    """Makes sessions and knows them again.

    Args:
        accounts: whose sessions they are.
        clock: Unix time in seconds, as sessions outlive the process.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float]) -> None:
        self._accounts, self._clock = accounts, clock
        self._key = accounts.session_key()
        self._ended: dict[str, None] = {}  # in order, the oldest is forgotten first

    def create(self, account: Account) -> str:
        """The text of a new session."""
        ends = int(self._clock() + SESSION_S)
        told = f"{account.name}|{ends}|{secrets.token_hex(_CHANCE_BYTES)}"
        return f"{told}|{self._signature(told, account)}"

    def verify(self, session: str) -> Account | None:
        """Whose session this is; None where it is forged, over or ended."""
        told, _, signature = session.rpartition("|")
        name, _, rest = told.partition("|")
        ends = rest.partition("|")[0]
        account = self._accounts.get(name)
        if account is None or not _same(signature, self._signature(told, account)):
            return None
        if session in self._ended or int(ends) < self._clock():
            return None
        return account

    def revoke(self, session: str) -> None:
        """Sign out: this session is not good any more."""
        if self.verify(session) is None:
            return
        self._ended[session] = None
        while len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def _signature(self, told: str, account: Account) -> str:
        message = f"{told}\0{account.secret}".encode(errors="replace")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())
