"""Every YAML composes, validates and builds; every source meets every vectorizer and model."""

import itertools
import json
import os
from functools import cache
from pathlib import Path

import pytest

from lm_research.config.build import build
from lm_research.config.compose import compose, compose_option
from lm_research.config.paths import shipped, studies
from lm_research.studies.plan import Plan

CONF = shipped("conf")
FILL = {  # what an option leaves for the user to say
    "files": ["data.paths=[{folder}/*.txt]", "data.document=paragraph"],
    "hugging_face": ["data.path=text", "data.data_files=[{folder}/a.txt]"],
    "web_pages": ["data.paths=[{folder}/page*.html]"],
    "web_archive": ["data.paths=[{folder}/pages.warc]"],
    "wiki_dump": ["data.paths=[{folder}/wiki.xml]"],
    "posts": ["data.paths=[{folder}/posts.jsonl]"],
    "code_files": ["data.paths=[{folder}/code]"],
    "mixture": ["data.weights={code: 1, bbc_news: 1}"],
    "tagging": ["data=conll2000"],
}
TINY = [
    "budget=smoke",
    "budget.batch_size=2",
    "budget.window=8",
    "budget.hidden_size=8",
    "budget.train_bytes=6000",
    "budget.eval_bytes=600",
    "tracking=disabled",
]


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


DOWNLOADED = [o for o in options("data") if "${downloads}" in (CONF / f"data/{o}.yaml").read_text()]
OF_DOCUMENTS = (
    "bag",
    "char_cnn",
    "kim_cnn",
)  # classifiers' models: tests/tasks/test_classification.py
LANGUAGE_MODELS = [model for model in options("model") if model not in OF_DOCUMENTS]
GROUPS = sorted(p.name for p in CONF.iterdir() if p.is_dir() and p.name != "local")
ALL = [(group, option) for group in GROUPS for option in options(group)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Text files for the options that need some."""
    folder = tmp_path_factory.mktemp("texts")
    text = "\n\n".join(f"Paragraph {i}: the quick brown fox number {i * i}." for i in range(300))
    (folder / "a.txt").write_text(text, encoding="utf-8")
    write_raw(folder, text.split("\n\n"))
    return folder


def write_raw(folder: Path, paragraphs: list[str]) -> None:
    """The same paragraphs, ten a document, as pages, an archive, a wiki, posts and code."""
    (folder / "code").mkdir()
    records, pages = [], []
    for i in range(0, len(paragraphs), 10):
        part = paragraphs[i : i + 10]
        page = f"<title>{i}</title><article><p>{'<p>'.join(part)}</article>"
        (folder / f"page{i}.html").write_text(page)
        http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{page}"
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.test/{i}\r\n"
        head += f"Content-Type: application/http\r\nContent-Length: {len(http)}\r\n\r\n"
        records.append(head + http + "\r\n\r\n")
        pages.append(f"<page><title>{i}</title><ns>0</ns><text>{' '.join(part)}</text></page>")
        (folder / "code" / f"m{i}.py").write_text("\n".join(f"# {line}" for line in part))
    (folder / "pages.warc").write_bytes("".join(records).encode())
    (folder / "wiki.xml").write_text(f"<mediawiki>{''.join(pages)}</mediawiki>")
    posts = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(paragraphs)]
    (folder / "posts.jsonl").write_text("\n".join(posts))


def fill(option: str, folder: Path) -> list[str]:
    return [text.replace("{folder}", str(folder)) for text in FILL.get(option, [])]


def task_of(option: str) -> list[str]:
    return ["task=classification"] if option in OF_DOCUMENTS else []


@pytest.mark.parametrize(("group", "option"), ALL)
def test_composes_validates_and_builds(group, option, folder):
    import torch

    if group == "protocol":  # of `evaluate` alone
        build(compose_option(group, [f"protocol={option}"]))
        return
    chosen = [f"{group}={option}", *fill(option, folder), *task_of(option)]
    config = compose([*TINY, *chosen]).config  # of two options of a group the last counts
    assert config["choices"][group] == option
    json.dumps(config)  # plain values only: what is saved is what was composed

    from lm_research.tasks.output_layers.output_layer import OutputSpec

    weights = [torch.nn.Parameter(torch.zeros(2))]
    runtime = {"vocabulary_size": 257, "input_size": 8, "steps": 10, "params": weights}
    runtime["spec"] = OutputSpec(8, 257)
    if group in ("callbacks", "task"):
        return  # built by every run below
    build(config[group], **runtime)


@pytest.mark.parametrize("name", sorted({name for name, _ in studies("sweeps")}))
def test_every_sweep_composes(name):
    composed = compose([f"sweep={name}"])
    assert composed.config["sweep"]["name"] == name
    assert Plan.of(composed.config["sweep"]).settings()


@cache
def node(group: str, option: str) -> dict:
    return compose([f"{group}={option}", *task_of(option), *TINY]).config[group]


AT_HAND = [option for option in options("data") if option not in DOWNLOADED]
PAIRS = list(itertools.product(options("vectorizer"), LANGUAGE_MODELS))
SHARE = 20
"""Of the pairs each source meets one in so many, the next source the next of them: all do."""


@pytest.mark.one_in(3)
@pytest.mark.parametrize("data", AT_HAND)
def test_vectorizers_and_models_take_a_training_step(data, folder, cache):
    steps(data, PAIRS[AT_HAND.index(data) % SHARE :: SHARE], folder, cache)


@pytest.mark.slow
@pytest.mark.parametrize("data", AT_HAND)
def test_every_vectorizer_and_model_takes_a_training_step(data, folder, cache):
    steps(data, PAIRS, folder, cache)


def steps(data, pairs, folder, cache):
    import torch

    from lm_research.cli.assembly import assemble
    from lm_research.tasks.counted import CountedLanguageModel

    base = compose([f"data={data}", *fill(data, folder), *TINY, f"cache={cache}"]).config
    for choice in pairs:
        vectorizer, model = node("vectorizer", choice[0]), node("model", choice[1])
        assembly = assemble({**base, "vectorizer": vectorizer, "model": model})
        if isinstance(assembly.model, CountedLanguageModel):
            assembly.model.model.fit(assembly.data.split("train").ids_N[:].astype("int64"))
            continue
        batches = assembly.data.train_dataloader()
        optimizer = assembly.model.configure_optimizers()["optimizer"]
        before = [p.detach().clone() for p in assembly.model.parameters()]
        for step in range(2):
            loss = assembly.model.training_step(batches.batch(step), step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert torch.isfinite(loss), choice
        after = assembly.model.parameters()
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)), choice


@pytest.mark.skipif("LM_RESEARCH_DOWNLOADS" not in os.environ, reason="nothing downloaded")
@pytest.mark.parametrize("data", DOWNLOADED)
def test_a_downloaded_corpus_takes_a_training_step_where_it_is(data, cache):
    from lm_research.cli.assembly import assemble

    config = compose([f"data={data}", *TINY, f"cache={cache}"]).config
    source = build(config["data"])
    missing = sorted({file.name for file in source.files if not source.downloads.find(file)})
    if missing:
        pytest.skip(f"not downloaded (LM_RESEARCH_DOWNLOADS): {', '.join(missing)}")
    assembly = assemble(config)
    loss = assembly.model.training_step(assembly.data.train_dataloader().batch(0), 0)
    assert loss.isfinite()


ENGLISH_ALONE = ("gopher", "fineweb")  # c4 keeps reviews too short to tell


TEXTS = list(itertools.product(["bbc_news", "reviews_zh"], options("text")))
LONG = ("bbc_news", "chinese_web")  # reads all of it before it says that nothing is left


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("data", "text"), [pytest.param(*t, marks=pytest.mark.slow if t == LONG else ()) for t in TEXTS]
)
def test_every_text_option_on_english_and_chinese(text, data, cache):
    from lm_research.cli.assembly import assemble
    from lm_research.data.document import DataError

    config = compose([f"data={data}", f"text={text}", *TINY, f"cache={cache}"]).config
    foreign = ENGLISH_ALONE if data == "reviews_zh" else ("chinese_web",)
    if text in foreign:
        with pytest.raises(DataError, match=r"left out: .*dropped by"):
            assemble(config)
        return
    assembly = assemble(config)
    loss = assembly.model.training_step(assembly.data.train_dataloader().batch(0), 0)
    assert loss.isfinite()
