"""Files that would hang or crash a reader, were they read as they come."""

import os
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.config.untrusted import (
    DEEPEST,
    UntrustedError,
    load_json,
    load_yaml,
    open_plain,
    read_plain,
)

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{previous}'] * 9)}]\n"
    for previous, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "aliases followed"),
        ("[" * 200_000, "levels deep"),  # libyaml's own composer dies of it
        ("a: " + "{b: " * 70 + "1" + "}" * 70, "levels deep"),
        ("a: &a [*a]", "part of"),
        ("a: " + "1:" * 50_000 + "1", "digits"),  # a number to the base 60, in quadratic time
        ("a: 1\na: 2", "occurs twice"),
        ("x: {a: 1, a: 2}", "occurs twice"),
        ("a: !!python/object/apply:os.system [ls]", "not plain data"),
        ("a: !!bool perhaps", "not readable"),
        ("a: !!binary aGk=", "not plain data"),
        ("a: *b", "not readable"),
        ("a: [", "not readable"),
        ("\0", "not readable"),
    ],
)
def test_yaml_that_is_refused_at_once(text, why):
    begun = time.perf_counter()
    with pytest.raises(UntrustedError, match=why):
        load_yaml(text)
    assert time.perf_counter() - begun < 1


def test_yaml_that_is_meant():
    text = "a: &a {x: 1e-4}\nb: *a\nc: {<<: *a, y: 2001-01-01}\n"
    plain = {"x": 1e-4}
    assert load_yaml(text) == {"a": plain, "b": plain, "c": {**plain, "y": "2001-01-01"}}


def test_json_of_any_depth_ends():
    for data in (b"[" * 10**6, b'{"a":' * 10**6, b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1)):
        with pytest.raises(UntrustedError):
            load_json(data)
    assert load_json(b"[" * DEEPEST + b"]" * DEEPEST)
    text = '["' + "[{" * 5000 + '", "\\"[[["]'
    assert load_json(text.encode()) == ["[{" * 5000, '"[[[']


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_json_reads_as_by_the_standard_library(value):
    import json

    assert load_json(json.dumps(value).encode()) == value


def test_only_plain_files_are_opened(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert read_plain(tmp_path / "file", 1) == b"x"
    with pytest.raises(UntrustedError, match="more than 0 bytes"):
        read_plain(tmp_path / "file", 0)
    for name, why in (("link", "a link"), ("pipe", "not a plain file"), (".", "not a plain file")):
        with pytest.raises(OSError, match=why):
            open_plain(tmp_path / name)
    for flags in (os.O_WRONLY | os.O_APPEND | os.O_CREAT, os.O_RDWR):
        with pytest.raises(OSError, match="a link"):
            open_plain(tmp_path / "link", flags)


@pytest.mark.parametrize(("text", "why"), [(BOMB, "aliases"), ("a: " + "[" * 500, "levels deep")])
def test_a_bomb_among_options_of_ones_own(here, write, text, why):
    write("my_conf/data/bomb.yaml", text)
    with pytest.raises(ConfigError, match=why):
        compose(["data=bomb"], str(here / "my_conf"))


def test_a_study_that_is_a_bomb(write, problems):
    write("sweeps/bomb.yaml", BOMB)
    write("sweeps/twice.yaml", "seed: 1\nseed: 2\n")
    assert "aliases" in problems("sweep=bomb")["sweep"].message
    assert "twice" in problems("sweep=twice")["sweep"].message


def test_an_option_that_is_below_itself(write, problems):
    write("my_conf/data/a.yaml", "defaults: [b]\nname: a\n")
    write("my_conf/data/b.yaml", "defaults: [a]\nname: b\n")
    write("my_conf/data/c.yaml", "defaults: [../../x]\nname: c\n")
    found = problems("evaluate_on=[a,c]")
    assert any("no data option below" in p.message for p in found.values())


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:MY_PRIVATE}",
        "${oc.env:MY_PRIVATE,x}",
        "${oc.env:NOT_SET_AT_ALL,x}",
        "${oc.decode:'${oc.env:MY_PRIVATE}'}",
        "${oc.env:${tracking.project}}",
        "${eval:1+1}",
    ],
)
def test_interpolations_read_no_secret(monkeypatch, write, problems, value):
    monkeypatch.setenv("MY_PRIVATE", "something private")
    node = {"tracking": {"project": "MY_PRIVATE", "notes": value}}
    write("sweeps/s.yaml", yaml.safe_dump(node))
    told = str(problems("sweep=s"))
    assert "tracking.notes" in told
    assert "something private" not in told


def test_what_an_interpolation_may_read(monkeypatch, here):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("LM_RESEARCH_PLACE", "here")
    notes = "tracking.notes='${oc.env:SLURM_JOB_ID} ${oc.env:LM_RESEARCH_PLACE} ${oc.env:WORK,w}'"
    monkeypatch.delenv("WORK", raising=False)
    assert compose([notes]).config["tracking"]["notes"] == "17 here w"


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("output='runs/\x1b[31m'", "output"),
        ("tracking.name='a\u202eb'", "tracking.name"),
        ("tracking.tags=['a\x9bb']", "tracking.tags.0"),
    ],
)
def test_invisible_characters_in_names(problems, override, field):
    assert "invisible character U+" in problems(override)[field].message
