from pathlib import Path

import pytest

from precision_shaking.settings import Settings, SettingsError, split_teacher


def test_values_of_an_editor_replace_the_defaults():
    settings = Settings().updated(
        {
            "teachers": ["openai/gpt-4o", " openai/mine@http://127.0.0.1:8000/v1 "],
            "worker": "/models/mine.gguf",
            "maxAttempts": 2,
            "maxWholeLines": 80,
            "database": "/data/my.db",
            "student": "/models/tiny",
            "trainingSteps": 50.0,
            "scorer": "/models/larger.gguf",
            "execute": False,
            "instance": "mine",
            "clientCommands": True,
        }
    )
    assert settings == Settings(
        teachers=("openai/gpt-4o", "openai/mine@http://127.0.0.1:8000/v1"),
        worker="embedded//models/mine.gguf",
        max_attempts=2,
        max_whole_lines=80,
        database=Path("/data/my.db"),
        student="/models/tiny",
        training_steps=50,
        scorer="embedded//models/larger.gguf",
        execute=False,
        instance="mine",
        client_commands=True,
    )


def test_absent_and_null_values_change_nothing():
    settings = Settings(max_attempts=7)
    assert settings.updated({"maxAttempts": None, "interpreter": ["python"]}) == settings
    assert settings.updated(None) == settings


@pytest.mark.parametrize("own", ["embedded//models/mine.gguf", "openai/mine@http://127.0.0.1:8000/v1"])
def test_a_worker_of_ones_own_is_a_model_or_none(own):
    settings = Settings().updated({"worker": f" {own} "})
    assert settings.worker == own
    assert settings.updated({"worker": ""}).worker is None


def test_an_empty_database_is_the_usual_one():
    assert Settings(database=Path("/x.db")).updated({"database": ""}).database is None


def test_an_empty_scorer_is_none():
    assert Settings(scorer="embedded/smollm2").updated({"scorer": ""}).scorer is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("teachers", []),
        ("teachers", "openai/gpt-4o"),
        ("teachers", ["gpt-4o"]),
        ("teachers", ["/gpt-4o"]),
        ("teachers", [3]),
        ("worker", "mine.gguf"),
        ("worker", 1),
        ("maxAttempts", 0),
        ("maxAttempts", "3"),
        ("maxAttempts", True),
        ("maxAttempts", 2.5),
        ("maxAttempts", float("inf")),
        ("maxAttempts", float("nan")),
        ("database", "relative.db"),
        ("database", 1),
        ("student", "  "),
        ("trainingSteps", -1),
        ("scorer", "openai/gpt-4o"),
        ("scorer", "embedded/"),
        ("scorer", 1),
        ("execute", "yes"),
        ("instance", ""),
        ("clientCommands", 1),
    ],
)
def test_a_wrong_value_is_told_by_name(name, value):
    with pytest.raises(SettingsError, match=f"^The setting precisionShaking.{name} must be .*[.]$"):
        Settings().updated({name: value})


def test_settings_must_be_an_object():
    with pytest.raises(SettingsError, match="object"):
        Settings().updated(["teachers"])


def test_a_teacher_is_a_model_and_perhaps_a_place():
    assert split_teacher("embedded/smollm2") == ("embedded/smollm2", None)
    assert split_teacher("openai/m@http://127.0.0.1:8000/v1") == ("openai/m", "http://127.0.0.1:8000/v1")
    assert split_teacher("vertex_ai/m@2024@https://h/v1") == ("vertex_ai/m@2024", "https://h/v1")
    assert split_teacher("vertex_ai/m@2024") == ("vertex_ai/m@2024", None)
