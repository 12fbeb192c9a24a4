"""A task that starts from a language model: what is taken, what is frozen, and how it learns.

After ULMFiT (Howard & Ruder 2018, https://arxiv.org/abs/1801.06146). The parameters of a task are
put in groups from below: the vectorizer; each layer of the model; and what the task adds (pooling,
output layer, decoder), where all learning begins.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.models import TrainedModel
from lm_research.tasks.sequence_to_sequence import SequenceToSequence

Freeze = Literal["none", "vectorizer", "encoder"] | int
Groups = list[list[nn.Parameter]]


class TransferError(Exception):
    """Weights that do not go with the model: says which, and why."""


def layer_groups(task: TrainedModel) -> Groups:
    """The task's parameters from below, each in one group: the lowest that it is a part of.

    An output layer that shares the vectorizer's matrix is therefore frozen with the vectorizer.
    """
    seen: set[int] = set()
    groups: Groups = []
    layers = [list(task.vectorizer.parameters()), *layers_of(task.model)]
    for parameters in (*layers, list(task.parameters())):
        groups.append([p for p in parameters if id(p) not in seen])
        seen |= {id(p) for p in parameters}
    return groups


def layers_of(model: nn.Module) -> Groups:
    """A model's parameters by layer, from below.

    Layers are the items of its first ``ModuleList``; what is declared before them (an input map)
    belongs to the first, what is declared after (a last normalization) to the last. A parameter
    list with one item a layer (learned states) is shared out. Without a list all is one layer.
    """
    children = dict(model.named_children())
    lists = [
        child for child in children.values() if isinstance(child, nn.ModuleList) and len(child)
    ]
    if not lists:
        return [list(model.parameters())]
    groups: Groups = [list(layer.parameters()) for layer in lists[0]]
    before: list[nn.Parameter] = []
    below = True
    own = dict(model.named_parameters(recurse=False))
    positions = [p for name, p in own.items() if name.startswith("position")]
    for child in children.values():
        if child is lists[0]:
            below = False
        elif isinstance(child, nn.ParameterList) and len(child) == len(groups):
            for group, parameter in zip(groups, child, strict=True):
                group.append(parameter)
        else:
            (before if below else groups[-1]).extend(child.parameters())
    known = {id(p) for p in positions}
    groups[-1].extend(p for p in own.values() if id(p) not in known)
    groups[0] = [*before, *positions, *groups[0]]
    return groups


def take_weights(task: TrainedModel, source: LanguageModeling) -> None:
    """Copy the weights of vectorizer and model, and those of the output layer to a language model.

    A decoder that attends in its layers and reads the same vocabulary takes the model, too (as in
    Rothe et al. 2020, https://arxiv.org/abs/1907.12461); its attention to the encoder stays.

    Raises:
        TransferError: a name or a shape differs.
    """
    pairs: dict[str, tuple[nn.Module, nn.Module]] = {
        "vectorizer": (task.vectorizer, source.vectorizer),
        "model": (task.model, source.model),
    }
    if isinstance(task, LanguageModeling):
        task.head.take_shape_of(source.head.state_dict())
        pairs["head"] = task.head, source.head
    if isinstance(task, SequenceToSequence) and task.layerwise and not task.target_vectorizer:
        pairs["decoder"] = task.decoder.model, source.model
    for part, (mine, theirs) in pairs.items():
        _require_same(part, mine.state_dict(), theirs.state_dict())
    for mine, theirs in pairs.values():
        mine.load_state_dict(theirs.state_dict())


def _require_same(part: str, mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    told = [f"{name} is missing in init_from" for name in sorted(mine.keys() - theirs.keys())]
    told += [f"{name} is not there to be filled" for name in sorted(theirs.keys() - mine.keys())]
    for name in sorted(mine.keys() & theirs.keys()):
        shapes = tuple(theirs[name].shape), tuple(mine[name].shape)
        if shapes[0] != shapes[1]:
            told.append(f"{name} is of shape {shapes[0]} in init_from, and of {shapes[1]} here")
    if told:
        raise TransferError(
            f"init_from: the weights of the {part} do not go with this run's: {'; '.join(told[:5])}"
            f"\n  fix: leave out what the command says of {part}, text and budget"
        )


def freeze(groups: Groups, what: Freeze) -> None:
    """Take gradients from the lowest groups, for the whole training.

    Args:
        groups: see :func:`layer_groups`.
        what: "vectorizer"; "encoder": all but what the task adds; n: the vectorizer and n layers.

    Raises:
        TransferError: the model has fewer layers.
    """
    layers = len(groups) - 2
    named = {"none": 0, "vectorizer": 1, "encoder": layers + 1}
    count = named[what] if isinstance(what, str) else what + 1
    if count > layers + 1:
        raise TransferError(
            f"transfer.freeze={what}: the model has {layers} layers; allowed: 1 to {layers}, "
            "vectorizer, encoder, none"
        )
    for group in groups[:count]:
        for parameter in group:
            parameter.requires_grad_(False)


class LayerwiseRates:
    """Makes an optimizer whose rate falls by a factor from each group to the one below.

    rate of group l = rate of group l + 1 / factor; the topmost has the optimizer's own.

    Args:
        make: parameters, or groups of them -> optimizer.
        groups: see :func:`layer_groups`.
        factor: 2.6 in ULMFiT.
    """

    def __init__(
        self, make: Callable[[Iterable[Any]], Optimizer], groups: Groups, factor: float
    ) -> None:
        self.make, self.factor = make, factor
        top = len(groups) - 1
        self.depth = {id(p): top - place for place, group in enumerate(groups) for p in group}

    def __call__(self, parameters: Iterable[Any]) -> Optimizer:
        """The optimizer of ``parameters`` (or groups with settings of their own), topmost first."""
        given = list(parameters)
        wholes = given if given and isinstance(given[0], dict) else [{"params": given}]
        parts, depths = [], []
        for depth in sorted(set(self.depth.values())):
            for whole in wholes:
                own = [p for p in whole["params"] if self.depth[id(p)] == depth]
                if own:
                    parts.append({**whole, "params": own})
                    depths.append(depth)
        optimizer = self.make(parts)
        for group, depth in zip(optimizer.param_groups, depths, strict=True):
            group["lr"] /= self.factor**depth
        return optimizer


def trainable(groups: Sequence[Sequence[nn.Parameter]]) -> Groups:
    """What there is to learn in each group, groups without any left out."""
    kept = ([p for p in group if p.requires_grad] for group in groups)
    return [group for group in kept if group]
