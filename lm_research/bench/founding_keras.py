"""The founding example in Keras, on the backend that KERAS_BACKEND names.

Losses come from integers (``sparse_categorical_crossentropy``), which is faster than the tutorial's
one-hot vectors and the same number; no metric is computed. ``fit`` is given all batches at once and
told to be silent, so that what it costs a call is shared by many steps.
"""

import time
from typing import Any

import keras
import numpy as np

from lm_research.bench.founding_worker import Shape, Worker

ADAM_RATE = 1e-3


class KerasWorker(Worker):
    """See the module."""

    def __init__(self, shape: Shape, weights: dict[str, np.ndarray]) -> None:
        super().__init__(shape, weights)
        if shape.dtype == "bfloat16":
            keras.mixed_precision.set_global_policy("mixed_bfloat16")
        self.model = self._built()
        for layer, own in zip(self.model.layers, _as_keras(shape, weights), strict=True):
            layer.set_weights(own)
        loss = keras.losses.SparseCategoricalCrossentropy()
        self.model.compile(optimizer=keras.optimizers.Adam(ADAM_RATE), loss=loss)

    def _built(self) -> Any:
        shape, layers = self.shape, keras.layers
        cell = {"rnn": layers.SimpleRNN, "gru": layers.GRU, "lstm": layers.LSTM}[shape.cell]
        stack = [
            cell(
                shape.hidden,
                return_sequences=shape.predict == "every" or number < shape.layers - 1,
            )
            for number in range(shape.layers)
        ]
        return keras.Sequential(
            [
                layers.Input((shape.steps,), dtype="int32"),
                layers.Embedding(shape.vocabulary, shape.embedding),
                *stack,
                layers.Dense(shape.vocabulary, activation="softmax", dtype="float32"),
            ]
        )

    def _pair(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        targets = ids[..., 1:] if self.shape.predict == "every" else ids[..., -1]
        return ids[..., :-1].astype(np.int32), targets.astype(np.int32)

    def step(self) -> Any:
        """One batch by itself."""
        return self.model.train_on_batch(*self._pair(self.next()))

    def loss_of(self, ids: np.ndarray) -> float:
        """By Keras' own loss, in the model's own policy."""
        return float(self.model.test_on_batch(*self._pair(ids)))

    def seconds(self, steps: int) -> float:
        """By ``fit``, which is Keras' own loop."""
        data = np.concatenate([self.next() for _ in range(steps)])
        inputs, targets = self._pair(data)
        began = time.perf_counter()
        self.model.fit(inputs, targets, batch_size=self.shape.batch, shuffle=False, verbose=0)
        return time.perf_counter() - began


def _as_keras(shape: Shape, weights: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    """Our weights, turned, gates in Keras' order (a GRU's are z, r, n there)."""
    found = [[weights["vectorizer.weight"]]]
    for number in range(shape.layers):
        prefix = f"model.layers.{number}."

        def taken(name: str, prefix: str = prefix) -> np.ndarray:
            value = weights[f"{prefix}{name}_l0"]
            if shape.cell != "gru":
                return value
            r, z, n = np.split(value, 3)
            return np.concatenate([z, r, n])

        names = ["bias_ih", "bias_hh"] if shape.cell == "gru" else ["bias_ih"]
        bias = np.stack([taken(name) for name in names])
        found.append(
            [taken("weight_ih").T, taken("weight_hh").T, bias if len(names) == 2 else bias[0]]
        )
    return [*found, [weights["head.weight"].T, weights["head.bias"]]]
