"""Rows in the formats of TRL, and a script of TRL's that trains here once two of its lines are changed."""

from __future__ import annotations

import math

import pytest
import torch
from datasets import Dataset
from tiny_student import byte_tokenizer, llama, save_student

from dorpo import softlabels
from dorpo.align import Kind
from dorpo.batches import Reason
from dorpo.preferences import PreferenceError, encode_preferences
from dorpo.reported_logprobs import pack
from dorpo.softlabels import TokenScore
from dorpo.store import Row
from dorpo.trainer import DORPOConfig, DORPOTrainer

pytestmark = pytest.mark.train


def user(text):
    return {"role": "user", "content": text}


def answer(text):
    return {"role": "assistant", "content": text}


def decoded(ids):
    return byte_tokenizer().decode(list(ids))


PLAIN = {"prompt": "say one: ", "chosen": "one", "rejected": "two"}
CHAT = {"prompt": [user("say one")], "chosen": [answer("one")], "rejected": [answer("two")]}


def test_texts_are_read_as_they_are():
    (group,) = encode_preferences([PLAIN], byte_tokenizer())
    assert decoded(group.prompt) == "say one: "
    assert decoded(group.chosen) == "one<|endoftext|>"
    assert [decoded(text) for text in group.rejected] == ["two<|endoftext|>"]


def test_messages_are_rendered_by_the_chat_template():
    (group,) = encode_preferences([CHAT], byte_tokenizer())
    assert decoded(group.prompt) == "<|im_start|>user\nsay one<|im_end|>\n<|im_start|>assistant\n"
    assert decoded(group.chosen) == "one<|im_end|>"
    assert [decoded(text) for text in group.rejected] == ["two<|im_end|>"]


@pytest.mark.parametrize(
    ("implicit", "explicit"),
    [
        ({"chosen": "say one: one", "rejected": "say one: two"}, {**PLAIN, "prompt": "say one:"}),
        (
            {"chosen": [*CHAT["prompt"], *CHAT["chosen"]], "rejected": [*CHAT["prompt"], *CHAT["rejected"]]},
            CHAT,
        ),
    ],
)
def test_a_prompt_may_be_what_both_begin_with(implicit, explicit):
    (found,) = encode_preferences([implicit], byte_tokenizer())
    if isinstance(explicit["chosen"], str):
        explicit = {**explicit, "chosen": " one", "rejected": " two"}
    (expected,) = encode_preferences([explicit], byte_tokenizer())
    assert (found.prompt, found.chosen, found.rejected) == (
        expected.prompt,
        expected.chosen,
        expected.rejected,
    )


def test_the_implicit_prompt_is_trls():
    from trl.data_utils import extract_prompt

    row = {"chosen": "say one: one thing", "rejected": "say one: one other"}
    expected = extract_prompt(row)
    (group,) = encode_preferences([row], byte_tokenizer())
    assert decoded(group.prompt) == expected["prompt"]
    assert decoded(group.chosen) == expected["chosen"] + "<|endoftext|>"


@pytest.mark.parametrize("rejected", [None, "", []])
def test_a_row_may_have_no_rejected_response(rejected):
    row = {**(CHAT if rejected == [] else PLAIN), "rejected": rejected}
    (group,) = encode_preferences([row], byte_tokenizer())
    assert group.rejected == ()
    (implicit,) = encode_preferences([{"chosen": [user("q"), answer("a")]}], byte_tokenizer())
    assert decoded(implicit.chosen) == "a<|im_end|>"


def test_rows_with_the_same_prompt_and_chosen_become_one_group():
    rows = [
        {**PLAIN, "rejected_reason": "error"},
        {**PLAIN, "prompt": "other"},
        {**PLAIN, "rejected": "three", "rejected_reason": "redo"},
    ]
    first, second = encode_preferences(Dataset.from_list(rows), byte_tokenizer())
    assert (first.rows, second.rows) == (("0", "2"), ("1",))
    assert first.reasons == (Reason.ERROR, Reason.REDO)
    assert second.reasons == (Reason.OTHER,)


HALF, QUARTER = math.log(0.5), math.log(0.25)


def reported(text):
    """As the OpenAI API answers."""
    return [
        {
            "token": letter,
            "bytes": list(letter.encode()),
            "logprob": math.log(0.5),
            "top_logprobs": [
                {"token": other, "bytes": list(other.encode()), "logprob": math.log(p)}
                for other, p in ((letter, 0.5), ("x", 0.25))
            ],
        }
        for letter in text
    ]


@pytest.mark.parametrize(
    "column",
    [
        reported("one"),
        {"content": reported("one")},
        [
            {"token": t, "logprob": math.log(0.5), "top": [(t, math.log(0.5)), ("x", math.log(0.25))]}
            for t in "one"
        ],
        softlabels.encode(
            [TokenScore(t.encode(), HALF, ((t.encode(), HALF), (b"x", QUARTER))) for t in "one"]
        ),
    ],
)
def test_log_probabilities_become_soft_labels(column):
    rows = [{**PLAIN, "chosen_logprobs": column, "rejected_logprobs": None}]
    (group,) = encode_preferences(rows, byte_tokenizer())
    assert group.labels.kinds == (Kind.ONE_TO_ONE,) * 3 + (Kind.HARD,)
    assert group.labels.targets[0].logprobs == pytest.approx((math.log(0.5), math.log(0.25)), abs=1e-3)
    assert group.teacher_means[0] == pytest.approx(math.log(0.5), abs=1e-3)
    assert math.isnan(group.teacher_means[1])


def test_log_probabilities_survive_arrow():
    rows = [{**PLAIN, "chosen_logprobs": reported("one")}, {**PLAIN, "prompt": "q", "chosen_logprobs": None}]
    first, second = encode_preferences(Dataset.from_list(rows), byte_tokenizer())
    assert Kind.ONE_TO_ONE in first.labels.kinds
    assert set(second.labels.kinds) == {Kind.HARD}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"question": "a", "answer": "b"},
            r"Row 0 has no chosen response: .* \(its columns are question, answer\)",
        ),
        ({"chosen": "a"}, "Row 0 has neither a prompt nor a rejected response"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "Row 0 has an empty prompt"),
        ({**PLAIN, "rejected": [answer("b")]}, "Row 0 mixes texts and messages"),
        ({**CHAT, "prompt": "p"}, "Row 0 mixes texts and messages"),
        ({**CHAT, "chosen": [answer("a"), user("b")]}, "Row 0 must have one message of the assistant"),
        ({"chosen": [answer("a")], "rejected": [answer("b")]}, "Row 0 has no prompt"),
        ({**CHAT, "chosen": [answer(None)]}, "Row 0 has a message whose content is no text"),
        ({**PLAIN, "chosen_logprobs": "high"}, "Row 0 cannot be read: Log-probabilities must be a list"),
        ({**PLAIN, "chosen_logprobs": [{"token": "o"}]}, "Row 0 cannot be read: A token .* needs a logprob"),
        ("chosen", "The rows are str, not mappings"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(row, message):
    with pytest.raises(PreferenceError, match=message) as refusal:
        encode_preferences([row], byte_tokenizer())
    assert str(refusal.value).count("\n") == 0


def test_nothing_reported_is_no_soft_label():
    assert pack(None) is None
    assert pack([]) is None


@pytest.fixture(autouse=True)
def _experimental(monkeypatch):
    # These trainers say at their import that they may change; the version is pinned.
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


def trls():
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    return ORPOConfig, ORPOTrainer


def ours():
    return DORPOConfig, DORPOTrainer


def script(names, folder, rows, **options):
    """A training as its users write it; only where the two names come from differs."""
    config, trainer = names()
    model = llama()
    args = config(
        output_dir=str(folder),
        beta=0.3,
        max_steps=3,
        learning_rate=1e-2,
        max_length=512,
        per_device_train_batch_size=1,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        remove_unused_columns=False,
        lr_scheduler_type="constant",
        warmup_steps=0,
        activation_checkpointing=False,
        **options,
    )
    running = trainer(
        model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=byte_tokenizer()
    )
    running.train()
    return [entry for entry in running.state.log_history if "loss" in entry], model


def test_two_lines_change_and_the_first_step_has_trls_loss(tmp_path):
    # TRL's likelihood counts the prompt's tokens too, but never the first: with one, it is the response's.
    rows = [{"prompt": ":", "chosen": "one thing", "rejected": "another"}]
    (theirs, their_model), (found, our_model) = (script(names, tmp_path, rows) for names in (trls, ours))
    assert found[0]["loss"] == pytest.approx(theirs[0]["loss"], abs=1e-4)
    # And so does every step after it.
    assert found[2]["loss"] == pytest.approx(theirs[2]["loss"], abs=1e-3)
    for ours_, theirs_ in zip(our_model.parameters(), their_model.parameters(), strict=True):
        torch.testing.assert_close(ours_, theirs_, atol=2e-3, rtol=0)


SHARED = [
    *("log_odds_ratio", "log_odds_chosen", "rewards/accuracies", "rewards/margins"),
    *(f"{kind}/{side}" for kind in ("logps", "rewards") for side in ("chosen", "rejected")),
]


@pytest.mark.parametrize(
    "row", [PLAIN, {"prompt": "a longer prompt\n", "chosen": "x = 1\n", "rejected": "y"}]
)
def test_longer_prompts_have_trls_loss_without_the_prompts_likelihood(tmp_path, row):
    (theirs, *_), (found, *_) = (script(names, tmp_path, [row])[0] for names in (trls, ours))
    honest = -theirs["logps/chosen"] - 0.3 * theirs["log_odds_ratio"]
    assert found["loss"] == pytest.approx(honest, abs=1e-4)
    assert theirs["nll_loss"] != pytest.approx(-theirs["logps/chosen"], abs=1e-2)
    assert {name: found[name] for name in SHARED} == pytest.approx(
        {name: theirs[name] for name in SHARED}, abs=1e-4
    )


def train(folder, rows, model=None, tokenizer=None, **others):
    given = {"max_steps": 2, "warmup_steps": 0, "learning_rate": 1e-2, "save_strategy": "no", "use_cpu": True}
    args = DORPOConfig(output_dir=str(folder), **{**given, **others.pop("args", {})})
    running = DORPOTrainer(
        model=model or llama(), args=args, train_dataset=rows, processing_class=tokenizer, **others
    )
    running.train()
    return running


@pytest.mark.parametrize("rows", [[PLAIN], [CHAT], [{**CHAT, "rejected": None}]])
def test_lists_of_dictionaries_are_trained_on(tmp_path, rows):
    running = train(tmp_path, rows, tokenizer=byte_tokenizer(), eval_dataset={"same": rows, "again": rows})
    losses = [entry["loss"] for entry in running.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    report = running.evaluate()
    assert report["eval_same_loss"] == pytest.approx(report["eval_again_loss"])


def test_a_model_is_given_by_its_folder_and_gets_adapters(tmp_path):
    student = save_student(tmp_path / "student")
    running = train(tmp_path / "out", [CHAT], model=str(student), args={"lora_rank": 4, "lora_alpha": 4})
    assert running.model.peft_config["default"].r == 4
    running.save_model()
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    whole = train(tmp_path / "whole", [CHAT], model=str(student), args={"full": True})
    assert all(parameter.requires_grad for parameter in whole.model.parameters())
    whole.save_model()
    assert (tmp_path / "whole" / "model.safetensors").is_file()


def test_adapters_are_those_of_the_peft_config(tmp_path):
    from peft import LoraConfig

    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    running = train(tmp_path, [CHAT], tokenizer=byte_tokenizer(), peft_config=config)
    assert running.model.peft_config["default"].r == 2
    with pytest.raises(ValueError, match="has adapters already"):
        train(tmp_path, [CHAT], model=running.model, tokenizer=byte_tokenizer(), peft_config=config)


def test_adapters_that_leave_the_first_keys_alone_learn_the_same_in_every_way(tmp_path):
    from peft import LoraConfig

    learned = []
    for args in ({}, {"low_memory": True}, {"prefix_sharing": "off"}):
        config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
        sgd = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, **args}
        running = train(tmp_path, [CHAT], tokenizer=byte_tokenizer(), peft_config=config, args=sgd)
        learned.append(
            torch.cat([p.detach().flatten() for p in running.model.parameters() if p.requires_grad])
        )
    for other in learned[1:]:
        torch.testing.assert_close(other, learned[0], atol=1e-6, rtol=0)


def test_a_store_and_its_rows_are_datasets_too(tmp_path, store, story):
    told = story(store)
    told.rejected("error")
    told.accepted(soft=True)
    rows: list[Row] = list(store.rows())
    for data in (store, rows):
        running = train(tmp_path, data, tokenizer=byte_tokenizer())
        assert len(running.train_dataset) == 1


def test_long_rows_are_left_out_and_counted_never_cut(tmp_path, caplog):
    caplog.set_level("WARNING", "dorpo.intake")
    long = {**PLAIN, "chosen": "one" * 50}
    running = train(tmp_path, [PLAIN, long], tokenizer=byte_tokenizer(), args={"max_length": 40})
    assert len(running.train_dataset) == 1
    told = [record.getMessage() for record in caplog.records if record.name == "dorpo.intake"]
    assert told == ["1 of 2 prompts are left out: longer than 40 tokens."]
    with pytest.raises(
        PreferenceError, match="None of the 1 prompts with their responses fits into 40 tokens"
    ):
        train(tmp_path, [long], tokenizer=byte_tokenizer(), args={"max_length": 40})


def test_splits_and_nothing_are_refused(tmp_path):
    with pytest.raises(PreferenceError, match="several splits"):
        train(tmp_path, {"train": [PLAIN]}, tokenizer=byte_tokenizer())
    with pytest.raises(PreferenceError, match="is empty"):
        train(tmp_path, [], tokenizer=byte_tokenizer())
    with pytest.raises(ValueError, match="pass it as processing_class"):
        train(tmp_path, [PLAIN])


def test_only_what_differs_is_compared_when_asked_for(tmp_path):
    running = train(tmp_path, [PLAIN], tokenizer=byte_tokenizer(), args={"or_tokens": "diff"})
    assert running.train_dataset[0].differences


def test_saved_tokens_and_pace_are_reported(tmp_path):
    rows = [{**PLAIN, "rejected": text} for text in ("two", "three")]
    running = train(tmp_path, rows, tokenizer=byte_tokenizer())
    report = running.state.log_history[0]
    # The last token of a response is not read.
    prompt, chosen, rejected = 9, 3, 3 + 5
    apart = 2 * (2 * prompt + chosen) + rejected
    assert report["saved_token_ratio"] == pytest.approx(1 - (prompt + chosen + rejected) / apart)
    assert report["tokens_per_second"] > 0
    assert "grad_norm" in report


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bf16": True}, "bf16 needs a CUDA device"),
        ({"full": True, "qlora": True}, "cannot be trained itself"),
        ({"or_teacher_weight": 0.6}, "or_teacher_weight must be between 0 and 0.5"),
        ({"or_label_noise": {"redo": 0.7}}, "or_label_noise must be between 0 and 0.5"),
        ({"or_label_noise": {"mood": 0.1}}, "or_label_noise has no reason mood"),
        ({"or_tokens": "some"}, "or_tokens must be one of all, diff"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"alm_temperature": 0.0}, "alm_temperature must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        DORPOConfig(output_dir=str(tmp_path), use_cpu=True, **wrong)


def test_four_bits_are_refused_without_cuda(tmp_path):
    from dorpo.student import StudentError

    student = save_student(tmp_path / "student")
    with pytest.raises(StudentError, match="QLoRA needs a CUDA device, and this is cpu"):
        train(tmp_path, [CHAT], model=str(student), args={"qlora": True})
    with pytest.raises(ValueError, match="give its name instead"):
        train(tmp_path, [CHAT], tokenizer=byte_tokenizer(), args={"qlora": True})
