"""Tensors of torch.

Invariant: a tensor is its type, its shape and its elements, wherever they are kept and however they are laid out there.
"""

from __future__ import annotations

from typing import Any

import torch

from jobspan.arrays.content.numpy import data_of
from jobspan.persist.content import Coerce, Content, Take

_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # of these sizes numpy knows types, too


def find(kind: type) -> Take | None:
    """What takes apart objects of this type; None if it is left to pickle."""
    if issubclass(kind, torch.Tensor):
        return _take_tensor
    return _take_generator if issubclass(kind, torch.Generator) else None


def _take_tensor(tensor: Any, _: Coerce) -> Content:
    head = "tensor", type(tensor).__name__, str(tensor.dtype), tuple(tensor.shape), tensor.requires_grad
    tensor = tensor.detach().cpu()
    if tensor.layout is torch.sparse_coo:
        whole = tensor.coalesce()
        return *head, "coo", whole.indices(), whole.values()
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise TypeError(f"tensors of layout {tensor.layout} and type {tensor.dtype} cannot be taken apart")
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return *head, data_of(tensor.view(_WHOLE[tensor.element_size()]).numpy())


def _take_generator(generator: Any, _: Coerce) -> Content:
    return "torch generator", str(generator.device), generator.get_state()
