"""How much of the rejected responses begins like the chosen one, in rows that sessions left.

An answer begins with its reasoning, and two attempts reason differently: what they have in common is mostly
the first marker. An amended answer has the reasoning of the attempt that the user amended, and its script up
to the first change.

For every reason of a rejection: rows, the share of their rejected tokens, and how many begin alike for more
than the first marker. For all: tokens that a training reads with prompts shared, and with beginnings too. The
last line is one JSON object.

    python bench/common_beginnings.py [DATASET] [--student smollm2]      your own dataset, if none is named
    python bench/student_beats_base.py --keep sessions                   plays some into sessions/before.db
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from dorpo.batches import Group
from dorpo.differences import common_length
from dorpo.encoding import encode_rows
from dorpo.paths import default_path
from dorpo.rendering import marker
from dorpo.store import Store, StoreError
from dorpo.student import load_student


def figures(groups: list[Group], shortest: int) -> dict[str, Any]:
    """Of rows whose common beginnings count from so many tokens on."""
    lengths: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for group in groups:
        for rejected, reason in zip(group.rejected, group.reasons, strict=True):
            lengths[reason.name.lower()].append((common_length(group.chosen, rejected), len(rejected)))
    prompts_shared = sum(
        len(group.prompt) + sum(len(text) - 1 for text in (group.chosen, *group.rejected)) for group in groups
    )
    everything = [pair for pairs in lengths.values() for pair in pairs]
    return {
        "reasons": {
            name: {
                "rows": len(pairs),
                "share": round(sum(common for common, _ in pairs) / sum(length for _, length in pairs), 3),
                "beyond_the_marker": sum(common > shortest for common, _ in pairs),
            }
            for name, pairs in sorted({**lengths, "all": everything}.items())
        },
        "tokens": {
            "apart": sum(group.tokens_apart for group in groups),
            "prompts_shared": prompts_shared,
            "beginnings_shared": sum(group.tokens for group in groups),
        },
    }


def main() -> None:
    """Read, count and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("db", type=Path, nargs="?", default=default_path(), help="a dataset (your own)")
    parser.add_argument("--student", default="smollm2")
    args = parser.parse_args()
    tokens = load_student(args.student).tokens
    try:
        with Store.open(args.db, create=False) as store:
            groups = encode_rows(store.rows(), tokens)
    except StoreError as error:
        sys.exit(str(error))
    if not any(group.rejected for group in groups):
        sys.exit(f"No row in {args.db} has a rejected response: name a dataset of sessions.")
    print(json.dumps(figures(groups, len(tokens.response(marker("reasoning"))))))


if __name__ == "__main__":
    main()
