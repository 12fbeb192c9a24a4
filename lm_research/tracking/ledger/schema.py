"""The tables of a ledger. Nested values are JSON, which SQLite's own functions reach into.

data_sets      1 --- n  runs  n --- 1  environments
                        runs  1 --- n  evaluations
                        runs  1 --- 1  curves
published
"""

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
)

VERSION = 2
"""Raised by every change of the tables, and of what is written into them."""
APPLICATION = 0x6C6D7267
"""SQLite's ``application_id`` of a ledger: "lmrg"."""

METADATA = MetaData()


def _of_run(primary_key: bool = False) -> Column:
    key = ForeignKey("runs.id", ondelete="CASCADE")
    return Column("run", key, nullable=False, primary_key=primary_key, index=not primary_key)


DATA_SETS = Table(
    "data_sets",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("fingerprint", Text),
    Column("source", Text),
    Column("language", Text),
    Column("category", Text),
    Column("licence", Text),
    Column("record", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
)
"""One row for each different data.json; ``record`` is the whole of it."""

ENVIRONMENTS = Table(
    "environments",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("host", Text),
    Column("platform", Text),
    Column("python", Text),
    Column("torch", Text),
    Column("cpu", Text),
    Column("gpus", Text),
    Column("git_commit", Text),
    Column("record", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
)
"""One row for each different environment.json without its times and command."""

RUNS = Table(
    "runs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("folder", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("seed", Integer),
    Column("step", Integer),
    Column("steps", Integer),
    Column("tokens", Float),
    Column("attempts", Integer),
    Column("created", Text),
    Column("started", Text),
    Column("finished", Text),
    Column("seconds", Float),
    Column("error", Text),
    Column("config_hash", Text),
    Column("data_set", ForeignKey("data_sets.id")),
    Column("environment", ForeignKey("environments.id")),
    Column("command", Text),
    Column("choices", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
"""One row a run folder. ``state`` is "stale" where the status says running and nobody runs it."""

EVALUATIONS = Table(
    "evaluations",
    METADATA,
    Column("id", Integer, primary_key=True),
    _of_run(),
    Column("source", Text, nullable=False),
    Column("split", Text, nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("text_sha256", Text),
    Column("scores", Text, nullable=False),
)
"""One row for each text that a run was scored on; equal ``text_sha256``: the very same text."""

CURVES = Table(
    "curves",
    METADATA,
    _of_run(primary_key=True),
    Column("columns", Text, nullable=False),
)
"""metrics.jsonl column by column: ``{"step": [...], "tokens": [...], "val/...": [...]}``."""

PUBLISHED = Table(
    "published",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("folder", Text, nullable=False),
    Column("experiment", Text),
    Column("name", Text),
    Column("metric", Text),
    Column("mark", Text),
    Column("published", Float),
    Column("mean", Float),
    Column("low", Float),
    Column("high", Float),
    Column("seeds", Integer),
    Column("tolerance", Float),
    Column("state", Text),
    Column("why", Text),
    Column("signature", Text, nullable=False),
)
"""One row for each published number beside ours, as last judged; ``folder`` is of the runs."""

OWNER = Table("owner", METADATA, Column("folder", Text, nullable=False))
"""One row: what tells the described folder from a copy of it."""

VIEWS = (
    """CREATE VIEW results AS
    SELECT runs.id AS run, cell."key" AS metric, cell.value AS value
    FROM runs, json_each(runs.summary) AS cell""",
    """CREATE VIEW fields AS
    SELECT runs.id AS run, substr(replace(leaf.fullkey, '"', ''), 3) AS field, leaf.atom AS value
    FROM runs, json_tree(runs.config) AS leaf
    WHERE leaf.atom IS NOT NULL OR leaf.type = 'null'""",
    """CREATE VIEW points AS
    SELECT curves.run AS run, "column"."key" AS metric, cell."key" AS row,
      json_extract(curves."columns", '$.step[' || cell."key" || ']') AS step,
      json_extract(curves."columns", '$.tokens[' || cell."key" || ']') AS tokens,
      json_extract(curves."columns", '$.seconds[' || cell."key" || ']') AS seconds,
      cell.value AS value
    FROM curves, json_each(curves."columns") AS "column", json_each("column".value) AS cell
    WHERE cell.value IS NOT NULL AND "column"."key" NOT IN ('step', 'tokens', 'seconds')""",
)
"""For people: final metrics, configuration fields and points of curves, one a row."""
