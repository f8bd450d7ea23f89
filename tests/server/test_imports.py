import json
import subprocess
import sys

HEAVY = {"dspy", "litellm", "torch", "transformers", "peft", "llama_cpp", "sqlite_utils", "numpy", "openai"}


REPORT = "json.dump(sorted({name.partition('.')[0] for name in sys.modules}), sys.stdout)"


def _modules_after(statement):
    code = f"import json, sys\n{statement}\n{REPORT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_the_server_starts_without_a_heavy_library():
    loaded = _modules_after("from precision_shaking.lsp.server import build_server\nbuild_server()")
    assert "pygls" in loaded
    assert not HEAVY & loaded


def test_the_command_starts_with_the_standard_library():
    assert not {"pygls", "lsprotocol", *HEAVY} & _modules_after("import precision_shaking.cli")
