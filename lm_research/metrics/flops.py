"""What a model costs: parameters, and floating-point operations per token.

Every matrix of a recurrent, convolutional or linear layer meets each token once, with a multiply
and an add per element, so a forward pass costs

    FLOPs per token = 2 * (elements of all matrices that multiply) + mixing

where look-up tables do not multiply, biases and point-wise operations are left out (as usual), and
``mixing`` is what a model adds that no parameter shows (attention: 4 * context * width per layer).
Training costs three times the forward pass (the backward pass is two of the same size).
"""

from torch import nn

from lm_research.vectorizers.vectorizer import Vectorizer


def parameter_count(module: nn.Module) -> int:
    """Trainable parameters, shared ones once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def flops_per_token(vectorizer: Vectorizer, model: nn.Module, head: nn.Module) -> int:
    """Forward FLOPs for one token through model and head (vectorizers look up and add)."""
    matrices = {
        id(p): p.numel() for part in (model, head) for p in part.parameters() if p.ndim >= 2
    }
    return 2 * sum(matrices.values()) + getattr(model, "mixing_flops_per_token", 0)
