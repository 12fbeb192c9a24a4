"""A W&B server on loopback, small: enough for the real SDK to work with, and able to misbehave.

It keeps what clients send by run: config, history, system metrics, summary, uploads, artifacts with
their lineage, sweeps and alerts. A history line that arrives twice under the same number replaces
the first, as it does there; one that would leave a gap is refused.

    WANDB_BASE_URL=http://127.0.0.1:PORT, a key of 40 characters, its own config and cache folders

``fault`` makes it misbehave: "500" (every answer is an error), "drop" (every connection is cut
without an answer), "slow" (every answer takes ``delay_s``); ``only`` confines that to paths that
hold the text.
"""

import gzip
import http.server
import itertools
import json
import re
import sys
import threading
import time

import yaml

ENTITY, PROJECT = "me", "lm_research"
KEY = "0123456789abcdef0123456789abcdef01234567"


class WandbServer(http.server.ThreadingHTTPServer):
    """Answers on a free port, from its construction to ``stop``.

    Args:
        before: a server that is gone, whose memory this one has.
    """

    daemon_threads = True

    def __init__(self, before=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.runs, self.artifacts, self.uploads, self.sweeps = {}, {}, {}, {}
        self.views = {}
        self.asked, self.alerts, self.unknown, self.errors = [], [], [], []
        self.fault, self.only, self.delay_s = None, "", 1.0
        if before is not None:
            self.runs, self.artifacts, self.uploads = before.runs, before.artifacts, before.uploads
        self.guard = threading.RLock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        """Be gone: connections are refused from now on."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the game; an error of our own is kept for the test."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.errors.append(error)

    def run(self, name):
        """What is known of the run ``name``; made if missing."""
        fresh = {"config": {}, "rows": [], "events": [], "complete": [], "summary": {}}
        fresh |= {"uploads": set(), "used": [], "logged": [], "variables": {}}
        return self.runs.setdefault(name, fresh)

    def of_type(self, kind):
        """Artifacts of a type."""
        return [one for one in self.artifacts.values() if one["type"] == kind]

    def answer(self, operation, variables, query=""):
        """The data that a GraphQL request gets."""
        self.asked.append(operation)
        method = getattr(self, f"_{_snake(operation)}", None)
        if method is None:
            self.unknown.append(operation)
            return {}
        with self.guard:
            return method(variables)

    def stream(self, name, body):
        """Lines of history and of system metrics, the summary and the end. False: a gap."""
        with self.guard:
            run = self.run(name)
            files = body.get("files") or {}
            for file, key in (("wandb-history.jsonl", "rows"), ("wandb-events.jsonl", "events")):
                if chunk := files.get(file):
                    lines = [json.loads(line) for line in chunk["content"]]
                    if chunk["offset"] > len(run[key]):
                        return False
                    run[key][chunk["offset"] : chunk["offset"] + len(lines)] = lines
            if chunk := files.get("wandb-summary.json"):
                run["summary"] = json.loads(chunk["content"][-1])
            run["uploads"] |= set(body.get("uploaded") or [])
            if body.get("complete"):
                run["complete"].append(body.get("exitcode"))
            return True

    # --- who asks, and about which run --------------------------------------------------------

    def _viewer(self, variables):
        user = {"id": "u", "entity": ENTITY, "username": ENTITY, "email": "", "admin": False}
        flags = {"flags": "{}", "teams": {"edges": []}, "apiKeys": {"edges": []}}
        return {"viewer": {**user, **flags, "name": ENTITY, "organizations": []}}

    def _get_default_entity(self, variables):
        return self._viewer(variables)

    def _get_viewer(self, variables):
        return self._viewer(variables)

    def _project_internal_id(self, variables):
        return {"project": {"internalId": "1"}}

    def _run_resume_status(self, variables):
        return {"model": {**_project(variables), "bucket": self._bucket(variables["name"])}}

    def _upsert_bucket(self, variables):
        name = variables["name"]
        known = name in self.runs
        run = self.run(name)
        sent = {key: value for key, value in variables.items() if value is not None}
        run["variables"] |= sent
        run["config"] |= json.loads(sent.get("config") or "{}")
        run["summary"] |= json.loads(sent.get("summaryMetrics") or "{}")
        bucket = {"id": "b", "name": name, "displayName": sent.get("displayName", name)}
        bucket |= {"project": _project(variables), "historyLineCount": len(run["rows"])}
        bucket |= {"config": json.dumps(run["config"]), "sweepName": sent.get("sweep")}
        return {"upsertBucket": {"bucket": bucket, "inserted": not known}}

    def _bucket(self, name):
        run = self.runs.get(name)
        if run is None:
            return None
        return {
            "id": "b",
            "name": name,
            "displayName": run["variables"].get("displayName", name),
            "historyLineCount": len(run["rows"]),
            "eventsLineCount": len(run["events"]),
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in run["rows"][-1:]]),
            "summaryMetrics": json.dumps(run["summary"]),
            "config": json.dumps(run["config"]),
            "eventsTail": "[]",
            "tags": run["variables"].get("tags", []),
            "notes": run["variables"].get("notes"),
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _run(self, variables):
        name = variables.get("name")
        run, bucket = self.runs.get(name), self._bucket(name)
        if run is None:
            return {"project": {"internalId": "1", "run": None}}
        state = "finished" if run["complete"][-1:] == [0] else "crashed"
        more = {"state": state, "sweepName": None, "group": None, "jobType": None, "commit": None}
        more |= {"readOnly": False, "createdAt": "2026-01-01T00:00:00", "projectId": "1"}
        more |= {"heartbeatAt": "2026-01-01T00:00:00", "description": ""}
        more |= {"user": {"name": ENTITY, "username": ENTITY}}
        more |= {"systemMetrics": "{}", "historyKeys": {}}
        return {"project": {"internalId": "1", "run": {**bucket, **more}}}

    def _get_run(self, variables):
        return self._run(variables)

    def _run_history_keys(self, variables):
        rows = self.run(variables["name"])["rows"]
        keys = {"lastStep": max((row.get("_step", -1) for row in rows), default=-1), "keys": {}}
        return {"project": {"run": {"historyKeys": keys}}}

    def _create_run_files(self, variables):
        files = [self._slot(f"{variables['run']}/{name}", name) for name in variables["files"]]
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}

    def _slot(self, place, name):
        return {"name": name, "uploadUrl": f"{self.url}/up/{place}"}

    def _notify_scriptable_run_alert(self, variables):
        self.alerts.append({key: variables[key] for key in ("runName", "title", "text")})
        self.alerts[-1]["severity"] = variables["severity"]
        return {"notifyScriptableRunAlert": {"success": True}}

    # --- artifacts ----------------------------------------------------------------------------

    def _artifact_type(self, variables):
        name = variables["name"].partition(":")[0]
        known = [one["type"] for one in self.artifacts.values() if one["name"] == name]
        artifact = {"artifactType": {"name": known[0]}} if known else None
        return {"project": {"artifact": artifact}}

    def _create_artifact(self, variables):
        """The same content under the same name is the same version."""
        given = variables["input"]
        name = (given.get("artifactCollectionNames") or [given.get("artifactCollectionName")])[0]
        kind, digest = given["artifactTypeName"], given["digest"]
        versions = [one for one in self.artifacts.values() if one["name"] == name]
        found = next((one for one in versions if one["digest"] == digest), None)
        if found is None:
            found = {
                "id": f"a{len(self.artifacts)}",
                "name": name,
                "type": kind,
                "state": "PENDING",
            }
            found |= {"digest": digest, "version": len(versions), "aliases": set(), "files": {}}
            found |= {"metadata": json.loads(given.get("metadata") or "{}")}
            self.artifacts[found["id"]] = found
        found["aliases"] |= {alias["alias"] for alias in given.get("aliases") or []}
        if (run := given.get("runName")) and found["id"] not in self.run(run)["logged"]:
            self.run(run)["logged"].append(found["id"])
        latest = versions[-1]["id"] if versions else None
        sequence = {"latestArtifact": {"id": latest} if latest else None}
        artifact = {"id": found["id"], "state": found["state"], "artifactSequence": sequence}
        return {"createArtifact": {"artifact": artifact}}

    def _create_artifact_manifest(self, variables):
        place = f"artifact/{variables['artifactID']}/manifest"
        file = {"id": "f", "uploadUrl": f"{self.url}/up/{place}", "uploadHeaders": []}
        manifest = {"id": variables["artifactID"], "file": file}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def _update_artifact_manifest(self, variables):
        given = {**variables, "artifactID": variables["artifactManifestID"]}
        manifest = self._create_artifact_manifest(given)["createArtifactManifest"]
        return {"updateArtifactManifest": manifest}

    def _create_artifact_files(self, variables):
        nodes = []
        for file in variables["input"]["artifactFiles"]:
            identity, name = file["artifactID"], file["name"]
            self.artifacts[identity]["files"][name] = file.get("md5")
            slot = self._slot(f"artifact/{identity}/files/{name}", name)
            node = {"storagePath": name, "uploadUrl": slot["uploadUrl"], "uploadHeaders": []}
            nodes.append({**node, "uploadMultipartUrls": None, "artifact": {"id": identity}})
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _commit_artifact(self, variables):
        artifact = self.artifacts[variables["artifactID"]]
        artifact["state"] = "COMMITTED"
        return {
            "commitArtifact": {"artifact": {"id": artifact["id"], "digest": artifact["digest"]}}
        }

    def _use_artifact(self, variables):
        given = variables["input"]
        run, identity = self.run(given["runName"]), given["artifactID"]
        if identity in run["logged"]:
            run["logged"].remove(identity)  # made and read by one run: it is read
        if identity not in run["used"]:
            run["used"].append(identity)
        return {"useArtifact": {"artifact": {"id": identity}}}

    # --- sweeps and views ---------------------------------------------------------------------

    def _upsert_sweep(self, variables):
        name = variables.get("id") or f"s{len(self.sweeps)}"
        sweep = self.sweeps.setdefault(name, {"id": name, "name": name, "state": "RUNNING"})
        sweep |= {"config": variables.get("config") or sweep.get("config")}
        shown = {**sweep, "project": _project(variables), "method": "grid"}
        return {"upsertSweep": {"sweep": shown, "configValidationWarnings": []}}

    def _sweep_with_runs(self, variables):
        sweep = self.sweeps[variables["sweep"]]
        fields = ("description", "createdAt", "heartbeatAt", "updatedAt", "bestLoss", "controller")
        blank = dict.fromkeys((*fields, "scheduler", "earlyStopJobRunning"))
        return {"project": {"sweep": {**blank, **sweep, "method": "grid", "runs": {"edges": []}}}}

    def _create_agent(self, variables):
        return {"createAgent": {"agent": {"id": "agent"}}}

    def _heartbeat(self, variables):
        """Hand out the next point of the grid; the agent ends when there is none."""
        if json.loads(variables["runState"]):  # one at a time
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": "[]"}}
        (sweep,) = self.sweeps.values()
        asked = yaml.safe_load(sweep["config"])
        config = asked["parameters"]
        grid = list(itertools.product(*(entry["values"] for entry in config.values())))
        number = sweep["handed"] = sweep.get("handed", -1) + 1
        command = {"type": "exit"}
        if number < len(grid):
            args = {key: {"value": v} for key, v in zip(config, grid[number], strict=True)}
            command = {"type": "run", "run_id": f"given{number}", "args": args}
            command["program"] = asked["program"]
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps([command])}}

    def _get_projects(self, variables):
        user = {**self._viewer({})["viewer"], "flags": "{}", "entity": ENTITY, "deletedAt": None}
        project = {"__typename": "Project", "id": "p", "name": PROJECT, "entityName": ENTITY}
        project |= {"createdAt": "2026-01-01T00:00:00", "isBenchmark": False, "user": user}
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"edges": [{"node": project, "cursor": ""}], "pageInfo": page}}

    def _upsert_view2(self, variables):
        name = variables.get("name") or f"v{len(self.views)}"
        self.views[name] = variables
        view = {"id": name, "name": name, "updatedAt": "2026-01-01T00:00:00"}
        view |= {key: variables.get(key) for key in ("type", "displayName", "description", "spec")}
        project = {"id": "p", "name": PROJECT, "entityName": ENTITY}
        return {"upsertView": {"view": {**view, "project": project}, "inserted": True}}

    _upsert_view = _upsert_view2


def variables_apart(path, url, key=KEY):
    """Variables that keep the SDK to a server and a home of its own."""
    home = path / "home"
    home.mkdir(exist_ok=True)
    apart = {
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": key,
        "WANDB_CONFIG_DIR": str(home),
        "WANDB_CACHE_DIR": str(home),
        "WANDB_DATA_DIR": str(home),
        "NETRC": str(home / "netrc"),
    }
    return {name: value for name, value in apart.items() if value is not None}


def _snake(operation):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation).lower()


def _project(variables):
    entity = variables.get("entity") or variables.get("entityName") or ENTITY
    name = variables.get("project") or variables.get("projectName") or PROJECT
    return {"id": "p", "name": name, "entity": {"id": "e", "name": entity}}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if not self._misbehaves():
            self._reply({})

    def do_PUT(self):
        body = self._body()
        if not self._misbehaves():
            self.server.uploads[self.path.removeprefix("/up/")] = body
            self._reply({})

    def do_POST(self):
        body = self._body()
        if self._misbehaves():
            return
        if self.path.endswith("/graphql"):
            query = json.loads(body)
            text = query.get("query") or ""
            named = re.search(r"(?:query|mutation)\s+(\w+)", text)
            operation = query.get("operationName") or (named.group(1) if named else "")
            answer = self.server.answer(operation, query.get("variables") or {}, text)
            self._reply({"data": answer})
        elif self.path.endswith("/file_stream"):
            whole = self.server.stream(self.path.split("/")[-2], json.loads(body))
            self._reply({}, 200 if whole else 400)
        else:
            self._reply({})

    def _misbehaves(self):
        server = self.server
        if server.fault is None or server.only not in self.path:
            return False
        if server.fault == "drop":
            self.close_connection = True
            self.connection.close()
            return True
        if server.fault == "500":
            self._reply({"error": "so be it"}, 500)
            return True
        time.sleep(server.delay_s)
        return False

    def _body(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, values, code=200):
        body = json.dumps(values).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
