"""Linear algebra of item-to-item models: Gram matrices, inverses in place, features as a kernel.

An item-to-item matrix of ``I`` items is the largest thing these models hold, and the functions here hold it once: they
overwrite what they are given (a trailing underscore says so) and work in blocks of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hybridrec.errors import ArgumentError, DataError, HybridrecError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

GIB = 1 << 30
BLOCK = 1024  # rows worked on at once


class CatalogueTooLarge(HybridrecError, MemoryError):
    """An item-to-item matrix that does not fit: names the items, the memory it needs, what there is and what to do."""


class SingularError(HybridrecError, ArithmeticError):
    """A matrix that should be positive definite and is not."""


def interactions(data: Dataset) -> Any:
    """The training rows as a scipy CSR matrix (U, I) of float32 ones; a repeat counts once."""
    import numpy as np
    from scipy.sparse import csr_matrix

    user, item = data.train.index.numpy()
    x = csr_matrix((np.ones(len(user), dtype=np.float32), (user, item)), shape=tuple(data.sides.values()))
    x.sum_duplicates()
    x.data[:] = 1
    return x


def room_for(items: int) -> None:
    """Raise CatalogueTooLarge where the memory free now does not hold a float32 matrix of (items, items)."""
    import psutil

    needed, free = 4 * items**2, psutil.virtual_memory().available
    if needed > free:
        raise CatalogueTooLarge(
            f"the item-to-item matrix of {items:,} items needs {needed / GIB:.1f} GiB and {free / GIB:.1f} GiB are free; "
            "leave rare items out, free memory, or use a model whose memory grows with the interactions: "
            "KrylovEASE, ItemKNN, IALS or PureSVD"
        )


def gram(x: Any, device: torch.device | None = None) -> Tensor:
    """``X'X`` of a scipy sparse matrix (U, I): dense (I, I) float32, on ``device`` where that is a CUDA GPU.

    What is computed from it is then computed there. Raises CatalogueTooLarge for the machine's memory, not for the GPU's.
    """
    items = x.shape[1]
    room_for(items)
    g = torch.empty(items, items)
    rows, array = x.T.tocsr(), g.numpy()
    for start in range(0, items, BLOCK):
        (rows[start : start + BLOCK] @ x).toarray(out=array[start : start + BLOCK])
    return g if device is None or device.type != "cuda" else g.to(device)


def add_gram_(g: Tensor, x: Any, weight: float = 1.0) -> Tensor:
    """``G + weight X'X`` for a scipy sparse matrix ``x`` (n, I), written over ``g`` (I, I)."""
    rows = x.T.tocsr()
    for start in range(0, len(g), BLOCK):
        product = (rows[start : start + BLOCK] @ x).toarray()
        g[start : start + BLOCK].add_(torch.from_numpy(product).to(g), alpha=weight)
    return g


def invert_(a: Tensor) -> Tensor:
    """The inverse of a symmetric positive definite matrix (I, I), written over it. Only its upper triangle is read.

    Cholesky factor, then inverse: by LAPACK in the matrix's own memory, or on the GPU that holds the matrix, where three
    times its memory is taken meanwhile. Raises SingularError.
    """
    if a.is_cuda:
        c, failed = torch.linalg.cholesky_ex(a, upper=True)
        _verify_inverse(torch.cholesky_inverse(c, upper=True, out=a), bool(failed))
        return a
    from scipy.linalg import get_lapack_funcs

    lapack = a.numpy().T  # the Fortran order of the transpose is the C order of the matrix
    factor, inverse = get_lapack_funcs(("potrf", "potri"), (lapack,))
    c, failed = factor(lapack, lower=1, overwrite_a=1, clean=0)
    if not failed:
        c, failed = inverse(c, lower=1, overwrite_c=1)
    _verify_inverse(a, bool(failed))
    assert c.ctypes.data == a.data_ptr(), "LAPACK copied the matrix"
    for start in range(0, len(a), BLOCK):
        stop = start + BLOCK
        corner = a[start:stop, start:stop]
        corner.copy_(corner.triu() + corner.triu(1).T)
        a[stop:, start:stop] = a[start:stop, stop:].T
    return a


def _verify_inverse(a: Tensor, failed: bool) -> None:
    if failed or not a.diagonal().isfinite().all():  # a NaN goes through a factorisation unseen
        raise SingularError(
            f"a matrix of {len(a):,} rows is not positive definite: raise ridge, and check that no value is NaN"
        )


def without_self_(inverse: Tensor) -> Tensor:
    """``B = I - P diag(1 / diag P)`` for ``P`` (I, I), written over it: the ridge regression of every item on all others.

    Steck 2019, EASE, arXiv 1905.03375. ``B[i, j]`` is what item i says for item j; the diagonal is zero.
    """
    inverse.div_(-inverse.diagonal().clone())
    inverse.fill_diagonal_(0)
    return inverse


def regularise_(g: Tensor, ridge: float, dropout: float = 0.0) -> Tensor:
    """``G + diag(ridge + p / (1 - p) diag G)`` for ``g`` (I, I) and dropout p, written over it.

    The second term is what dropping each entry of the input with probability p amounts to when an item may not predict
    itself (Steck 2020, Autoencoders that don't overfit towards the identity, NeurIPS 33).
    """
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout must lie in [0, 1), not {dropout}")
    g.diagonal().mul_(1 + dropout / (1 - dropout)).add_(ridge)
    return g


def features(data: Dataset, modality: str) -> Tensor:
    """What ``modality`` says of each item, centred over the items it knows and scaled to length 1; else zero: (I, D).

    Raises DataError where the data set has no such modality.
    """
    known = data.features.get(data.target, {})
    if modality not in known:
        raise DataError(
            f"data set {data.name!r} has no {modality!r} features of {data.target}s (it has {sorted(known)}); "
            f"give it some: a folder with features_{modality}.npy, or embedded texts"
        )
    feature = known[modality]
    mask = feature.known.unsqueeze(1)
    centred = (feature.values.float() - feature.values[feature.known].float().mean(0)) * mask
    return torch.nn.functional.normalize(centred, dim=1)


def feature_weights(f: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """EASE of features ``f`` (I, D) alone, as factors ``(A, C)``, each (I, D): ``B = A C'`` off the diagonal, 0 on it.

    With ``M = (F'F + ridge)^-1`` the inverse ``(FF' + ridge)^-1`` is ``(I - F M F') / ridge`` (Woodbury): nothing of the
    size of the catalogue squared is made.
    """
    system = f.T @ f
    system.diagonal().add_(ridge)
    a = f @ invert_(system)
    return a, f / (1 - (a * f).sum(1, keepdim=True))


def right_vectors(x: Any, dim: int) -> Tensor:
    """The ``dim`` leading right singular vectors of a scipy sparse matrix (U, I), largest first: (I, D) float32.

    Raises DataError where the matrix has not as many.
    """
    import numpy as np
    from scipy.sparse.linalg import svds

    most = min(x.shape) - 1
    if not 1 <= dim <= most:
        raise DataError(f"dim = {dim} singular vectors of a matrix of {x.shape[0]:,} x {x.shape[1]:,}: wanted 1 to {most}")
    # A fixed start makes the result the same in every run.
    start = np.random.default_rng(0).standard_normal(min(x.shape)).astype(x.dtype)
    _, value, vt = svds(x, k=dim, v0=start, return_singular_vectors="vh")
    return torch.from_numpy(np.ascontiguousarray(vt[np.argsort(-value)].T)).float()
