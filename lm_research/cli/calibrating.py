"""The temperature of a classifier's kept checkpoints: fitted after training, taken when loaded.

``calibration.json`` in a run's folder has one for each: they are other weights, and are not equally
sure of themselves.
"""

import math
from pathlib import Path

import torch

from lm_research.data.document_module import DocumentDataModule
from lm_research.metrics.calibration import fit_temperature
from lm_research.tasks.classification import Classification
from lm_research.tasks.classifying import split_logits
from lm_research.tasks.evaluation import evaluating
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.json_files import read_json, write_json
from lm_research.tracking.run_folder import RunFolder

FILE, TEMPERATURES = "calibration.json", "temperatures"


def calibrate(model: Classification, data: DocumentDataModule, folder: RunFolder) -> float:
    """Fit the temperatures of the last and the best checkpoint to the validation split.

    Returns:
        That of the best one, whose weights and temperature ``model`` has afterwards; where nothing
        is kept, of the weights as they are.
    """
    store, found = CheckpointStore(folder.checkpoints), {}
    names = ("last", "best") if store.entries() else ()
    paths = list(dict.fromkeys(store.path(name) for name in names))
    for path in paths:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["state_dict"])
        found[path.name] = _fit(model, data)
    write_json(folder.path / FILE, {TEMPERATURES: found})
    temperature = found[paths[-1].name] if paths else _fit(model, data)
    model.set_temperature(temperature)
    return temperature


def _fit(model: Classification, data: DocumentDataModule) -> float:
    split = data.labelled("validation")
    with evaluating(model):
        return fit_temperature(split_logits(model, split), split.all_targets())


def take_temperature(model: Classification, folder: Path, weights: Path) -> None:
    """Give ``model`` what was fitted to the checkpoint ``weights``; 1 where nothing was, yet.

    Raises:
        RunFolderError: the file cannot be read.
        ValueError: it holds something else.
    """
    file = folder / FILE
    if model.calibrate is None or not file.exists():
        return
    found = read_json(file).get(TEMPERATURES, {})
    temperature = float(found.get(weights.name, 1.0))
    if not 0 < temperature < math.inf:
        raise ValueError(f"{file}: temperature {temperature}, and it must be greater than 0")
    model.set_temperature(temperature)
