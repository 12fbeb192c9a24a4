"""Which file a field of the configuration comes from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from lm_research.config.paths import shipped

ROOT = "conf/config.yaml"


class Origins:
    """Names files as the user knows them: shipped ones as conf/..., others by their path.

    Args:
        hydra_node: the ``hydra`` node of a composed configuration.
    """

    def __init__(self, hydra_node: DictConfig) -> None:
        runtime = hydra_node.runtime
        given: Any = OmegaConf.to_container(hydra_node.overrides.task)  # interpolations as text
        self.folders = [Path(s.path) for s in runtime.config_sources if s.schema == "file"]
        pairs = [text.lstrip("+~").partition("=")[::2] for text in given]
        # Hydra records no choice where several options are merged: callbacks=[default,mine].
        merged = {key: value.strip("[]") for key, value in pairs if self._is_group(key)}
        self.choices: Mapping[str, Any] = {**merged, **runtime.choices}
        self.fields = [key for key, _ in pairs if key not in self.choices]
        # Of the two, the later in the defaults of conf/config.yaml wins: it is asked first.
        self.studies = [s for s in (self._study("sweep"), self._study("experiment")) if s]

    def file(self, field: str) -> str:
        """The study that sets ``field``, else the chosen option's file, else the root's."""
        study = self.study(field)
        if study is not None:
            return study
        group, *rest = field.split(".")
        if group == "evaluate_on" and rest:
            return _told(self.option("data", rest[0]))
        chosen = self.choices.get(group)
        if chosen is None:
            return ROOT
        files = [f for name in chosen.split(",") for f in self._with_parents(group, name.strip())]
        # An option may leave a field to those that its defaults name; what nobody sets is its own.
        return _told(next((f for f in files if _holds(_read(f), rest)), files[0]))

    def study(self, field: str) -> str | None:
        """The file of the sweep or experiment that sets ``field``, if the command line does not."""
        if any(f"{field}.".startswith(f"{key}.") for key in self.fields):
            return None
        return next((name for node, name in self.studies if _holds(node, field.split("."))), None)

    def option(self, group: str, name: str) -> Path:
        """The file of an option; of two with one name, Hydra takes the first."""
        files = [folder / group / f"{name}.yaml" for folder in self.folders]
        return next((file for file in files if file.is_file()), files[0])

    def _is_group(self, key: str) -> bool:
        return any((folder / key).is_dir() for folder in self.folders)

    def _with_parents(self, group: str, name: str) -> list[Path]:
        file = self.option(group, name)
        node = _read(file)
        defaults = node.get("defaults", []) if isinstance(node, dict) else []
        parents = [d for d in defaults if isinstance(d, str) and d != "_self_"]
        return [file, *(f for parent in parents for f in self._with_parents(group, parent))]

    def _study(self, group: str) -> tuple[Any, str] | None:
        """What a study's file sets, and its name; the file is in no folder of options."""
        stored = ConfigStore.instance().repo.get(group, {})
        entry = stored.get(f"{self.choices.get(group)}.yaml")
        if entry is None or entry.provider is None:
            return None
        return OmegaConf.to_container(entry.node), _told(Path(entry.provider))


def _read(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _holds(node: Any, parts: Sequence[str]) -> bool:
    for part in parts:
        try:
            node = node[int(part) if isinstance(node, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            return False
    return True


def _told(file: Path) -> str:
    root = shipped("conf").parent
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
