"""The example plug-in: installed as a user installs it, listed without being imported, and run."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folder into which pip has put the plug-in; nothing is fetched."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--no-compile", "--target", str(target), str(ROOT / "examples/plugin")]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    return target


@pytest.fixture
def queue():
    """Return the address of a job queue."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"queues": [{"name": "nightly", "active": 2}]}).encode()
            self.send_response(200 if self.path == "/stats" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(installed, folder, *command):
    environ = {**os.environ, "PYTHONPATH": f"{installed}:{ROOT}", "HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    environ["AISTACK_TOP_CONFIG"] = str(folder / "config.toml")
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=folder, env=environ)


def test_it_is_listed_and_not_imported_until_it_is_configured(installed, tmp_path):
    code = "import sys, tui.commands.sources as s; s.run(); print('aistack_top_jobqueue' in sys.modules)"
    done = run(installed, tmp_path, "-c", code)
    assert "jobqueue   aistack-top-jobqueue 0.1.0" in done.stdout
    assert done.stdout.endswith("False\n")


def test_it_is_read_once_it_is_configured(installed, tmp_path, queue):
    (tmp_path / "config.toml").write_text(
        f'[console]\ndiscovery = false\n[[source]]\nkind = "jobqueue"\nurl = "{queue}"\nname = "jobs"\n'
    )
    done = run(installed, tmp_path, "-m", "aistack_top", "snapshot", "--json", "--settle", "1")
    told = json.loads(done.stdout)
    assert "jobs" in [one["name"] for one in told["sources"] if one["status"] in ("ok", "slow")], done.stdout[:2000]
    assert '"nightly"' in done.stdout


def test_its_mistakes_are_named_like_those_of_any_kind(installed, tmp_path):
    (tmp_path / "config.toml").write_text('[[source]]\nkind = "jobqueue"\nur = "http://h"\n')
    done = run(installed, tmp_path, "-m", "aistack_top", "snapshot")
    assert done.returncode == 2
    assert "config.toml:3: unknown key 'ur'; did you mean 'url'?" in done.stderr


def test_a_plug_in_that_cannot_be_imported_is_one_sentence(installed, tmp_path):
    broken = tmp_path / "broken"
    (broken / "broken-1.0.dist-info").mkdir(parents=True)
    (broken / "broken-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "broken-1.0.dist-info/entry_points.txt").write_text("[aistack_top.sources]\nbroken = broken:KIND\n")
    (broken / "broken.py").write_text("raise RuntimeError('no such driver')\n")
    (tmp_path / "config.toml").write_text('[[source]]\nkind = "broken"\n')
    done = run(f"{broken}", tmp_path, "-m", "aistack_top", "snapshot")
    assert done.returncode == 2
    assert "the plug-in broken 1.0 for kind 'broken' cannot be imported: RuntimeError: no such driver" in done.stderr
    assert "Traceback" not in done.stderr
