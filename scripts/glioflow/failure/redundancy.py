"""Which features tell the same: clusters by rank correlation, and the feature that stands for each.

Complete linkage on 1 - |rho|, cut at ``CUT``: any two features of a cluster have a |rho| of 0.9 or more. The one with the
largest mean |rho| within its cluster stands for it. The metric has no part in it, so that nothing is chosen for going along
with it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

CUT = 0.1
# Means that differ by less tie: the first feature stands for the cluster.
SAME = 1e-12

Floats = NDArray[np.float64]


def cluster_features(correlations: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the cluster of each feature (from 1, in the features' order) and whether it stands for its cluster.

    ``correlations``: (features, features), with NaN for a feature that does not vary: it is in cluster 0, and stands for
    nothing.
    """
    clusters = np.zeros(len(correlations), np.int64)
    stands = np.zeros(len(correlations), bool)
    varying = np.flatnonzero(~np.isnan(correlations).all(axis=0) & ~np.isnan(np.diag(correlations)))
    # Where a pair has no correlation, nothing says that the two tell the same.
    strength = np.nan_to_num(np.abs(correlations[np.ix_(varying, varying)]), nan=0.0)
    if len(varying) == 1:
        clusters[varying], stands[varying] = 1, True
    if len(varying) < 2:
        return clusters, stands
    distance = np.clip(1 - strength, 0, None)
    np.fill_diagonal(distance, 0)
    found = fcluster(linkage(squareform(distance, checks=False), "complete"), CUT, "distance")
    for number, label in enumerate(dict.fromkeys(found), 1):
        members = np.flatnonzero(found == label)
        clusters[varying[members]] = number
        mean = strength[np.ix_(members, members)].mean(axis=1)
        stands[varying[members[np.argmax(mean > mean.max() - SAME)]]] = True
    return clusters, stands
