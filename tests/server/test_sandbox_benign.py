"""Ordinary scripts that have to run: a false error would be learnt from."""

import pytest

from precision_shaking.sape.execution import Backend, execute
from precision_shaking.sape.vocabulary import Outcome

pytestmark = pytest.mark.sandbox

SCRIPTS = {
    "json_and_dates": "import json, datetime\nprint(json.dumps({'now': str(datetime.datetime.now())}))",
    "database": "import sqlite3\nwith sqlite3.connect('x.db') as db: db.execute('create table t (a)')",
    "asyncio": (
        "import asyncio\nasync def f():\n    await asyncio.gather(*map(asyncio.sleep, [0.01] * 9))\n"
        "asyncio.run(f())"
    ),
    "file_beside_it": "open('notes.txt', 'w').write('a')\nassert open('notes.txt').read() == 'a'",
    "log_file": "import logging\nlogging.basicConfig(filename='run.log')\nlogging.error('x')",
    "temporary_file": "import tempfile\nwith tempfile.NamedTemporaryFile('w') as f: f.write('x')",
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(32) as pool: assert sum(pool.map(int, range(99))) == 4851"
    ),
    "pool_fork": (
        "import multiprocessing as m\nif __name__ == '__main__':\n"
        "    with m.get_context('fork').Pool(3) as p: assert p.map(abs, [-1, -2]) == [1, 2]"
    ),
    "pool_spawn": (
        "import multiprocessing as m\nif __name__ == '__main__':\n"
        "    with m.get_context('spawn').Pool(2) as p: assert p.map(abs, [-1, -2]) == [1, 2]"
    ),
    "shared_memory": (
        "from multiprocessing.shared_memory import SharedMemory\n"
        "m = SharedMemory(create=True, size=4096)\nm.close()\nm.unlink()"
    ),
    "own_server": (
        "import http.server, threading, urllib.request\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(204); self.end_headers()\n"
        "s = http.server.HTTPServer(('localhost', 0), H)\n"
        "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
        "assert urllib.request.urlopen(f'http://localhost:{s.server_port}/').status == 204"
    ),
    "unit_tests": (
        "import unittest\nclass T(unittest.TestCase):\n"
        "    def test(self): self.assertTrue(True)\nunittest.main()"
    ),
    "shell": "import subprocess\nassert subprocess.check_output('echo $((2 + 3))', shell=True) == b'5\\n'",
    "who_am_i": (
        "import getpass, pathlib\nassert getpass.getuser() == 'sandbox'\nassert pathlib.Path.home().is_dir()"
    ),
    "alarm": (
        "import signal\ndef ring(*_): raise SystemExit\n"
        "signal.signal(signal.SIGALRM, ring)\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\nsignal.pause()"
    ),
    "own_name_twice": "import script\nassert script.__name__ == 'script'",
    "unicode": "print('Grüße, 世界 🌍')",
    "randomness": "import secrets, uuid, random\nprint(secrets.token_hex(), uuid.uuid4(), random.random())",
    "numbers": "import numpy as np\nassert (np.eye(64) @ np.eye(64)).trace() == 64",
    "another_python": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''], check=True)",
    "terminal_pair": "import pty\nassert len(pty.openpty()) == 2",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_an_ordinary_script_runs(script):
    result = await execute(script, backend=Backend.BUBBLEWRAP)
    assert result.outcome is Outcome.OK, result.output
