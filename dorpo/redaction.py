"""Takes credentials out of texts before they leave the dataset: a model would learn them by heart.

The patterns follow the published shapes of the issuers' keys; each is narrow, so that code stays as it is.
"""

from __future__ import annotations

import re

_RULES = {
    "private-key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    "jwt": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "aws-access-key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
    "github-token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{60,})",
    "gitlab-token": r"\bglpat-[\w-]{20,}",
    "slack-token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "slack-webhook": r"https://hooks\.slack\.com/services/[\w/]{20,}",
    "google-api-key": r"\bAIza[\w-]{35}",
    "stripe-key": r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "model-provider-key": r"\bsk-(?=[\w-]*\d)[\w-]{20,}",
    "huggingface-token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "npm-token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "pypi-token": r"\bpypi-AgEI[\w-]{50,}",
    "sendgrid-key": r"\bSG\.[\w-]{16,}\.[\w-]{32,}",
    "telegram-token": r"\b\d{8,10}:AA[\w-]{33}\b",
    "url-password": r"(?<=://)[^\s:/@'\"{}$<]+:[^\s:/@'\"{}$<]{3,}(?=@)",
}

# A value is taken for a secret only where its name says so and it looks random: letters and digits, no words.
_NAMED = re.compile(
    r"""(?P<name>(?:api_?key|secret|token|passw(?:or)?d|credential)\w*["']?\s*[:=]\s*["'])"""
    r"""(?P<value>(?=[^"']*\d)(?=[^"']*[A-Za-z])[\w+/=.~-]{16,})(?=["'])""",
    re.IGNORECASE,
)
_SHAPED = re.compile("|".join(f"(?P<r{n}>{rule})" for n, rule in enumerate(_RULES.values())), re.DOTALL)
_NAMES = tuple(_RULES)


def redact(text: str) -> tuple[str, int]:
    """Replace every credential by `<SECRET:rule>`.

    Returns:
        The text, and how many credentials were in it.
    """
    text, shaped = _SHAPED.subn(lambda found: f"<SECRET:{_NAMES[int((found.lastgroup or 'r0')[1:])]}>", text)
    text, named = _NAMED.subn(lambda found: f"{found['name']}<SECRET:named-secret>", text)
    return text, shaped + named
