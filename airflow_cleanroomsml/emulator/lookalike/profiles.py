"""Builds user profiles: a sparse part with items and categories, and a dense part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml.emulator.lookalike.interactions import Interactions

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

_DIMENSIONS = 64
#: Five features of pure noise reduce the recall by 0.01 with these weights, and by 0.05 to 0.17 with a weight of 1.
_CATEGORY_WEIGHT = 0.25
_NUMBER_WEIGHT = 0.25


@dataclass(frozen=True)
class Profiles:
    """
    A feature vector for each user, one per row.

    :param sparse: Items and categories, weighted by ``log(1 + count) * log(users / users who have it)`` (TF-IDF). The items of a user
        are normalised to length 1, the values of each categorical feature to a quarter of that.
    :param dense: The items embedded in 64 latent dimensions (truncated singular value decomposition) and normalised, and the
        standardised activity and mean of each numerical feature.
    """

    sparse: sparse.csr_array
    dense: Floats

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.dense)

    def select(self, users: Positions) -> sparse.csr_array:
        """Return the profiles of some users as a matrix."""
        return sparse.hstack([self.sparse[users], sparse.csr_array(self.dense[users])], format="csr")

    def project(self, weights: Floats) -> Floats:
        """Return the weighted sum of each user's features, with the weights of the sparse columns first."""
        columns = self.sparse.shape[1]
        scores: Floats = self.sparse @ weights[:columns] + self.dense @ weights[columns:]
        return scores


def build(interactions: Interactions, rules: DataRules) -> Profiles:
    """
    Build the profiles of all users.

    :param interactions: Interactions of the users.
    :param rules: Maximum number of items; the most popular ones are used.
    """
    users = len(interactions.users)
    items = _weight_by_rarity(_count_items(interactions.user, interactions.item, users, rules.max_items))
    blocks = [_normalise_rows(items)]
    for values in interactions.categories:
        owner, code = _encode_values(values, interactions.user)
        blocks.append(
            _normalise_rows(_weight_by_rarity(_count_items(owner, code, users, rules.max_items)))
            * np.float32(_CATEGORY_WEIGHT)
        )
    activity = np.log1p(np.bincount(interactions.user, minlength=users))
    numbers = [_average_by_user(values, interactions.user, users) for values in interactions.numbers]
    dense = np.column_stack([_embed(items), *(_standardise(column) for column in [activity, *numbers])])
    return Profiles(sparse.hstack(blocks, format="csr"), dense.astype(np.float32))


def _count_items(user: Positions, item: Positions, users: int, limit: int) -> sparse.csr_array:
    ones = np.ones(len(user), dtype=np.float32)
    # tocsr() adds up the ones at equal positions, so the result has the number of interactions.
    counts = sparse.coo_array((ones, (user, item)), shape=(users, int(item.max(initial=0)) + 1)).tocsr()
    if counts.shape[1] > limit:
        popularity = np.bincount(item, minlength=counts.shape[1])
        # A stable sort, so that the choice between equally popular items is always the same.
        counts = counts[:, np.sort(np.argsort(-popularity, kind="stable")[:limit])]
    return counts


def _weight_by_rarity(counts: sparse.csr_array) -> sparse.csr_array:
    users, items = counts.shape
    # A feature without any value has a single, empty column, which must not divide by zero.
    holders = np.maximum(np.bincount(counts.indices, minlength=items), 1)
    rarity = np.log(users / holders).astype(np.float32)
    return sparse.csr_array(
        (np.log1p(counts.data) * rarity[counts.indices], counts.indices, counts.indptr), counts.shape
    )


def _normalise_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return sparse.csr_array(
        (matrix.data * np.repeat(scale, np.diff(matrix.indptr)), matrix.indices, matrix.indptr), matrix.shape
    )


def _embed(items: sparse.csr_array) -> Floats:
    # Not on normalised rows, so that active users shape the dimensions more. On the demo's data that increased the recall in the top 5 %
    # from 0.47 to 0.64 with a seed of 25 users, and from 0.72 to 0.75 with a seed of 1,000.
    # A fixed random state, because the same data must give the same model.
    _, _, directions = randomized_svd(items, min(_DIMENSIONS, *items.shape), n_iter=2, random_state=0)
    embedding = items @ directions.T
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    unit: Floats = np.divide(embedding, lengths, out=np.zeros_like(embedding), where=lengths > 0)
    return unit


def _encode_values(values: pa.ChunkedArray, user: Positions) -> tuple[Positions, Positions]:
    array = values.combine_chunks()
    if pa.types.is_list(array.type):
        # list_flatten() loses which list an element was in, so the users are repeated alongside.
        user = user[pc.list_parent_indices(array).to_numpy()]
        array = pc.list_flatten(array)
    present = array.is_valid().to_numpy(zero_copy_only=False)
    codes = array.drop_null().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return user[present], codes.astype(np.int64)


def _average_by_user(values: pa.ChunkedArray, user: Positions, users: int) -> npt.NDArray[np.float64]:
    number = values.to_numpy()
    is_present = np.isfinite(number)
    total = np.bincount(user[is_present], number[is_present], minlength=users)
    count = np.bincount(user[is_present], minlength=users)
    # A user without any value gets the mean of all users, which is neutral.
    overall = total.sum() / max(count.sum(), 1)
    means: npt.NDArray[np.float64] = np.divide(total, count, out=np.full(users, overall), where=count > 0)
    return means


def _standardise(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred: npt.NDArray[np.float64] = values - values.mean()
    # Clipped, so that a few extreme users do not determine the scale of the rest.
    return _NUMBER_WEIGHT * (centred / (values.std() or 1)).clip(-3, 3)
