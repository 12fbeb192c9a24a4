"""What a model costs: parameters, and floating-point operations per token.

Every matrix of a recurrent, convolutional or linear layer meets each token once, with a multiply
and an add per element, so a forward pass costs

    FLOPs per token = 2 * (elements of all matrices that multiply) + mixing

where look-up tables (``nn.Embedding``) and learned starting states (parameters with ``start`` in
their name) do not multiply, biases and point-wise operations are left out (as usual), and
``mixing`` is what a model adds that no parameter shows, if it has the attribute
``mixing_flops_per_token`` (attention: 4 * context * width per layer).
Training costs three times the forward pass (the backward pass is two of the same size), without
what an output layer leaves out then (``training_elements``: sampled and adaptive softmax).
"""

from torch import nn

from lm_research.vectorizers.vectorizer import Vectorizer


def parameter_count(module: nn.Module) -> int:
    """Trainable parameters, shared ones once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def flops_per_token(vectorizer: Vectorizer, model: nn.Module, head: nn.Module) -> int:
    """Forward FLOPs for one token through model and head (vectorizers look up and add)."""
    parts = (model, head)
    tables = {id(m.weight) for p in parts for m in p.modules() if isinstance(m, nn.Embedding)}
    elements = {
        id(parameter): parameter.numel()
        for part in parts
        for name, parameter in part.named_parameters()
        if parameter.ndim >= 2 and id(parameter) not in tables and "start" not in name
    }
    return 2 * sum(elements.values()) + getattr(model, "mixing_flops_per_token", 0)


def spared_flops(head: nn.Module) -> float:
    """Forward FLOPs for one token that an output layer is spared while it is trained."""
    elements = sum(p.numel() for p in head.parameters() if p.ndim >= 2)
    return 2 * (elements - getattr(head, "training_elements", elements))
