"""The VS Code manifest promises what `extension/src` keeps: commands, settings, views, files, icons."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from precision_shaking import settings as server_settings

ROOT = Path(__file__).parents[2]
MANIFEST = json.loads((ROOT / "package.json").read_text("utf-8"))
CONTRIBUTES = MANIFEST["contributes"]
SOURCE = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "extension/src").glob("*.ts")))
COMMANDS = {command["command"] for command in CONTRIBUTES["commands"]}
SETTINGS = set(CONTRIBUTES["configuration"]["properties"])
# The editor makes these itself, one for each view.
FOCUS = {f"{view['id']}.focus" for views in CONTRIBUTES["views"].values() for view in views}


def strings(value: Any) -> Iterator[str]:
    """Every string anywhere in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def test_every_declared_command_is_registered_and_no_other() -> None:
    registered = set(re.findall(r'^ {4}"(precisionShaking\.\w+)": \(', SOURCE, re.MULTILINE))
    assert registered == COMMANDS


def test_every_command_the_source_runs_or_shows_is_declared() -> None:
    used = set(re.findall(r'(?:executeCommand\(|command: )"(precisionShaking\.[\w.]+)"', SOURCE))
    assert used
    assert used <= COMMANDS | FOCUS


@pytest.mark.parametrize("place", ["menus", "keybindings"])
def test_menus_and_keys_use_declared_commands(place: str) -> None:
    groups = CONTRIBUTES[place].values() if place == "menus" else [CONTRIBUTES[place]]
    found = {entry["command"] for group in groups for entry in group}
    assert found
    assert found <= COMMANDS


def test_links_and_completions_name_declared_commands_and_settings() -> None:
    welcome_and_tour = "\n".join(strings([CONTRIBUTES["viewsWelcome"], CONTRIBUTES["walkthroughs"]]))
    commands = set(re.findall(r"(?:onCommand:|\(command:)(precisionShaking\.\w+)", welcome_and_tour))
    settings = set(
        re.findall(r"(?:onSettingChanged:|openSettings\?%22)(precisionShaking\.\w+)", welcome_and_tour)
    )
    assert commands
    assert commands <= COMMANDS
    assert settings
    assert settings <= SETTINGS


def test_the_tour_has_three_or_four_steps_and_the_link_to_it_its_name() -> None:
    (tour,) = CONTRIBUTES["walkthroughs"]
    assert 3 <= len(tour["steps"]) <= 4
    link = f"openWalkthrough?%22{MANIFEST['publisher']}.{MANIFEST['name']}%23{tour['id']}%22"
    assert link in "\n".join(strings(CONTRIBUTES["viewsWelcome"]))


def test_every_setting_is_read_by_the_extension() -> None:
    read = {f"precisionShaking.{name}" for name in re.findall(r"\bread(?:<[^>]+>)?\(\"(\w+)\"", SOURCE)}
    assert read == SETTINGS


def test_the_defaults_are_the_servers() -> None:
    defaults = {
        name.removeprefix("precisionShaking."): setting["default"]
        for name, setting in CONTRIBUTES["configuration"]["properties"].items()
    }
    assert server_settings.Settings().updated(defaults) == server_settings.Settings()


def test_what_runs_or_sends_is_not_taken_from_a_workspace_without_trust() -> None:
    trust = MANIFEST["capabilities"]["untrustedWorkspaces"]
    assert trust["supported"] == "limited"
    harmless = {f"precisionShaking.{name}" for name in ("maxAttempts", "maxWholeLines", "trainingSteps")}
    assert set(trust["restrictedConfigurations"]) == SETTINGS - harmless


def test_no_setting_holds_a_secret() -> None:
    assert not [name for name in SETTINGS if re.search("key|token|secret|password", name, re.IGNORECASE)]


def test_undo_is_not_taken_from_the_user() -> None:
    keys = {binding[name] for binding in CONTRIBUTES["keybindings"] for name in ("key", "mac")}
    assert not [key for key in keys if re.search(r"\b(ctrl|cmd)\+z\b", key)]


def test_context_keys_of_the_manifest_are_set_by_the_source() -> None:
    entries = [
        *CONTRIBUTES["keybindings"],
        *(entry for menu in CONTRIBUTES["menus"].values() for entry in menu),
    ]
    whens = "\n".join(entry["when"] for entry in entries)
    used = {
        key
        for key in re.findall(r"precisionShaking\.(\w+)", whens)
        if f"view == precisionShaking.{key}" not in whens
    }
    assert used == set(re.findall(r'set\("(\w+)"', SOURCE))


def test_schemes_and_views_are_the_sources() -> None:
    text = "\n".join(strings(CONTRIBUTES["menus"]))
    for scheme in set(re.findall(r"resourceScheme == (precision-shaking-\w+)", text)):
        assert f'"{scheme}"' in SOURCE
    for views in CONTRIBUTES["views"].values():
        for view in views:
            assert f'registerTreeDataProvider("{view["id"]}"' in SOURCE


def test_every_file_it_names_is_there_and_shipped() -> None:
    named = [text for text in strings(MANIFEST) if re.fullmatch(r"extension/media/[\w/.]+", text)]
    assert len(named) >= 6
    for name in named:
        assert (ROOT / name).is_file(), name
    assert "!extension/media/**" in (ROOT / ".vscodeignore").read_text("utf-8").splitlines()


def test_the_workbench_of_the_tests_is_new_enough() -> None:
    wanted = tuple(int(part) for part in MANIFEST["engines"]["vscode"].removeprefix("^").split("."))
    assert (1, 91, 0) <= wanted <= (1, 100, 0)


def test_the_extension_and_the_package_have_one_version() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'\nversion = "{MANIFEST["version"]}"\n' in pyproject


def test_the_lock_names_no_host() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text("utf-8"))
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
