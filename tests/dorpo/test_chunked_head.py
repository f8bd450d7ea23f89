"""The chunked head against the plain form and its autograd."""

from __future__ import annotations

import pytest
import torch

from dorpo.chunked_head import chunked_topk_kl_and_logps
from dorpo.head import Head
from dorpo.loss import topk_kl_and_logps

pytestmark = pytest.mark.train

TOKENS, WIDTH, VOCABULARY, K = 37, 16, 301, 7
HEADS = [{}, {"scale": 0.5}, {"softcap": 2.0}, {"scale": 3.0, "softcap": 5.0}]


def labels(k=K):
    torch.manual_seed(1)
    teacher = (torch.randn(TOKENS, VOCABULARY) * 3).log_softmax(-1)
    logps, ids = teacher.topk(k, -1)
    target = torch.randint(0, VOCABULARY, (TOKENS,))
    target[:20] = ids[:20, min(2, k - 1)]
    mask = torch.arange(k) < torch.randint(1, k + 1, (TOKENS, 1))
    mask[5] = False
    # What padding holds must not matter.
    return target, ids.masked_fill(~mask, 0), logps.masked_fill(~mask, 0.0), mask


def parameters(dtype=torch.float32):
    torch.manual_seed(0)
    shapes = ((TOKENS, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,))
    return [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]


def backward(kl, logps):
    torch.manual_seed(2)
    (torch.rand(TOKENS) * kl + torch.randn(TOKENS) * logps).sum().backward()


@pytest.mark.parametrize("chunk", [1, 8, 37, 100])
@pytest.mark.parametrize("options", HEADS)
def test_values_and_gradients_are_those_of_the_plain_form(options, chunk):
    plain, chunked = parameters(), parameters()
    expected = topk_kl_and_logps(Head(plain[1], plain[2], **options).logits(plain[0]), *labels())
    result = chunked_topk_kl_and_logps(
        chunked[0], Head(chunked[1], chunked[2], **options), *labels(), chunk=chunk
    )
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-5)
    backward(*expected)
    backward(*result)
    for ours, theirs in zip(chunked, plain, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("k", [1, VOCABULARY - 1, VOCABULARY])
def test_the_ends_of_k(k):
    plain, chunked = parameters(), parameters()
    target, ids, logps, _ = labels(k)
    everything = torch.ones(TOKENS, k, dtype=torch.bool)
    torch.manual_seed(1)
    logps, ids = (torch.randn(TOKENS, VOCABULARY) * 3).log_softmax(-1).topk(k, -1)
    expected = topk_kl_and_logps(Head(plain[1]).logits(plain[0]), target, ids, logps, everything)
    result = chunked_topk_kl_and_logps(chunked[0], Head(chunked[1]), target, ids, logps, everything)
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-5)
    backward(*expected)
    backward(*result)
    torch.testing.assert_close(chunked[0].grad, plain[0].grad, atol=5e-5, rtol=1e-4)


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, _ = parameters()
    weight.requires_grad_(False)
    backward(*chunked_topk_kl_and_logps(hidden, Head(weight), *labels(), chunk=8))
    assert hidden.grad is not None
    assert weight.grad is None


def test_half_precision_comes_close():
    exact, half = parameters(), parameters(torch.bfloat16)
    expected = chunked_topk_kl_and_logps(exact[0], Head(exact[1], exact[2]), *labels())
    result = chunked_topk_kl_and_logps(half[0], Head(half[1], half[2]), *labels(), chunk=8)
    assert result[0].dtype == torch.float32
    torch.testing.assert_close(result, expected, atol=0.2, rtol=0.05)
    backward(*expected)
    backward(*result)
    assert half[0].grad.dtype == torch.bfloat16
    torch.testing.assert_close(half[0].grad.float(), exact[0].grad, atol=0.2, rtol=0.1)
