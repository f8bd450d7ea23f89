"""How texts are read is chosen by what is exact; every way to get it silently wrong is one of these tests."""

from __future__ import annotations

import pytest
import torch
from tiny_models import WINDOW, gradients, group, make, related

from dorpo.batches import collate
from dorpo.forward import response_states, separate_states, token_scores
from dorpo.probe import measured_obstacle
from dorpo.reading import Way, choose_reading, obstacle, quick_way
from dorpo.tree import Forest, layer_masks

pytestmark = pytest.mark.train

BATCH = [
    group(20, 17, 25, 9, seed=1),
    group(5, 1, 30, seed=2),
    related(9, (0, 0, 30), (0, 20, 7), (0, 0, 5), (1, 24, 12), seed=3),
]

# FlexAttention is made to be compiled, which a test of its values does not need.
uncompiled = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning",
    "ignore:flex_attention called without torch.compile:UserWarning",
)


def choose(model, wanted="auto", device="cpu", **options):
    return choose_reading(
        model, device, wanted=wanted, measured=lambda way: measured_obstacle(model, way), **options
    )


def forest(batch):
    return Forest(batch["position_ids"], batch["until"])


def read_row(model, batch, mask):
    states = model.get_decoder()(
        input_ids=batch["input_ids"][None],
        position_ids=batch["position_ids"][None],
        attention_mask=mask,
        use_cache=False,
    )
    return states.last_hidden_state[0, batch["source"]]


def difference(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "mistral", "mixtral"])
def test_keys_and_values_are_kept_where_nothing_speaks_against_it(name):
    model = make(name)
    assert choose(model).way is Way.KV
    assert quick_way(model) is Way.KV
    assert choose(model, "tree").way is Way.TREE
    assert choose(model, "off").way is Way.SEPARATE


def test_checkpointing_drops_a_prompts_keys_and_values_so_a_tree_is_read():
    model = make("llama").train()
    model.activation_checkpointing_enable()
    reading = choose(model)
    assert reading.way is Way.TREE
    assert "gradient checkpointing drops the keys and values" in reading.reason
    with pytest.raises(ValueError, match="checkpointing drops the keys"):
        choose(model, "kv")
    plain, batch = make("llama").train(), collate(BATCH)
    for student, way in ((model, reading.way), (plain, Way.SEPARATE)):
        kl, logps = token_scores(student, batch, way=way)
        (kl - logps).sum().backward()
    assert difference(gradients(model), gradients(plain)) < 1e-5


def test_what_is_refused_under_checkpointing_would_be_wrong():
    model, plain, batch = make("llama").train(), make("llama").train(), collate(BATCH)
    model.activation_checkpointing_enable()
    assert difference(response_states(model, batch, Way.KV), separate_states(plain, batch)) > 0.1


def test_checkpointing_that_is_still_to_come_counts_too():
    assert choose(make("llama"), checkpointing=True).way is Way.TREE


def test_eager_attention_adds_its_mask_so_it_gets_numbers():
    model, batch = make("llama", "eager"), collate(BATCH)
    mask = layer_masks(model, forest(batch))
    assert mask.dtype == model.dtype
    expected = separate_states(model, batch)
    assert difference(read_row(model, batch, mask), expected) < 1e-5
    assert difference(read_row(model, batch, mask == 0), expected) > 0.01


def test_other_attention_gets_booleans():
    assert layer_masks(make("llama"), forest(collate(BATCH))).dtype == torch.bool


def test_positions_of_a_tree_without_its_mask_are_wrong():
    model, batch = make("llama"), collate(BATCH)
    assert difference(read_row(model, batch, None), separate_states(model, batch)) > 0.1


def test_layers_with_and_without_a_window_get_masks_of_their_own():
    model, batch = make("gemma3"), collate(BATCH)
    masks = layer_masks(model, forest(batch))
    assert set(masks) == {"full_attention", "sliding_attention"}
    expected = separate_states(model, batch)
    assert difference(read_row(model, batch, masks), expected) < 1e-5
    assert difference(read_row(model, batch, masks["full_attention"]), expected) > 0.01


def test_a_window_counts_positions_and_not_places_in_the_row():
    row = forest(collate([group(WINDOW, 3, 3, seed=1)]))
    last_branch = torch.tensor(WINDOW + 2)
    seen = [place for place in range(WINDOW + 4) if row.sees(last_branch, torch.tensor(place), WINDOW)]
    assert seen == [*range(1, WINDOW), WINDOW + 2]


def test_layers_without_attention_are_read_plainly():
    model = make("lfm2")
    reading = choose(model)
    assert reading.way is quick_way(model) is Way.SEPARATE
    assert "layers whose state cannot be attended to" in reading.reason
    for wanted in ("kv", "tree"):
        with pytest.raises(ValueError, match="would train on wrong numbers"):
            choose(model, wanted)


def test_a_model_that_a_tree_is_inexact_for_is_found_by_trying():
    model = make("bloom", "eager")
    assert obstacle(model, Way.TREE, "cpu", checkpointing=False) is None
    assert measured_obstacle(model, Way.TREE) is not None
    assert choose(model, checkpointing=True).way is Way.SEPARATE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", [Way.KV, Way.TREE])
def test_a_trial_tells_rounding_from_a_wrong_mask(monkeypatch, way, dtype):
    model = make("llama").to(dtype)
    assert measured_obstacle(model, way) is None
    monkeypatch.setattr(Forest, "sees", lambda _self, query, key, _window=None: query >= key)
    assert (measured_obstacle(model, way) is None) == (way is Way.KV)


@pytest.mark.parametrize("blind", ["first", "second"])
def test_a_trial_finds_a_branch_that_does_not_see_the_branch_it_grows_from(monkeypatch, blind):
    whole = Forest.sees

    def sees(self, query, key, window=None):
        distance, steps = query - key, self.position[query] - self.position[key]
        ends_before = self.until[query] < self.until[key]
        hidden = ends_before if blind == "first" else (distance > steps) & ~ends_before
        return whole(self, query, key, window) & ((self.position[key] < 4) | ~hidden)

    monkeypatch.setattr(Forest, "sees", sees)
    assert measured_obstacle(make("llama"), Way.TREE) is not None


def test_the_first_token_of_every_branch_is_predicted_by_the_last_of_the_prompt():
    model, batch = make("llama"), collate(BATCH)
    for way in (Way.KV, Way.TREE, Way.SEPARATE):
        states = response_states(model, batch, way)
        starts = [(batch["seq_ids"] == seq).nonzero()[0].item() for seq in range(3)]
        prompt = batch["input_ids"][:20]
        last = model.get_decoder()(input_ids=prompt[None]).last_hidden_state[0, -1]
        torch.testing.assert_close(states[starts], last.expand(3, -1), atol=2e-5, rtol=1e-4)


def test_dropout_is_noted():
    assert choose(make("llama")).notes == ()
    (note,) = choose(make("llama", attention_dropout=0.1)).notes
    assert "dropout" in note


def test_experts_add_no_loss_of_their_own():
    quiet, loud = (make("mixtral", output_router_logits=aux).train() for aux in (False, True))
    (note,) = choose(loud).notes
    assert "auxiliary loss" in note
    batch = collate(BATCH)
    for model, way in ((quiet, Way.SEPARATE), (loud, Way.KV)):
        kl, logps = token_scores(model, batch, way=way)
        (kl - logps).sum().backward()
    assert difference(gradients(loud), gradients(quiet)) < 1e-5


def test_flex_attention_is_for_cuda():
    model = make("llama")
    assert "CUDA only" in obstacle(model, Way.FLEX, "cpu", checkpointing=False)
    assert obstacle(model, Way.FLEX, "cuda", checkpointing=True) is None
    assert choose_reading(model, "cuda").way is Way.FLEX
    assert choose_reading(make("llama", attention_dropout=0.1), "cuda").way is Way.KV
    assert choose_reading(make("lfm2"), "cuda").way is Way.SEPARATE


@uncompiled
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_flex_attention_has_the_values_of_separate_texts(name):
    batch = collate(BATCH)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        expected = separate_states(make(name).eval(), batch)
        found = response_states(make(name, "flex_attention").eval(), batch, Way.FLEX)
    assert difference(found, expected) < 1e-5


@uncompiled
def test_a_trial_on_flex_attention_leaves_a_model_that_cannot_train_with_it_as_it_was():
    model = make("llama")
    with torch.compiler.set_stance("force_eager"):
        assert "failed" in measured_obstacle(model, Way.FLEX)
    assert model.config._attn_implementation == "sdpa"


def test_other_attention_reads_no_tree():
    model = make("llama")
    model.config._attn_implementation = "flash_attention_2"
    assert choose_reading(model, "cpu", checkpointing=True).way is Way.SEPARATE


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="prefix_sharing must be one of auto, tree, kv, off"):
        choose(make("llama"), "both")
