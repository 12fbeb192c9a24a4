"""What a recorded quantity is called, which direction is better, and how it is printed."""

from dataclasses import dataclass

UNDEFINED = "undefined"
"""Printed for a value that was recorded as null: never 0, never left blank."""
MISSING = "–"
"""Printed where nothing was recorded."""

# last part of the name -> (label, short label, lower is better, decimals)
_KNOWN: dict[str, tuple[str, str, bool, int]] = {
    "bits_per_byte": ("bits per byte", "bits/byte", True, 3),
    "bits_per_byte_clean": ("bits per byte (clean)", "bits/byte clean", True, 3),
    "bits_per_character": ("bits per character", "bits/char", True, 3),
    "loss_nats": ("loss in nats", "loss", True, 3),
    "loss_nats_sampled": ("loss in nats, random batches", "loss (sampled)", True, 3),
    "perplexity_token": ("perplexity per token", "ppl/token", True, 2),
    "perplexity_word": ("perplexity per word", "ppl/word", True, 1),
    "accuracy": ("accuracy", "accuracy", False, 3),
    "accuracy_top5": ("top-5 accuracy", "top-5", False, 3),
    "precision_macro": ("macro precision", "macro P", False, 3),
    "recall_macro": ("macro recall", "macro R", False, 3),
    "f1_macro": ("macro F1", "macro F1", False, 3),
    "precision_micro": ("micro precision", "micro P", False, 3),
    "recall_micro": ("micro recall", "micro R", False, 3),
    "f1_micro": ("micro F1", "micro F1", False, 3),
    "subset_accuracy": ("subset accuracy", "subset acc.", False, 3),
    "hamming_loss": ("Hamming loss", "Hamming", True, 3),
    "label_ranking_average_precision": ("label ranking average precision", "LRAP", False, 3),
    "accuracy_unseen": ("accuracy on unseen words", "unseen", False, 3),
    "precision_span": ("precision of spans", "span P", False, 3),
    "recall_span": ("recall of spans", "span R", False, 3),
    "f1_span": ("F1 of spans", "span F1", False, 3),
    "calibration_error_uncalibrated": ("calibration error, uncalibrated", "ECE raw", True, 3),
    "loss_nats_uncalibrated": ("loss in nats, uncalibrated", "loss raw", True, 3),
    "calibration_error": ("calibration error", "ECE", True, 3),
    "bleu": ("BLEU", "BLEU", False, 2),
    "chrf": ("chrF2", "chrF", False, 2),
    "rouge1": ("ROUGE-1", "R-1", False, 2),
    "rouge2": ("ROUGE-2", "R-2", False, 2),
    "rougeL": ("ROUGE-L", "R-L", False, 2),
    "rougeLsum": ("ROUGE-Lsum", "R-Lsum", False, 2),
    "average_precision": ("average precision", "AP", False, 3),
    "tokens_per_s": ("tokens per second", "tokens/s", False, 0),
    "roc_auc": ("area under the ROC curve", "ROC-AUC", False, 3),
}


@dataclass(frozen=True)
class Metric:
    """A recorded quantity, named ``split/name_unit``.

    Args:
        key: the name under which runs record it, e.g. ``val/bits_per_byte``.
        label: what a reader calls it, with its unit: "bits per byte".
        short: the same for the head of a column.
        lower_is_better: direction.
        decimals: digits printed after the point.
    """

    key: str
    label: str
    short: str
    lower_is_better: bool
    decimals: int

    @classmethod
    def named(cls, key: str, direction: str | None = None) -> "Metric":
        """The metric recorded as ``key``; ``direction`` is "minimize", "maximize" or the usual one.

        Raises:
            ValueError: for another ``direction``.
        """
        if direction not in (None, "minimize", "maximize"):
            raise ValueError(
                f"direction {direction!r}: must be minimize or maximize (sweep.yaml, direction)"
            )
        stem = key.rsplit("/", 1)[-1]
        plain = stem.replace("_", " ")
        label, short, lower, decimals = _KNOWN.get(stem, (plain, plain, True, 3))
        if direction is not None:
            lower = direction == "minimize"
        return cls(key, label, short, lower, decimals)

    @staticmethod
    def has_direction(key: str) -> bool:
        """Whether it is known which direction of ``key`` is better; it is not of a count."""
        return key.rsplit("/", 1)[-1] in _KNOWN

    def on(self, source: str) -> str:
        """The key of this quantity on the held-out documents of an evaluation source."""
        return f"eval/{source}/{self.key.rsplit('/', 1)[-1]}"

    def gain(self, value: float, other: float) -> float:
        """By how much ``value`` is better than ``other`` (negative: worse)."""
        return other - value if self.lower_is_better else value - other

    def text(self, value: float | None) -> str:
        """``value`` with this metric's decimals, or "undefined"."""
        return UNDEFINED if value is None else fixed(value, self.decimals)

    def signed(self, value: float) -> str:
        """``value`` with its sign, whichever it is: "+0.012", "−0.012"."""
        text = self.text(value)
        return text if text.startswith("−") else f"+{text}"

    def spread(self, value: float) -> str:
        """A standard deviation, with one more decimal than the values; "0" where there is none."""
        return fixed(value, self.decimals + 1) if value else "0"

    def plus_minus(self, half_width: float | None) -> str:
        """A half-width: "±0.012"; one that would print as zero but is not: "±<0.001"."""
        if half_width is None:
            return ""
        smallest = 10.0**-self.decimals
        if 0 < half_width < smallest / 2:
            return f"±<{fixed(smallest, self.decimals)}"
        return f"±{fixed(half_width, self.decimals)}"


def fixed(value: float, decimals: int) -> str:
    """``value`` with a fixed number of decimals, a true minus sign, and no "-0.000"."""
    text = f"{value:,.{decimals}f}"
    if text.startswith("-"):
        text = text[1:] if not text.strip("-0.,") else "−" + text[1:]
    return text


def compact(value: float | None) -> str:
    """A count with three figures and a suffix: 950, 12.3k, 1.25M, 3.4G."""
    if value is None:
        return MISSING
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
