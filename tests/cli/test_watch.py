"""The local page: fresh, for this machine alone, and with nothing else behind it."""

import http.client
import threading

import pytest

from lm_research.cli.watch import HOST, Edition, Server


@pytest.fixture
def ask(tmp_path):
    edition = Edition(tmp_path / "runs", tmp_path / "page.html")
    with Server(0, edition) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(path="/", method="GET", **headers):
            connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
            connection.request(method, path, headers={k: v for k, v in headers.items() if v})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers

        ask.edition, ask.port, ask.address = edition, server.server_port, server.server_address
        yield ask
        server.shutdown()


def test_the_report_comes_alive_and_is_renewed_when_a_run_goes_on(ask, train, tmp_path):
    ask.edition.renew()
    assert "No run in" in ask()[1]
    assert ask("/edition")[1] == "0"
    run = train(output="runs/one")
    ask.edition.renew()
    status, page, _ = ask()
    assert status == 200
    assert "bits per byte" in page
    assert page.count('fetch("/edition"') == 1
    ask.edition.renew()
    assert ask("/edition")[1] == "1"  # nothing has changed
    with (run / "samples.jsonl").open("a") as file:
        file.write('{"step": 9, "prompt": "a", "text": "b"}\n')
    ask.edition.renew()
    assert ask("/edition")[1] == "2"
    (run / "status.json").write_text("{")
    ask.edition.renew()
    assert ask()[0] == 200


def test_other_names_for_this_machine_are_refused(ask):
    assert ask.address[0] == "127.0.0.1"
    assert ask(Host=f"localhost:{ask.port}")[0] == 200
    for host in ("evil.example", f"evil.example:{ask.port}", "localhost", "127.0.0.1"):
        assert ask(Host=host)[0] == 403, host
    assert ask(Origin=f"http://127.0.0.1:{ask.port}")[0] == 200
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{ask.port}"):
        assert ask(Origin=origin)[0] == 403, origin


@pytest.mark.parametrize("path", ["/../etc/passwd", "/page.html", "//evil", "/?x", "/edition/"])
def test_nothing_else_is_served(ask, path):
    assert ask(path)[0] == 404


def test_it_is_read_only_and_says_what_a_browser_may_do(ask):
    assert ask(method="POST")[0] == 501
    headers = ask()[2]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers
