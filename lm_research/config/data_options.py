"""Names of data options, turned into their nodes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lm_research.config.hydra_errors import REFUSALS, as_problem
from lm_research.config.problems import Problem, closest, listing


class DataOptions:
    """The data options of some folders, as plain nodes.

    Args:
        root: what the nodes' interpolations see.
        folders: conf/ and its like; of two options with one name, the first is meant.
    """

    def __init__(self, root: DictConfig, folders: Sequence[Path]) -> None:
        self.root = root
        files = [file for folder in folders for file in folder.glob("data/*.yaml")]
        self.files = {file.stem: file for file in reversed(files)}
        self.problems: list[Problem] = []

    def nodes(self, field: str, names: Sequence[Any], inside: Sequence[str] = ()) -> dict[str, Any]:
        """Name -> node. ``inside``: the options that lead here, which may not come again."""
        found = {}
        for name in map(str, names):
            if name in inside:
                self.problems.append(Problem(field, f"`{name}` is a mixture of itself"))
            elif name not in self.files:
                near, allowed = closest(name, self.files), listing(self.files)
                message = f"there is no data option `{name}`"
                self.problems.append(Problem(field, message, None, allowed, near))
            elif (node := self._resolved(field, name)) is not None:
                found[name] = node
                self.fill(f"{field}.{name}", node, (*inside, name))
        return found

    def fill(self, field: str, node: Any, inside: Sequence[str] = ()) -> None:
        """Give a mixture the sources that its weights name, under what it says of them itself."""
        if not isinstance(node, dict) or not isinstance(node.get("weights"), dict):
            return
        given = node.get("sources") or {}
        if not isinstance(given, dict):
            return  # the validation will say so
        partial = [n for n in node["weights"] if "_target_" not in (given.get(n) or {})]
        named = self.nodes(f"{field}.weights", partial, inside)
        own = {name: {**named[name], **(given.get(name) or {})} for name in named}
        node["sources"] = {**given, **own}

    def _resolved(self, field: str, name: str) -> dict[str, Any] | None:
        try:
            node = self._load(name)
            node._set_parent(self.root)
            plain: Any = OmegaConf.to_container(node, resolve=True)
        except REFUSALS as error:
            told = as_problem(error).message
            self.problems.append(Problem(f"{field}.{name}", told, file=str(self.files[name])))
            return None
        return plain

    def _load(self, name: str, inside: Sequence[str] = ()) -> Any:
        """An option's file, upon those that its ``defaults`` name."""
        node: Any = OmegaConf.load(self.files[name])
        parents = list(node.pop("defaults", None) or [])
        if "_self_" not in parents:
            parents.append("_self_")
        unknown = [str(p) for p in parents if p != "_self_" and p not in self.files]
        if unknown or name in inside:
            raise ValueError(
                f"defaults: {', '.join(unknown) or name}: no data option below this one"
            )
        below = (*inside, name)
        return OmegaConf.merge(*(node if p == "_self_" else self._load(p, below) for p in parents))
