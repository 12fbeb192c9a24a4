"""A run tried by hand: over HTTP it says what it says elsewhere, and mistakes stay small."""

import http.client
import json
import math
import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from lm_research.cli.local_server import HOST
from lm_research.cli.saved import SavedRunError
from lm_research.cli.serve import run as serve
from lm_research.cli.serve_answers import Trial
from lm_research.cli.serve_http import TrialServer
from lm_research.cli.tagging import Words
from lm_research.tasks.classifying import classify
from lm_research.tasks.finding_tags import tag
from lm_research.tasks.generation import generate
from lm_research.tasks.sampling import Sampling
from lm_research.tasks.writing import write_texts

LM = ("text=byte", "model=lstm")
CLASSIFIER = ("task=classification", "model=gru", "text=word")
TAGGER = ("task=tagging", "data=ud_english_ewt", "model=gru", "text=word")
WRITER = ("task=translation", "model=gru", "text=bpe", "task.beam=3")
TEXT = "The cat sat on the mat."


@contextmanager
def serving(trial):
    """Ask the run over HTTP: ask(path, values) -> (status, answer)."""
    with TrialServer(0, trial) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(path, values=None, body=None, method=None, **headers):
            connection = http.client.HTTPConnection(HOST, server.server_port, timeout=30)
            if values is not None:
                body = json.dumps(values).encode()
            if body is not None:
                headers = {"Content-Type": "application/json", **headers}
            method = method or ("GET" if body is None else "POST")
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            ask.headers = answer.headers
            return answer.status, json.loads(data) if is_json else data.decode()

        ask.port, ask.address = server.server_port, server.server_address
        yield ask
        server.shutdown()


@pytest.fixture(scope="module")
def language_model(saved):
    return saved(*LM)


@pytest.fixture
def ask(language_model):
    with serving(Trial(language_model, "runs/mine")) as ask:
        yield ask


def test_a_language_model_continues_as_generate_does(ask, language_model):
    asked = {
        "text": "The ",
        "length": 12,
        "temperature": 0.9,
        "top_k": 40,
        "top_p": 0.95,
        "seed": 7,
    }
    status, found = ask("/api/generate", asked)
    tokenizer = language_model.tokenizer
    how = Sampling(0.9, 40, 0.95, 7)
    ids = list(generate(language_model.model, tokenizer, "The ", 12, how))
    assert status == 200
    assert found["continuation"] == tokenizer.decode(ids)
    assert found["tokens"] == len(ids)
    assert found["ended_by"] == ("length" if len(ids) == 12 else "text")
    assert ask("/api")[1]["kind"] == "language_model"


@pytest.mark.parametrize("overrides", [LM, ("text=word", "model=ngram"), ("text=bpe", "model=cnn")])
def test_surprise_is_what_evaluation_counts(saved, overrides, monkeypatch):
    monkeypatch.setattr("lm_research.cli.serve_answers.PIECE", 5)
    run = saved(*overrides)
    with serving(Trial(run, "runs/mine")) as ask:
        _, found = ask("/api/surprise", {"text": TEXT})
    ids_N, spelling = run.tokenizer.encode(TEXT)
    stream = torch.tensor([[0, *ids_N]])
    log_p_TV = run.model.advance(stream, run.model.start(1))[0][0]
    nats = [-float(log_p_TV[t, i]) for t, i in enumerate([*ids_N.tolist(), 0])]
    assert [row["nats"] for row in found["tokens"]] == pytest.approx(nats, rel=1e-5, abs=1e-6)
    assert found["tokens"][0]["bits"] == pytest.approx(nats[0] / math.log(2), rel=1e-5)
    assert found["tokens"][-1]["token"] == "<separator>"
    assert found["nats"] == pytest.approx(sum(nats), rel=1e-5)
    bits = (sum(nats) + spelling) / math.log(2)
    assert found["bits_per_byte"] == pytest.approx(bits / len(TEXT.encode()), rel=1e-5)
    assert found["perplexity_token"] == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-5)


def test_bits_that_are_undefined_are_null(saved):
    with serving(Trial(saved("text=spaced_words", "model=gru"), "r")) as ask:
        assert ask("/api")[1]["spaced"] is True
        _, found = ask("/api/surprise", {"text": "two  spaces"})
        assert found["bits_per_byte"] is None
        _, empty = ask("/api/surprise", {"text": ""})
    assert len(empty["tokens"]) == 1
    assert empty["bits_per_byte"] is None


def test_a_classifier_gives_classes_as_predict_does(saved):
    run = saved(*CLASSIFIER)
    with serving(Trial(run, "runs/mine")) as ask:
        status, found = ask("/api/classify", {"text": TEXT})
        assert ask("/api/classify", {"text": ""})[0] == 200
        assert ask("/api/generate", {"text": ""})[0] == 404
    predicted, p_C = next(classify(run.model, [run.tokenizer.encode(TEXT).ids_N]))
    assert status == 200
    assert found["predicted"] == predicted == found["classes"][0]["class"]
    expected = dict(zip(run.model.classes, p_C.tolist(), strict=True))
    assert {row["class"]: row["p"] for row in found["classes"]} == pytest.approx(expected)
    assert found["classes"] == sorted(found["classes"], key=lambda row: -row["p"])


def test_a_tagger_gives_every_word_a_tag_as_predict_does(saved):
    run = saved(*TAGGER)
    with serving(Trial(run, "runs/mine")) as ask:
        status, found = ask("/api/tag", {"text": TEXT})
        _, apart = ask("/api/tag", {"text": TEXT, "words": "spaces"})
        _, empty = ask("/api/tag", {"text": ""})
        wrong = ask("/api/tag", {"text": TEXT, "words": "none"})
        assert ask("/api")[1]["kind"] == "tagger"
    assert status == 200
    assert found["words"] == ["The", "cat", "sat", "on", "the", "mat", "."]
    assert apart["words"] == TEXT.split()
    ((_, ids),) = Words(run, "auto")(TEXT)
    assert [found["tags"]] == list(tag(run.model, [ids]))
    assert found["tokens"] == len(ids.ids_N)
    assert empty["words"] == empty["tags"] == []
    assert wrong[0] == 400
    assert wrong[1]["error"]["problems"][0]["field"] == "words"


def test_a_writer_writes_as_predict_does(saved):
    run = saved(*WRITER)
    with serving(Trial(run, "runs/mine")) as ask:
        status, found = ask("/api/write", {"text": TEXT, "n_best": 2})
        drawn = [ask("/api/write", {"text": TEXT, "temperature": 1, "seed": s})[1] for s in (1, 1)]
        few = ask("/api/write", {"text": TEXT, "n_best": 4})
        lost = ask("/api/write", {"text": TEXT, "top_k": 4})
    assert status == 200
    how = type(run.model.search)(3, 1.0, 0.0, 2)
    expected = write_texts(run.model, [run.tokenizer.encode(TEXT).ids_N], how)[0]
    assert [row["score"] for row in found["texts"]] == pytest.approx([h.score for h in expected])
    texts = [run.tokenizer.decode(h.ids).strip() for h in expected]
    assert [row["text"] for row in found["texts"]] == texts
    assert drawn[0]["texts"] == drawn[1]["texts"]
    assert few[0] == lost[0] == 400
    assert few[1]["error"]["problems"][0]["field"] == "n_best"
    assert lost[1]["error"]["problems"][0]["field"] == "top_k"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "text"),
        ({"text": 5}, "text"),
        ({"text": "a" * 20_001}, "text"),
        ({"text": "é" * 4000}, "text"),  # 8000 tokens of bytes
        ({"text": "a", "temprature": 1}, "temprature"),
        ({"text": "a", "temperature": -1}, "temperature"),
        ({"text": "a", "temperature": True}, "temperature"),
        ({"text": "a", "length": 2001}, "length"),
        ({"text": "a", "length": 1.5}, "length"),
        ({"text": "a", "top_p": 0}, "top_p"),
        ({"text": "a", "seed": 2**63}, "seed"),
        ([], "request"),
        ("text", "request"),
    ],
)
def test_mistakes_are_told_by_field(ask, values, field):
    status, found = ask("/api/generate", values)
    assert status == 400
    assert [problem["field"] for problem in found["error"]["problems"]] == [field]
    assert field in found["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"text": NaN}', b"\xff\xfe\xfd", b"[" * 100_000, b'{"text": 1e999999}'],
)
def test_what_is_no_json_is_told(ask, body):
    assert ask("/api/generate", body=body)[0] == 400
    assert ask("/api/surprise", {"text": "\ud800 \x00 <b>"})[0] == 200  # nor does odd text end it


def test_hung_and_huge_requests_leave_the_page_alive(ask):
    headers = {"Content-Length": "999999999999"}
    assert ask("/api/generate", body=b"{}", **headers)[0] == 413
    assert ask("/api/generate", body=b"x" * 200_001)[0] == 413
    assert ask("/api/generate", body=b"{}", **{"Content-Length": "-1"})[0] == 411
    with socket.create_connection((HOST, ask.port)) as silent:
        told = f"POST /api/generate HTTP/1.1\r\nHost: {HOST}:{ask.port}\r\n"
        silent.sendall(
            told.encode() + b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        assert ask("/api/generate", {"text": "a", "length": 3})[0] == 200


def test_one_request_at_a_time_has_the_model_and_faults_stay_in_theirs(language_model, monkeypatch):
    trial = Trial(language_model, "r")
    inside, most = [], []

    def slow(values):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return {}

    def broken(values):
        raise RuntimeError("secret of the model")

    trial.ways = {"slow": slow, "broken": broken}
    with serving(trial) as ask:
        threads = [threading.Thread(target=ask, args=("/api/slow", {})) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1] * 6
        status, found = ask("/api/broken", {})
        assert status == 500
        assert "secret" not in json.dumps(found)
        monkeypatch.setattr("lm_research.cli.serve_answers.PATIENCE_S", 0.01)
        with trial._turn():
            assert ask("/api/slow", {})[0] == 503
        assert ask("/api/slow", {})[0] == 200


def test_a_continuation_ends_when_time_is_up(language_model, monkeypatch):
    monkeypatch.setattr("lm_research.cli.serve_answers.MOST_SECONDS", 0.0)
    with serving(Trial(language_model, "r")) as ask:
        found = ask("/api/generate", {"text": "a", "length": 500})[1]
    assert found["tokens"] < 3
    assert found["ended_by"] in ("time", "text")


def test_it_is_for_this_machines_own_page_alone(ask):
    assert ask.address[0] == "127.0.0.1"
    own = f"127.0.0.1:{ask.port}"
    for path, values in (
        ("/", None),
        ("/api", None),
        ("/api/generate", {"text": "a", "length": 1}),
    ):
        assert ask(path, values, Host=f"localhost:{ask.port}", Origin=f"http://{own}")[0] == 200
        for host in ("evil.example", f"evil.example:{ask.port}", "127.0.0.1"):
            assert ask(path, values, Host=host)[0] == 403, host
        for origin in ("http://evil.example", "null", f"https://{own}"):
            assert ask(path, values, Host=own, Origin=origin)[0] == 403, origin
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert ask("/api/generate", {"text": "a"}, **{"Content-Type": kind})[0] == 415
    assert ask("/", method="OPTIONS")[0] == 501


@pytest.mark.parametrize("path", ["/../etc/passwd", "/serve.py", "//evil", "/?x", "/page.css/../x"])
def test_nothing_else_is_served(ask, path):
    assert ask(path)[0] == 404
    assert ask(f"/api{path}", {"text": "a"})[0] == 404


def test_the_page_has_its_parts_and_says_what_a_browser_may_do(ask):
    status, page = ask("/")
    assert status == 200
    policy = ask.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "Access-Control-Allow-Origin" not in ask.headers
    assert "<script>" not in page  # which the policy would not let run
    assert "--accent" in ask("/page.css")[1]
    assert "innerHTML" not in ask("/page.js")[1]


def test_the_verb_says_what_is_wrong(tmp_path):
    assert serve(["--help"]) == 0
    with pytest.raises(SavedRunError, match="no run there"):
        serve([f"run={tmp_path}"])


# --- as a visitor sees it

RUNS = (LM, CLASSIFIER, TAGGER, WRITER)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OUTSIDE = """() => {
  const wide = document.documentElement.clientWidth;
  const outside = [...document.querySelectorAll("body *")].filter((e) => {
    const box = e.getBoundingClientRect();
    return box.width && (box.right > wide + 1 || box.left < -1);
  });
  return [document.documentElement.scrollWidth - wide,
    outside.map((e) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 30)}`)];
}"""


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright; a machine need not have one."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("overrides", RUNS, ids=["lm", "classes", "tags", "writer"])
def test_in_a_browser_a_text_is_typed_and_answered(saved, browser, overrides, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints = []
    page.on("console", lambda m: complaints.append(m.text) if m.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    with serving(Trial(saved(*overrides), "runs/a-run-with-a-long-name" * 4)) as ask:
        page.goto(f"http://{HOST}:{ask.port}/")
        page.wait_for_selector("section:not([hidden])")
        sections = page.query_selector_all("section:not([hidden])")
        for section in sections:
            area = section.query_selector("textarea")
            area.fill(TEXT + "\n<b>bold</b> " + "w" * 300)
            if (temperature := section.query_selector("[name=temperature]")) is not None:
                temperature.fill("0.7")
            section.query_selector("button").click()
        page.wait_for_function(
            "n => document.querySelectorAll('.result .notes').length >= n", arg=len(sections)
        )
        assert page.query_selector(".result b") is None  # text, not markup
        scrolls, outside = page.evaluate(OUTSIDE)
        if folder := os.environ.get("SCREENSHOTS"):
            name = f"serve-{overrides[0].split('=')[1]}-{width}-{scheme}.png"
            page.screenshot(path=Path(folder) / name, full_page=True)
        assert (scrolls, outside) == (0, [])
        assert complaints == []
        assert page.query_selector(".error") is None
    page.close()
