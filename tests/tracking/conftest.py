"""A W&B server on loopback, small: enough for the real SDK to start, log, resume and finish."""

import errno
import gzip
import http.server
import json
import os
import subprocess
import threading

import pytest


class WandbServer(http.server.ThreadingHTTPServer):
    """Keeps the configs and history rows that clients send, by run id."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.runs = {}
        self.asked = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the game

    def run(self, name):
        return self.runs.setdefault(name, {"config": {}, "rows": [], "complete": []})

    def answer(self, operation, variables):
        self.asked.append(operation)
        project = {"id": "p", "name": "lm_research", "entity": {"id": "e", "name": "me"}}
        if operation == "Viewer":
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}"}}
        if operation == "RunResumeStatus":
            return {"model": {**project, "bucket": self._bucket(variables["name"])}}
        if operation == "UpsertBucket":
            run = self.run(variables["name"])
            run["config"] |= json.loads(variables["config"] or "{}")
            run["variables"] = variables
            bucket = {"id": "b", "name": variables["name"], "displayName": "x", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": len(run["rows"]) == 0}}
        if operation == "CreateRunFiles":
            files = [{"name": n, "uploadUrl": f"{self.url}/up/{n}"} for n in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {}

    def stream(self, name, body):
        run = self.run(name)
        history = body.get("files", {}).get("wandb-history.jsonl")
        if history:
            rows = [json.loads(line) for line in history["content"]]
            run["rows"][history["offset"] :] = rows
        if body.get("complete"):
            run["complete"].append(body.get("exitcode"))

    def _bucket(self, name):
        run = self.runs.get(name)
        if run is None or not run["rows"]:
            return None
        last = run["rows"][-1]
        return {
            "id": "b",
            "name": name,
            "historyLineCount": len(run["rows"]),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(last)]),
            "summaryMetrics": json.dumps(last),
            "config": json.dumps(run["config"]),
            "eventsTail": "[]",
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self._reply({})

    def do_PUT(self):
        self._body()
        self._reply({})

    def do_POST(self):
        body = self._body()
        if self.path.endswith("/graphql"):
            query = json.loads(body)
            operation = query.get("operationName") or ""
            self._reply({"data": self.server.answer(operation, query.get("variables") or {})})
            return
        if self.path.endswith("/file_stream"):
            self.server.stream(self.path.split("/")[-2], json.loads(body))
        self._reply({})

    def _body(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, values):
        body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def wandb_server():
    server = WandbServer()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def full_disk(monkeypatch):
    """A switch: ``full_disk(room)`` lets ``room`` more bytes be written, ``None`` any number."""
    left = {"room": None}
    real = os.write

    def write(descriptor, data):
        if left["room"] is None:
            return real(descriptor, data)
        if left["room"] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, bytes(data)[: left["room"]])
        left["room"] -= written
        return written

    def fsync(descriptor):
        if left["room"] is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def switch(room=0):
        left["room"] = room

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", fsync)
    return switch


@pytest.fixture
def git():
    """Runs ``git(folder, *arguments)`` apart from this machine's settings."""
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    apart = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def run(folder, *arguments):
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | dict.fromkeys(names, "a@b") | apart,
        ).stdout.strip()

    return run


@pytest.fixture
def repository(tmp_path, git):
    """A git repository on branch trunk with one commit of a.py."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "a.py").write_text("x = 1\n")
    git(folder, "add", "a.py")
    git(folder, "commit", "-q", "-m", "first")
    return folder
