"""Order of rows in which similar rows are next to each other."""

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

MAX_OPTIMAL = 600  # rows; the time of an optimal order is their square and more


def order_rows(similarity: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Return the rows in clustered order; with classes, class by class."""
    if y is None:
        return order_by_clusters(similarity)
    names = list(dict.fromkeys(y))
    members = [np.flatnonzero([label == name for label in y]) for name in names]
    means = np.array(
        [[similarity[np.ix_(rows, columns)].mean() for columns in members] for rows in members]
    )
    ordered = [
        members[i][order_by_clusters(similarity[np.ix_(members[i], members[i])])]
        for i in order_by_clusters(means)
    ]
    return np.concatenate(ordered)


def order_by_clusters(similarity: np.ndarray) -> np.ndarray:
    """Return the leaves of average linkage, so ordered that neighbors are similar."""
    if len(similarity) < 3:
        return np.arange(len(similarity))
    distance = similarity.max() - (similarity + similarity.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(
        squareform(distance, checks=False),
        "average",
        optimal_ordering=len(similarity) <= MAX_OPTIMAL,
    )
    return leaves_list(tree)
