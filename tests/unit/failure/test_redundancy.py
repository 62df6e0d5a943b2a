"""Clusters by hand and against scikit-learn; who stands for a cluster."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering

from glioflow.failure.correlations import rank_correlations
from glioflow.failure.redundancy import cluster_features

# a, b and c tell the same (c the other way round), d is near them but not enough, e is alone.
BY_HAND = np.array(
    [
        [1.00, 0.95, -0.92, 0.50, 0.00],
        [0.95, 1.00, -0.97, 0.93, 0.10],
        [-0.92, -0.97, 1.00, -0.60, 0.00],
        [0.50, 0.93, -0.60, 1.00, 0.20],
        [0.00, 0.10, 0.00, 0.20, 1.00],
    ]
)


def test_every_two_features_of_a_cluster_tell_the_same_whatever_their_sign() -> None:
    clusters, _ = cluster_features(BY_HAND)
    assert clusters.tolist() == [1, 1, 1, 2, 3]


def test_the_one_nearest_to_all_others_stands_for_its_cluster() -> None:
    _, stands = cluster_features(BY_HAND)
    assert stands.tolist() == [False, True, False, True, True]


def test_where_they_tie_the_first_stands_for_both() -> None:
    _, stands = cluster_features(np.array([[1, 0.95], [0.95, 1]]))
    assert stands.tolist() == [True, False]


def test_a_feature_that_does_not_vary_is_in_no_cluster() -> None:
    correlations = rank_correlations(np.stack([np.arange(9.0), np.ones(9), -np.arange(9.0)], axis=1))
    clusters, stands = cluster_features(correlations)
    assert clusters.tolist() == [1, 0, 1]
    assert stands.tolist() == [True, False, False]


@pytest.mark.parametrize("features", [0, 1])
def test_few_features_are_their_own_clusters(features: int) -> None:
    clusters, stands = cluster_features(np.ones((features, features)))
    assert clusters.tolist() == [1] * features
    assert stands.tolist() == [True] * features


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(4, 25))
def test_the_clusters_are_those_of_scikit_learn(seed: int, features: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(40, 4)) @ rng.normal(size=(4, features)) + 0.4 * rng.normal(size=(40, features))
    correlations = rank_correlations(values)
    clusters, stands = cluster_features(correlations)
    model = AgglomerativeClustering(n_clusters=None, metric="precomputed", linkage="complete", distance_threshold=0.1)
    expected = model.fit_predict(1 - np.abs(correlations))
    assert len(set(zip(clusters, expected, strict=True))) == len(set(clusters)) == len(set(expected))
    assert sorted(clusters[stands]) == sorted(set(clusters))
