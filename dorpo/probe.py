"""A trial of a way of reading: the numbers of separate texts, before anything is trained on it."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dorpo.align import hard
from dorpo.batches import Batch, Group, collate, to_device
from dorpo.forward import response_states
from dorpo.reading import Way
from dorpo.tree import attention_of

# Relative to the size of a token's state: a wrong mask or position is off by far more, rounding by far less.
_TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-3}
_HALF_PRECISION = 0.1
# Half precision turns single tokens over, and a wrong mask is right for the first branch.
_SHARE = 0.75


def measured_obstacle(model: PreTrainedModel, way: Way) -> str | None:
    """What a trial on two small groups says against a way, as a clause; None if it is exact.

    FlexAttention also has to go backward once, because it cannot everywhere.
    """
    if way is Way.SEPARATE:
        return None
    groups = _groups(model.config.get_text_config().vocab_size)
    batch = to_device(collate(groups, shortest=1), model.device)
    training = model.training
    model.eval()  # type: ignore[no-untyped-call]  # of transformers
    try:
        with attention_of(way, model):
            difference = _difference(model, way, batch)
            if way is Way.FLEX:
                _go_backward(model, batch)
    except Exception as error:  # whatever a foreign model raises, it cannot be read in this way
        return f"reading a small example failed ({type(error).__name__}: {error})"
    finally:
        model.train(training)
    if difference <= _TOLERANCES.get(model.dtype, _HALF_PRECISION):
        return None
    return f"a small example gave other numbers than separate texts, by {difference:.0%}"


@torch.no_grad()
def _difference(model: PreTrainedModel, way: Way, batch: Batch) -> float:
    expected = response_states(model, batch, Way.SEPARATE).float()
    found = response_states(model, batch, way).float()
    by_token = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    return float(by_token.quantile(_SHARE))


def _go_backward(model: PreTrainedModel, batch: Batch) -> None:
    trained: list[Tensor] = [weight for weight in model.parameters() if weight.requires_grad]
    states = response_states(model, batch, Way.FLEX)
    torch.autograd.grad(states.float().sum(), trained[0], allow_unused=True)


def _groups(vocabulary: int) -> list[Group]:
    """Two branches on a branch, which are most of it, a third one, and a second tree behind the first."""
    texts = [tuple((start + 7 * place) % vocabulary for place in range(12)) for start in (1, 2, 3, 5)]
    common, short = texts[0][4:6], texts[3][:3]
    chosen = (*common, *texts[1])
    first = Group(texts[0][:4], chosen, hard(chosen), ((*common, *texts[2]), texts[3][:4]))
    second = Group(texts[3][:2], short, hard(short), (texts[2][:3],))
    return [first, second]
