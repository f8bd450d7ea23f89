"""How like words are to others whose meaning is known, by the letters they are written with.

Words are what stretches of one to five characters they have, as vectors of unit length, so that neither a
language's words nor its script need be known. A ridge regression on their inner products makes a score of
each meaning of them. Pure, and without a model.

Source: kernel ridge regression, Saunders, Gammerman and Vovk 1998; character n-grams of several lengths as in
https://arxiv.org/abs/1607.04606.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Self

import numpy as np
import numpy.typing as npt
from attrs import frozen

Floats = npt.NDArray[np.float64]
# Chosen with the ridge on the development half of the labelled feedback.
_LONGEST_GRAM = 5
_RIDGE = 0.1


@frozen
class Labelled:
    """Words, and what they mean."""

    words: str
    meaning: str


@frozen(eq=False)
class Likeness:
    """Examples, and what each of them counts for.

    Attributes:
        meanings: The meanings, in the order of the columns below.
        postings: For every stretch, the examples that have it and its weight in each.
        weights: What likeness to an example adds to each meaning's score; shape (examples, meanings).
        shares: Each meaning's share of the examples, its score where nothing is alike; shape (meanings,).
    """

    meanings: tuple[str, ...]
    postings: Mapping[str, tuple[npt.NDArray[np.intp], Floats]]
    weights: Floats
    shares: Floats

    @classmethod
    def of(cls, examples: Sequence[Labelled], meanings: Sequence[str]) -> Self:
        """Learn from examples, at least one, all with one of these meanings."""
        vectors = [_vector(example.words) for example in examples]
        postings = _postings(vectors)
        products = np.array([_products(vector, postings, len(examples)) for vector in vectors])
        meant: Floats = np.array(
            [[example.meaning == meaning for meaning in meanings] for example in examples], float
        )
        shares: Floats = meant.mean(axis=0)
        weights = np.linalg.solve(products + _RIDGE * np.eye(len(examples)), meant - shares)
        return cls(tuple(meanings), postings, weights.astype(np.float64), shares)

    def scores(self, words: str) -> dict[str, float]:
        """Each meaning's score, about 1 of what is like its examples only; they sum up to 1."""
        scores = self.shares + _products(_vector(words), self.postings, len(self.weights)) @ self.weights
        return dict(zip(self.meanings, scores.tolist(), strict=True))


def folded(words: str) -> str:
    """Words without what says nothing: case, the width of signs, and the kind and number of spaces."""
    return " ".join(unicodedata.normalize("NFKC", words).casefold().split())


def _vector(words: str) -> dict[str, float]:
    # The ends count as well: a question mark in the middle asks less than one at the end.
    text = f" {folded(words)} "
    lengths = range(1, _LONGEST_GRAM + 1)
    counts = Counter(text[i : i + n] for n in lengths for i in range(len(text) - n + 1))
    # The root keeps a letter that is everywhere from outweighing the rest.
    length = sqrt(counts.total())
    return {gram: sqrt(count) / length for gram, count in counts.items()}


def _postings(vectors: Sequence[Mapping[str, float]]) -> dict[str, tuple[npt.NDArray[np.intp], Floats]]:
    found: defaultdict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for number, vector in enumerate(vectors):
        for gram, weight in vector.items():
            numbers, weights = found[gram]
            numbers.append(number)
            weights.append(weight)
    return {
        gram: (np.array(numbers, np.intp), np.array(weights)) for gram, (numbers, weights) in found.items()
    }


def _products(
    vector: Mapping[str, float], postings: Mapping[str, tuple[npt.NDArray[np.intp], Floats]], examples: int
) -> Floats:
    """The inner product of a vector with each example's; shape (examples,)."""
    products = np.zeros(examples)
    for gram, weight in vector.items():
        if gram in postings:
            numbers, weights = postings[gram]
            products[numbers] += weight * weights
    return products
