import pytest

from lm_research.tracking.redaction import REDACTED, redacted, redacted_arguments

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_password", "MY_SECRET"]
)
def test_values_of_secret_variables_go(monkeypatch, name):
    monkeypatch.setenv(name, KEY)
    assert redacted({"a": [f"Bearer {KEY}", 3, None]}) == {"a": [f"Bearer {REDACTED}", 3, None]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "lm_research.models.lstm.LSTM"),
        ("SOME_KEY", "lstm"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/home/somebody/credentials.json"),
    ],
)
def test_innocent_values_stay(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert redacted({"model": value}) == {"model": value}


def test_fields_named_like_secrets_go():
    config = {
        "tracking": {"api_key": "x", "password": "y", "token": "the", "tokens": 5, "key": "k"}
    }
    kept = {"api_key": REDACTED, "password": REDACTED, "token": "the", "tokens": 5, "key": "k"}
    assert redacted(config) == {"tracking": kept}


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://me:pw@host/x.git", f"https://{REDACTED}@host/x.git"),
        (f"see https://{KEY}@host/x.", f"see https://{REDACTED}@host/x."),
        ("ssh://git@host/x", f"ssh://{REDACTED}@host/x"),
        ("https://host/a@b", "https://host/a@b"),
        ("me@host.org", "me@host.org"),
    ],
)
def test_credentials_in_urls_go(url, clean):
    assert redacted(url) == clean


def test_command_lines(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", KEY)
    line = ["train", "model=lstm", "+data.api_key=x", "--password", "p", f"x={KEY}", "text.token=a"]
    assert redacted_arguments(line) == [
        "train",
        "model=lstm",
        f"+data.api_key={REDACTED}",
        "--password",
        REDACTED,
        f"x={REDACTED}",
        "text.token=a",
    ]
