"""Plotly figures of a study. What differs in scale (the sources) is never drawn on one axis."""

from lm_research.analysis.plots.attention import attention_plots
from lm_research.analysis.plots.classes import class_curve_plots
from lm_research.analysis.plots.costs import cost_plots
from lm_research.analysis.plots.curves import curve_plots
from lm_research.analysis.plots.effects import effect_plots
from lm_research.analysis.plots.factorial import interaction_plots
from lm_research.analysis.plots.hypotheses import hypotheses_plot
from lm_research.analysis.plots.matrix import matrix_plot
from lm_research.analysis.plots.scaling import scaling_plots
from lm_research.analysis.plots.search import search_plot
from lm_research.analysis.plots.settings import setting_plots

__all__ = [
    "attention_plots",
    "class_curve_plots",
    "cost_plots",
    "curve_plots",
    "effect_plots",
    "hypotheses_plot",
    "interaction_plots",
    "matrix_plot",
    "scaling_plots",
    "search_plot",
    "setting_plots",
]
