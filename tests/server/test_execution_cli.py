"""`precision-shaking execute` from the outside."""

import argparse
import json

from precision_shaking.sape.execution_cli import add_arguments, run_execute


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run_execute(parser.parse_args([*words, "--backend", "process"]))


def test_a_good_script_prints_its_output(tmp_path, capsys):
    file = tmp_path / "hello.py"
    file.write_text("print('hello', __file__.rpartition('/')[2])")
    assert command(str(file)) == 0
    out, err = capsys.readouterr()
    assert out == "hello hello.py\n"
    assert err.startswith("ok after ")


def test_json_is_one_object_with_every_field(tmp_path, capsys):
    file = tmp_path / "bad.py"
    file.write_text("1 / 0")
    assert command(str(file), "--json") == 1
    out, _ = capsys.readouterr()
    said = json.loads(out)
    assert set(said) == {"outcome", "output", "exit_code", "seconds", "backend", "detail"}
    assert (said["outcome"], said["exit_code"], said["backend"]) == ("script_error", 1, "process")
    assert out.count("\n") == 1


def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, capsys):
    latin = tmp_path / "latin.py"
    latin.write_bytes("# é".encode("latin-1"))
    for words in ([str(tmp_path / "missing.py")], [str(latin)], [str(latin), "--seconds", "0"]):
        assert command(*words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
