from __future__ import annotations

from pathlib import Path

import pytest
from facestream.annotator.auth.accounts import (
    Account,
    Accounts,
    hash_password,
    load_accounts,
    verify_password_hash,
)
from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import redact

TOKEN, OTHER = "a" * 24, "b" * 24


def test_password_matches_its_hash_and_every_hash_is_unique() -> None:
    stored = hash_password("correct horse")
    assert "correct" not in stored
    assert verify_password_hash("correct horse", stored)
    assert not verify_password_hash("correct horse ", stored)
    assert hash_password("correct horse") != stored
    assert not verify_password_hash("x", "scrypt$16384$8$1$AAAA$BBBB")
    assert not verify_password_hash("x", "plain")


def test_files_become_accounts_and_their_secrets_are_redacted(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "viewer").write_text(OTHER)
    stored = hash_password("a long word")
    (tmp_path / "users.yaml").write_text(
        f"users: [{{name: anna@example.org, role: viewer, password: '{stored}'}}]"
    )
    accounts = load_accounts(tmp_path / "token", tmp_path / "viewer", tmp_path / "users.yaml")
    admin, viewer = accounts.find_by_token(TOKEN), accounts.find_by_token(OTHER)
    assert admin is not None
    assert admin.is_admin
    assert viewer is not None
    assert not viewer.is_admin
    anna = accounts.verify_password("anna@example.org", "a long word")
    assert anna == accounts.get("anna@example.org")
    assert anna is not None
    assert not anna.is_admin
    assert TOKEN not in redact(f"it was {TOKEN}")
    assert stored not in redact(stored)
    assert TOKEN not in repr(admin)


@pytest.mark.parametrize("token", ["", "a" * 23, OTHER, "ü" * 24, "a b" * 10])
def test_unknown_token_has_no_account(token: str) -> None:
    assert Accounts([Account(":admin", "admin", TOKEN)]).find_by_token(token) is None


def test_token_is_no_password_and_hash_is_no_token() -> None:
    stored = hash_password("a long word")
    accounts = Accounts([Account(":admin", "admin", TOKEN), Account("anna", "admin", stored)])
    assert accounts.verify_password(":admin", TOKEN) is None
    assert accounts.find_by_token(stored) is None
    assert accounts.verify_password("nobody", "a long word") is None
    assert accounts.verify_password("anna", "\ud800") is None


def test_without_files_there_are_no_accounts() -> None:
    assert not load_accounts(None, None, None)


@pytest.mark.parametrize("text", ["", "short", "two\nlines-of-a-token-long-enough", "ü" * 40])
def test_weak_token_is_rejected_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(SettingsError, match="a token needs at least 24 letters") as refused:
        load_accounts(tmp_path / "token", None, None)
    assert not text or text not in str(refused.value)
    with pytest.raises(SettingsError, match="No such file"):
        load_accounts(tmp_path / "none", None, None)


def test_both_tokens_must_differ(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with pytest.raises(SettingsError, match="viewer and admin token must differ"):
        load_accounts(tmp_path / "token", tmp_path / "token", None)


GOOD = hash_password("a long word")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must contain a list"),
        ("users: []", "must contain a list"),
        ("users: [anna]", "must have exactly the keys name, role and password"),
        (
            "users: [{name: anna, role: admin}]",
            "must have exactly the keys name, role and password",
        ),
        (f"users: [{{name: 'A|b', role: admin, password: '{GOOD}'}}]", "name: use lower-case"),
        (f"users: [{{name: ':admin', role: admin, password: '{GOOD}'}}]", "name: use lower-case"),
        (f"users: [{{name: a, role: root, password: '{GOOD}'}}]", "role: must be one of"),
        ("users: [{name: a, role: admin, password: swordfish}]", "password: not a hash"),
        (
            f"users: [{{name: a, role: admin, password: '{GOOD.replace('16384', '1048576')}'}}]",
            "password: not a hash",
        ),
        (
            f"users: [{{name: a, role: admin, password: '{GOOD}'}}, "
            f"{{name: a, role: viewer, password: '{GOOD}'}}]",
            "duplicate name 'a'",
        ),
    ],
)
def test_invalid_users_file_is_reported_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "users.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message) as refused:
        load_accounts(None, None, tmp_path / "users.yaml")
    assert "swordfish" not in str(refused.value)
