from __future__ import annotations

import pytest
from facestream.annotator.auth import sessions as module
from facestream.annotator.auth.accounts import Account, Accounts
from facestream.annotator.auth.sessions import SESSION_LIFETIME_S, Sessions

ADMIN = Account(":admin", "admin", "t" * 24)
ANNA = Account("anna@example.org", "viewer", "scrypt$…")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(Accounts([ADMIN, ANNA]), clock)


def test_session_is_valid_until_it_expires(sessions: Sessions, clock: Clock) -> None:
    session = sessions.create(ANNA)
    assert session != sessions.create(ANNA)
    assert sessions.verify(session) == ANNA
    clock.now_s += SESSION_LIFETIME_S - 1
    assert sessions.verify(session) == ANNA
    clock.now_s += 2
    assert sessions.verify(session) is None


def test_logout_revokes_one_session(sessions: Sessions) -> None:
    first, second = sessions.create(ANNA), sessions.create(ANNA)
    sessions.revoke(first)
    assert sessions.verify(first) is None
    assert sessions.verify(second) == ANNA


def test_modified_session_is_invalid(sessions: Sessions) -> None:
    session = sessions.create(ANNA)
    for i in range(len(session)):
        changed = session[:i] + ("1" if session[i] != "1" else "2") + session[i + 1 :]
        assert sessions.verify(changed) is None
    for foreign in ("", "|", "|||", ":admin|9999999999|00|", "anna@example.org", "ü" * 99, "\0"):
        assert sessions.verify(foreign) is None


def test_sessions_end_with_a_new_password_or_token_or_without_the_account(clock: Clock) -> None:
    before = Sessions(Accounts([ADMIN, ANNA]), clock)
    annas, admins = before.create(ANNA), before.create(ADMIN)
    restarted = Sessions(Accounts([ADMIN, ANNA]), clock)
    assert restarted.verify(annas) == ANNA
    assert restarted.verify(admins) == ADMIN
    for accounts in (
        [ADMIN],
        [ADMIN, Account(ANNA.name, "viewer", "scrypt$other")],
        [Account(":admin", "admin", "u" * 24), ANNA],
        [ANNA],
    ):
        assert Sessions(Accounts(accounts), clock).verify(annas) is None


def test_revoked_sessions_use_bounded_memory(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REVOKED", 10)
    for _ in range(30):
        sessions.revoke(sessions.create(ANNA))
    for i in range(1000):
        sessions.revoke(f"forged {i}")
    assert len(sessions._revoked) == 10
