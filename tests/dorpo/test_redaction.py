"""Credentials leave a text, code does not."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorpo.redaction import redact

# Put together here, so that no scanner takes this file for a leak.
BODY = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"
SECRETS = {
    "private-key": "-----BEGIN RSA " + "PRIVATE KEY-----\nabc\n-----END RSA " + "PRIVATE KEY-----",
    "jwt": "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0." + BODY,
    "aws-access-key": "AK" + "IA" + "ABCDEFGHIJKLMN23",
    "github-token": "gh" + "p_" + BODY,
    "gitlab-token": "gl" + "pat-" + BODY[:20],
    "slack-token": "xo" + "xb-" + "123456789012-" + BODY[:24],
    "google-api-key": "AI" + "za" + BODY[:35],
    "stripe-key": "sk" + "_live_" + BODY[:24],
    "model-provider-key": "sk" + "-proj-" + BODY,
    "huggingface-token": "hf" + "_" + "abcdefghijKLMNOPQRSTuvwxyzabcdefgh",
    "npm-token": "np" + "m_" + BODY[:36],
    "pypi-token": "py" + "pi-AgEI" + BODY + BODY,
    "sendgrid-key": "S" + "G." + BODY[:22] + "." + BODY,
    "url-password": "user:" + "hunter2",
}


@pytest.mark.parametrize(("rule", "secret"), SECRETS.items(), ids=SECRETS.keys())
def test_a_credential_is_replaced_by_its_kind(rule: str, secret: str) -> None:
    text = f'x = "postgres://{secret}@host/db"' if rule == "url-password" else f'x = "{secret}"\nprint(x)\n'
    assert redact(text) == (text.replace(secret, f"<SECRET:{rule}>"), 1)


@pytest.mark.parametrize("name", ["password", "API_KEY", "client_secret", "'token'", "dbPassword"])
def test_a_random_value_with_a_telling_name_is_replaced(name: str) -> None:
    assert redact(f'{name} = "{BODY}"') == (f'{name} = "<SECRET:named-secret>"', 1)


@pytest.mark.parametrize(
    "code",
    [
        'token = "next"',
        'password = os.environ["PASSWORD"]',
        'secret_name = "database-password"',
        'url = "https://example.org:8080/path@v2"',
        'dsn = f"postgres://{user}:{password}@host"',
        "task-1234567890-something-long-enough-here",
        "sha256 = '" + "0" * 64 + "'",
    ],
)
def test_ordinary_code_stays(code: str) -> None:
    assert redact(code) == (code, 0)


def test_the_standard_library_stays_as_it_is() -> None:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    changed = [file.name for file in files if redact(file.read_text(encoding="utf-8"))[1]]
    assert len(files) > 100
    assert changed == []


@given(st.text(max_size=200))
def test_redacting_again_changes_nothing(text: str) -> None:
    once, _ = redact(text)
    assert redact(once) == (once, 0)
