"""How DSPy modules speak to a teacher: field markers, short prompts, exact reading, no second call.

DSPy's own adapters explain the format at length, repair JSON, and ask again in another format when an answer
cannot be read. Small models get lost in the first; the others would make the stored soft labels belong to a
text that is not the answer. These adapters send one request and keep the response as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import dspy
from dspy import lm15
from dspy.utils.exceptions import AdapterParseError

from dorpo.rendering import (
    MAX_WHOLE_LINES,
    SYSTEM_PROMPT,
    UnreadableAnswerError,
    read_answer,
    region_request,
    render_answer,
    render_prompt,
    render_response,
    to_messages,
)
from precision_shaking.sape.embedded.grammar import Code, Field, marker_grammar, region_grammar
from precision_shaking.sape.exchange import Exchange, Messages, Respond
from precision_shaking.sape.formats import read_items, split_fields

# The field of a chain of thought. An answer of which only this is missing is an answer.
REASONING = "reasoning"


class MarkerAdapter(dspy.ChatAdapter):  # type: ignore[misc] # dspy is untyped
    """Asks with field markers and reads them back.

    Args:
        shape: The output fields that are asked for, and what each may hold; models that take a grammar are
            held to it.
        exchange: Filled with the call.
        respond: Answers instead of the language model.

    Attributes:
        held: Whether it is so. A student has learnt the dataset's form, in which code has no fence.
    """

    held: bool = True

    def __init__(self, shape: Sequence[Field], exchange: Exchange, respond: Respond | None = None) -> None:
        super().__init__(use_json_adapter_fallback=False)
        self._shape = shape
        self._respond = respond
        self.exchange = exchange

    def format(self, signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> Messages:
        """System: the task and the fields of the answer. User: the inputs, without those that are empty."""
        fields = self._fields(signature)
        asked = [f"{_marker(name)}\n{field.json_schema_extra['desc']}" for name, field in fields]
        system = "\n\n".join(
            [
                f"{signature.instructions}\nAnswer with these fields, in this order:",
                *asked,
                _marker("completed"),
            ]
        )
        messages = [{"role": "system", "content": system}]
        for demo in demos:
            # An example without its reasoning is one of a question that did not ask for it.
            names = [name for name, _ in fields if name != REASONING or demo.get(name)]
            outputs = {name: _written(demo.get(name, "")) for name in names}
            messages.append({"role": "user", "content": _user(signature, demo, names)})
            messages.append(
                {"role": "assistant", "content": _fields(outputs) + f"\n\n{_marker('completed')}"}
            )
        return [
            *messages,
            {"role": "user", "content": _user(signature, inputs, [name for name, _ in fields])},
        ]

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """The output fields by name; the reasoning is there if it was written.

        Raises:
            AdapterParseError: Another is missing, empty or none of its options.
        """
        found, values = split_fields(completion), {}
        for name, field in self._fields(signature):
            if not found.get(name):
                if name == REASONING:
                    continue
                raise self._unreadable(signature, completion, f"The answer has no {name} field.")
            value = _value(found[name], field.annotation)
            if value is None:
                raise self._unreadable(
                    signature, completion, f"The answer's {name} is none of those asked for."
                )
            values[name] = value
        return values

    def grammar(self) -> str:
        """What holds a model that takes a grammar to the form of the answer."""
        return marker_grammar(self._shape)

    async def acall(
        self,
        lm: dspy.LM,
        lm_kwargs: dict[str, Any],
        signature: Any,
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Send one request and read its answer. `lm_kwargs`: the keys of `lm15.Config`."""
        self.exchange.messages = self.format(signature, demos, inputs)
        if self._respond is None:
            self.exchange.take(await lm.acall(request=self._request(lm, lm_kwargs, self.draft(inputs))))
        else:
            await self._respond(self.exchange)
        return [self.parse(signature, self.exchange.text or "")]

    def draft(self, inputs: dict[str, Any]) -> str:  # noqa: ARG002 -- see WorkerAdapter
        """A text that the answer will mostly copy; it makes models that take one faster."""
        return ""

    def _fields(self, signature: Any) -> list[tuple[str, Any]]:
        """The signature's output fields that are asked for."""
        asked = {field.name for field in self._shape}
        return [(name, field) for name, field in signature.output_fields.items() if name in asked]

    def _request(self, lm: dspy.LM, options: dict[str, Any], draft: str) -> lm15.Request:
        system, *chat = self.exchange.messages
        options = {**options}
        predicted = options.pop("prediction", None)
        # The embedded model's own: it takes a draft beside log-probabilities.
        hints = {"gbnf": self.grammar() if self.held else "", "draft": draft}
        if hints := {name: hint for name, hint in hints.items() if hint and name in lm.supported_params}:
            options["extensions"] = {"metadata": hints}
        elif predicted is not None:
            options["extensions"] = {"prediction": {"type": "content", "content": predicted}}
        return lm15.Request(
            model=lm.model,
            system=system["content"],
            messages=tuple(
                (lm15.Message.user if message["role"] == "user" else lm15.Message.assistant)(
                    message["content"]
                )
                for message in chat
            ),
            config=lm15.Config(**options),
        )

    def _unreadable(self, signature: Any, completion: str, why: str) -> AdapterParseError:
        # The error's own message repeats the whole answer.
        self.exchange.fault = why
        return AdapterParseError(
            adapter_name=type(self).__name__, signature=signature, lm_response=completion, message=why
        )


class WorkerAdapter(MarkerAdapter):
    """Asks the worker exactly as the student will be asked, and reads its answer as the dataset does.

    Arguments as in `MarkerAdapter`; a script of more than `max_whole_lines` is changed by regions.
    """

    def __init__(
        self,
        shape: Sequence[Field],
        exchange: Exchange,
        respond: Respond | None = None,
        max_whole_lines: int = MAX_WHOLE_LINES,
    ) -> None:
        super().__init__(shape, exchange, respond)
        self._max_whole_lines = max_whole_lines
        self._asked = ("", "")  # instruction and script

    def format(self, signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> Messages:
        """The dataset's own rendering; optimised instructions follow its own, which says the form."""
        self._asked = inputs["instruction"], inputs["current_script"]
        system, user = to_messages(render_prompt(*self._asked, self._max_whole_lines))
        whole = self._is_whole(*self._asked)
        if signature.instructions != SYSTEM_PROMPT:
            system["content"] += f"\n\n{signature.instructions}"
        shown: Messages = []
        for demo in demos:
            asked = demo["instruction"], demo["current_script"]
            # An answer in the other form would mislead.
            if self._is_whole(*asked) is whole:
                prompt = render_prompt(*asked, self._max_whole_lines)
                answer = render_answer(demo["reasoning"], demo["script"], asked[1], self._max_whole_lines)
                shown.append({"role": "user", "content": prompt})
                shown.append({"role": "assistant", "content": answer})
        return [system, *shown, user]

    def grammar(self) -> str:
        """For regions, only the names that may be used."""
        request = region_request(*self._asked, self._max_whole_lines)
        if request is None:
            return super().grammar()
        reasoning, script = self._shape
        return region_grammar(reasoning, script.content, request.rewritable, request.names)

    def draft(self, inputs: dict[str, Any]) -> str:
        """The answer as it would be if nothing had to change."""
        fence = next((field.content.language for field in self._shape if isinstance(field.content, Code)), "")
        form = f"```{fence}\n{{}}\n```" if self.held else "{}"
        asked = inputs["instruction"], inputs["current_script"]
        request = region_request(*asked, self._max_whole_lines)
        if request is not None:
            code = {f"region {name}": form.format(text) for name, text in request.code().items()}
            return _fields(code)
        script = inputs["current_script"].strip("\n")
        return render_response("", form.format(script))

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """Reasoning and script.

        Raises:
            AdapterParseError: The answer is not in the asked form.
        """
        ended = self.exchange.finish_reason == "stop"
        try:
            answer = read_answer(completion, *self._asked, self._max_whole_lines, ended=ended)
        except UnreadableAnswerError as error:
            raise self._unreadable(signature, completion, str(error)) from error
        return {"reasoning": answer.reasoning, "script": answer.script}

    def _is_whole(self, instruction: str, script: str) -> bool:
        return region_request(instruction, script, self._max_whole_lines) is None


def _user(signature: Any, values: dict[str, Any], asked: Sequence[str]) -> str:
    given = {name: str(values[name]).strip("\n") for name in signature.input_fields if values.get(name)}
    markers = [f"`{_marker(name)}`" for name in (*asked, "completed")]
    return _fields(given) + f"\n\nAnswer with {', then '.join(markers)}."


def _fields(values: dict[str, str]) -> str:
    return "\n\n".join(f"{_marker(name)}\n{value}" for name, value in values.items())


def _marker(name: str) -> str:
    return f"[[ ## {name} ## ]]"


def _written(value: Any) -> str:
    return (
        "\n".join(f"{n}. {item}" for n, item in enumerate(value, 1))
        if isinstance(value, list)
        else str(value)
    )


def _value(text: str, annotation: Any) -> Any:
    """The field's value; None when the text is none."""
    if get_origin(annotation) is Literal:
        word = text.strip("`'\"*. \n").lower().replace(" ", "_")
        return word if word in get_args(annotation) else None
    if get_origin(annotation) is list:
        return read_items(text) or None
    return text
