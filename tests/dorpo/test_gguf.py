"""A GGUF file without llama.cpp: layouts, what is copied, and that it is the merged student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, GGUFWriter, dequantize, quantize
from safetensors.numpy import save_file

from dorpo.merging import gguf_writing
from dorpo.merging.gguf_layout import LayoutError, Shape, interleaved, laid_out, places

pytestmark = pytest.mark.train

HEADS, KV_HEADS, SIZE, WIDTH = 4, 2, 8, 32
SHAPE = Shape("llama", 1, HEADS, KV_HEADS)
ATTENTION = "model.layers.0.self_attn"
WEIGHTS = {
    "model.embed_tokens.weight": ("token_embd.weight", (50, WIDTH)),
    "model.norm.weight": ("output_norm.weight", (WIDTH,)),
    f"{ATTENTION}.q_proj.weight": ("blk.0.attn_q.weight", (HEADS * SIZE, WIDTH)),
    f"{ATTENTION}.k_proj.weight": ("blk.0.attn_k.weight", (KV_HEADS * SIZE, WIDTH)),
    f"{ATTENTION}.v_proj.weight": ("blk.0.attn_v.weight", (KV_HEADS * SIZE, WIDTH)),
}


def random(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_a_heads_halves_are_interleaved():
    weight = np.arange(8, dtype=np.float32)
    assert interleaved(weight, heads=1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert interleaved(weight, heads=2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("name", ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"])
def test_transformers_reads_back_what_is_laid_out(name):
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

    heads = HEADS if "attn_q" in name else KV_HEADS
    weight = random((heads * SIZE, WIDTH), seed=1)
    processor = LlamaTensorProcessor({"num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS})
    again = processor.process(laid_out(name, weight, SHAPE), name).weights
    np.testing.assert_array_equal(again, weight)


def test_a_gemma_norm_is_kept_with_its_one():
    gemma = Shape("gemma3", 1, HEADS, KV_HEADS)
    assert laid_out("output_norm.weight", np.zeros(2, np.float32), gemma).tolist() == [1, 1]
    assert laid_out("token_embd.weight", np.zeros(2, np.float32), gemma).tolist() == [0, 0]


def test_weights_have_their_places_and_others_none():
    assert places(WEIGHTS, SHAPE) == {place: name for name, (place, _) in WEIGHTS.items()}
    with pytest.raises(LayoutError, match=r"no place for model\.vision\.weight"):
        places(["model.vision.weight"], SHAPE)


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    """As transformers reads those of the base."""
    found = {name: random(shape, seed) for seed, (name, (_, shape)) in enumerate(WEIGHTS.items())}
    # What a Q8_0 file can hold exactly, so that it counts as unchanged.
    embedding = found["model.embed_tokens.weight"]
    found["model.embed_tokens.weight"] = dequantize(quantize(embedding, Kind.Q8_0), Kind.Q8_0)
    return found


@pytest.fixture
def base(tmp_path, weights) -> Path:
    writer = GGUFWriter(tmp_path / "base.gguf", "llama")
    writer.add_name("the base")
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e5)
    writer.add_token_list(["a", "ü", "<|im_end|>"])
    writer.add_chat_template("{{ messages }}")
    for name, weight in weights.items():
        place = WEIGHTS[name][0]
        if place == "token_embd.weight":
            writer.add_tensor(place, quantize(weight, Kind.Q8_0), raw_dtype=Kind.Q8_0)
        else:
            writer.add_tensor(place, laid_out(place, weight, SHAPE))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "base.gguf"


def written(tmp_path: Path, base: Path, weights: dict[str, np.ndarray], kind: str = "f16") -> GGUFReader:
    folder = tmp_path / "merged"
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    gguf_writing.write(folder, base, folder / "merged.gguf", name="my model", kind=kind)
    return GGUFReader(folder / "merged.gguf")


def test_what_the_training_left_alone_is_copied_byte_by_byte(tmp_path, base, weights):
    after = {tensor.name: tensor for tensor in written(tmp_path, base, weights).tensors}
    for tensor in GGUFReader(base).tensors:
        assert after[tensor.name].tensor_type == tensor.tensor_type
        assert after[tensor.name].data.tobytes() == tensor.data.tobytes()


@pytest.mark.parametrize(("kind", "held", "step"), [("f16", Kind.F16, 2**-10), ("q8_0", Kind.Q8_0, 0.02)])
def test_what_it_changed_is_laid_out_and_rounded_once(tmp_path, base, weights, kind, held, step):
    for name in (f"{ATTENTION}.q_proj.weight", "model.embed_tokens.weight", "model.norm.weight"):
        weights[name] = random(weights[name].shape, seed=9)
    after = {tensor.name: tensor for tensor in written(tmp_path, base, weights, kind).tensors}
    for name in ("blk.0.attn_q.weight", "token_embd.weight"):
        expected = laid_out(name, random(tuple(after[name].shape[::-1]), seed=9), SHAPE)
        assert after[name].tensor_type == held
        np.testing.assert_allclose(dequantize(after[name].data, held), expected, atol=2 * step, rtol=step)
    assert after["output_norm.weight"].tensor_type == Kind.F32
    np.testing.assert_array_equal(after["output_norm.weight"].data, weights["model.norm.weight"])


def test_metadata_are_the_bases_but_for_name_and_type(tmp_path, base, weights):
    before, after = GGUFReader(base), written(tmp_path, base, weights)
    values = {name: field.contents() for name, field in after.fields.items() if not name.startswith("GGUF.")}
    assert values.pop("general.name") == "my model"
    assert values.pop("general.file_type") == 1
    assert values == {name: before.get_field(name).contents() for name in values}
    assert values["tokenizer.ggml.tokens"] == ["a", "ü", "<|im_end|>"]
    assert after.get_field("llama.rope.freq_base").types == before.get_field("llama.rope.freq_base").types


def test_a_weight_that_the_file_has_no_tensor_for_is_refused(tmp_path, base, weights):
    weights["lm_head.weight"] = random((50, WIDTH), seed=7)
    with pytest.raises(LayoutError, match=r"no tensor output\.weight"):
        written(tmp_path, base, weights)


@pytest.mark.embedded
def test_llama_cpp_reads_the_merged_student(tmp_path):
    """transformers' logits are compared as the file is made."""
    import torch
    from transformers import AutoModelForCausalLM

    from dorpo.merging.gguf_file import Wish
    from dorpo.merging.merge import merge
    from dorpo.student import LoraSettings, load_student
    from precision_shaking.sape.embedded.scoring import score

    adapter = tmp_path / "adapter"
    student = load_student("smollm2", lora=LoraSettings(rank=4, alpha=8))
    torch.manual_seed(1)
    for name, weight in student.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.15)
    student.model.save_pretrained(adapter)
    merged = merge(adapter, tmp_path / "mine", student="smollm2", gguf=Wish())
    assert merged.gguf == tmp_path / "mine" / "mine-f16.gguf"
    assert "`mine-f16.gguf`" in (merged.folder / "README.md").read_text()

    answer = "def main():\n    print('hello')\n"
    messages = [{"role": "system", "content": "Write."}, {"role": "user", "content": "A greeting."}]
    read = AutoModelForCausalLM.from_pretrained(merged.folder, dtype=torch.float32, local_files_only=True)
    prompt = student.tokens.prompt(messages)
    ids = [*prompt, *student.tokens.tokenizer(answer, add_special_tokens=False).input_ids]
    with torch.no_grad():
        logprobs = read(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = np.array([float(logprobs[place - 1, ids[place]]) for place in range(len(prompt), len(ids))])

    def off(model: str) -> float:
        found = np.array([token.logprob for token in score(model, messages, answer, 1)])
        return float(np.abs(found - expected).mean())

    # llama.cpp rounds what goes into the copied 8 bit weights of the vocabulary, too.
    assert 5 * off(f"embedded/{merged.gguf}") < off("embedded/smollm2")
