"""The tables of a study, free of any output format, one module for each section of the report."""

from lm_research.analysis.matrix import Matrix
from lm_research.analysis.study import Study, once
from lm_research.analysis.tables.baselines import baseline_tables
from lm_research.analysis.tables.classes import class_tables, multilabel_tables
from lm_research.analysis.tables.contamination import contamination_table
from lm_research.analysis.tables.effects import effects_table
from lm_research.analysis.tables.factorial import contrasts_table, factorial_table
from lm_research.analysis.tables.hypotheses import hypotheses_table
from lm_research.analysis.tables.matrix import (
    best_rows,
    clean_matrix,
    clean_matrix_table,
    matrix_documents_table,
    matrix_notes,
    matrix_table,
    over_documents_text,
)
from lm_research.analysis.tables.mistakes import mistake_tables
from lm_research.analysis.tables.mixtures import mixtures_table
from lm_research.analysis.tables.published import published_table
from lm_research.analysis.tables.runs import data_table, failures_table
from lm_research.analysis.tables.scaling import scaling_table
from lm_research.analysis.tables.settings import ablation_table, winners_table
from lm_research.analysis.tables.table import (
    Cell,
    Column,
    Table,
    interval,
    p_text,
    plus_minus,
    verdict_of,
)
from lm_research.analysis.tables.transfer import transfer_table
from lm_research.analysis.tables.written import written_tables

__all__ = [
    "Cell",
    "Column",
    "Table",
    "ablation_table",
    "all_tables",
    "baseline_tables",
    "best_rows",
    "class_tables",
    "clean_matrix",
    "clean_matrix_table",
    "contamination_table",
    "contrasts_table",
    "data_table",
    "effects_table",
    "factorial_table",
    "failures_table",
    "hypotheses_table",
    "interval",
    "matrix_documents_table",
    "matrix_notes",
    "matrix_table",
    "mistake_tables",
    "mixtures_table",
    "multilabel_tables",
    "over_documents_text",
    "p_text",
    "plus_minus",
    "published_table",
    "scaling_table",
    "source_tables",
    "transfer_table",
    "verdict_of",
    "winners_table",
    "written_tables",
]


@once
def all_tables(study: Study) -> list[Table]:
    """The tables that have rows, in the order of the report."""
    matrix = study.matrix if study.matrix is not None and study.matrix.cells else None
    return [
        *filter(None, [published_table(study)]),
        *([hypotheses_table(study)] if study.hypotheses else []),
        *(source_tables(study, matrix) if matrix else []),
        *filter(None, [contamination_table(study), mixtures_table(study)]),
        *filter(None, [transfer_table(study)]),
        *([effects_table(study)] if study.effects else []),
        *([factorial_table(study, study.factorial)] if study.factorial else []),
        *([winners_table(study)] if study.winners and not study.one_a_source else []),
        *([ablation_table(study)] if study.settings else []),
        *baseline_tables(study),
        *class_tables(study),
        *multilabel_tables(study),
        *written_tables(study),
        *([scaling_table(study)] if study.scaling else []),
        *([failures_table(study)] if study.unfinished else []),
    ]


def source_tables(study: Study, matrix: Matrix) -> list[Table]:
    """The matrix with intervals over seeds, over documents, and of the clean scores."""
    more = (matrix_documents_table(study, matrix), clean_matrix_table(study))
    return [matrix_table(study, matrix), *(table for table in more if table is not None)]
