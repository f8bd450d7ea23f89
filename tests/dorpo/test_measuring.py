"""Counts of a tiny student against its own logits, response by response; and which rows are measured."""

from __future__ import annotations

import math

import pytest
import torch
from attrs import evolve
from tiny_student import byte_tokens, llama

from dorpo import softlabels
from dorpo.align import Kind
from dorpo.encoding import encode_rows
from dorpo.evaluation.answers import greedy_answers
from dorpo.evaluation.figures import Pair, summarize
from dorpo.evaluation.measuring import measure
from dorpo.softlabels import TokenScore
from dorpo.store import Row

pytestmark = pytest.mark.train


def labels(text: str) -> bytes:
    """A teacher of single bytes that is sure of the text, or at "e" rather expects an "f"."""
    return softlabels.encode([score(byte) for byte in text.encode()])


def score(byte: int) -> TokenScore:
    own, other = (0.3, 0.6) if byte == ord("e") else (0.7, 0.2)
    top = [(bytes([byte]), math.log(own)), (bytes([byte + 1]), math.log(other))]
    return TokenScore(top[0][0], top[0][1], tuple(sorted(top, key=lambda pair: -pair[1])))


def row(uid: str, prompt: str, chosen: str, rejected: str | None, cycle: int = 1, session: str = "s") -> Row:
    reason = "error" if rejected else None
    return Row(uid, session, 0, prompt, chosen, rejected, reason, "t", cycle, labels(chosen), None)


ROWS = [
    row("a", "say one", "one!", "two"),
    row("b", "say one", "one!", "three??"),
    row("c", "say three", "three", None, cycle=2),
]


@pytest.fixture(scope="module")
def groups():
    return encode_rows(ROWS, byte_tokens())


def logits_of(model, group, response) -> torch.Tensor:
    """[response tokens, V], in double precision."""
    ids = torch.tensor([[*group.prompt, *response]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0].double()
    return logits[len(group.prompt) - 1 : -1]


def mean_logp(model, group, response) -> float:
    logps = logits_of(model, group, response).log_softmax(-1)
    return logps.gather(-1, torch.tensor(response)[:, None]).mean().item()


def test_counts_are_those_of_the_whole_logits(groups):
    model = llama().eval()
    for group, count in zip(groups, measure(model, groups), strict=True):
        chosen = mean_logp(model, group, group.chosen)
        others = [mean_logp(model, group, response) for response in group.rejected]
        assert list(count.pairs) == [Pair("error", float(chosen > other)) for other in others]
        end = logits_of(model, group, group.chosen)[-1].softmax(-1)[group.chosen[-1]]
        assert count.ending == pytest.approx(end.item(), rel=1e-4)
        assert count.chosen_mean == pytest.approx(chosen, rel=1e-5)
        logits = logits_of(model, group, group.chosen)
        kl, agreed, translated = 0.0, 0, 0
        for place, (kind, target) in enumerate(zip(group.labels.kinds, group.labels.targets, strict=True)):
            if kind != Kind.ONE_TO_ONE:
                continue
            student = logits[place].softmax(-1)
            teacher = [math.exp(logprob) for logprob in target.logprobs]
            known = [student[token].item() for token in target.ids]
            events = [*zip(teacher, known, strict=True), (1 - sum(teacher), 1 - sum(known))]
            kl += sum(p * math.log(p / q) for p, q in events)
            favourite = target.ids[teacher.index(max(teacher))]
            agreed += favourite == logits[place].argmax().item()
            translated += 1
        assert (count.scored, count.translated, count.agreed) == (translated, translated, agreed)
        assert count.kl == pytest.approx(kl, rel=1e-4)
    assert [count.cycle for count in measure(model, groups)] == [1, 2]


def test_agreement_counts_a_student_that_follows_its_teacher(groups):
    """The head repeats the teacher's favourites, so that some tokens agree whatever the random layers do."""
    model = llama().eval()
    favourites = {
        ids[0] for group in groups for ids in (target.ids for target in group.labels.targets if target)
    }
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(model.lm_head.weight.shape[0]))
        model.lm_head.bias[min(favourites)] = 1.0
    counted = measure(model, groups)
    expected = sum(
        kind == Kind.ONE_TO_ONE and target.ids[0] == min(favourites)
        for group in groups
        for kind, target in zip(group.labels.kinds, group.labels.targets, strict=True)
    )
    assert sum(count.agreed for count in counted) == expected > 0


def test_a_student_is_left_in_the_mode_it_was_in(groups):
    model = llama().train()
    measure(model, groups)
    assert model.training


def test_ties_count_as_a_half():
    rows = [row("a", "p", "same", "same "), row("b", "q", "one", None)]
    model = llama()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    first, second = measure(model, encode_rows(rows, byte_tokens()))
    assert list(first.pairs) == [Pair("error", 0.5)]
    assert list(second.pairs) == []
    assert summarize([first, second]).chosen_perplexity == pytest.approx(259, rel=1e-4)


def test_rows_without_a_teacher_have_no_distance_to_it():
    hard = evolve(row("a", "p", "x", "y"), chosen_soft_labels=None)
    assert summarize(measure(llama(), encode_rows([hard], byte_tokens()))).kl is None


def test_greedy_answers_are_the_most_probable_tokens(groups):
    model, tokens = llama().eval(), byte_tokens()
    (answer, _) = greedy_answers(model, tokens, groups, most_tokens=6, window=4096)
    written: list[int] = []
    while len(written) < 6 and tokens.end_of_turn not in written:
        logits = logits_of(model, groups[0], [*written, 0])
        written.append(int(logits[-1].argmax()))
    assert (answer.tokens, answer.ended) == (len(written), tokens.end_of_turn in written)
    assert answer.text == tokens.tokenizer.decode(written, skip_special_tokens=True)


def test_an_answer_never_leaves_the_window(groups):
    (first, _) = greedy_answers(
        llama(), byte_tokens(), groups, most_tokens=50, window=len(groups[0].prompt) + 3
    )
    assert first.tokens <= 3
