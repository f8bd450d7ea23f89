"""Why bubblewrap does not start, in words a user can act on."""

import pytest

from precision_shaking.sape.sandbox.probe import explain


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "AppArmor profile"),
        ("bwrap: setting up uid map: Permission denied", "AppArmor profile"),
        (
            "bwrap: No permissions to create new namespace, likely because the kernel ...",
            "seccomp=unconfined",
        ),
        (
            "bwrap: Creating new namespace failed: nesting depth or ... exceeded (ENOSPC)",
            "max_user_namespaces",
        ),
        ("bwrap: Unknown option --disable-userns", "0.8 or newer"),
        ("bwrap: execvp prlimit: No such file or directory", "util-linux"),
        ("bwrap: something never seen\nmore", "something never seen"),
    ],
)
def test_every_known_refusal_has_its_cure(words, cure):
    sentence = explain(words)
    assert cure in sentence
    assert "\n" not in sentence
