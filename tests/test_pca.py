from __future__ import annotations

import numpy as np
import pytest

from report.pca import principal_components


def test_against_the_eigenvectors_of_the_correlations() -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 6)) + 0.1 * rng.standard_normal((40, 6))
    xy, share = principal_components(table)
    values, vectors = np.linalg.eigh(np.corrcoef(table.T))
    z = (table - table.mean(0)) / table.std(0)
    expected = z @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(abs(xy), abs(expected), atol=1e-9)
    np.testing.assert_allclose(share, values[[-1, -2]] / values.sum(), atol=1e-12)


def test_the_unit_of_a_column_does_not_count_and_a_constant_one_says_nothing() -> None:
    rng = np.random.default_rng(1)
    table = rng.standard_normal((20, 4))
    xy, _ = principal_components(table)
    again, _ = principal_components(np.hstack([table * [1, 1000, 0.01, 5], np.full((20, 1), 1 / 3)]))
    np.testing.assert_allclose(again, xy, atol=1e-9)


def test_the_sign_does_not_depend_on_the_order_of_rows() -> None:
    table = np.random.default_rng(2).standard_normal((15, 5))
    order = np.random.default_rng(3).permutation(15)
    np.testing.assert_allclose(principal_components(table[order])[0], principal_components(table)[0][order], atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 4), (5, 1), (2, 3)])
def test_small_tables(shape: tuple[int, int]) -> None:
    xy, share = principal_components(np.random.default_rng(4).standard_normal(shape))
    assert xy.shape == (shape[0], 2)
    assert np.isfinite(xy).all()
    assert share.sum() <= 1 + 1e-12


def test_what_is_no_table() -> None:
    for table in (np.zeros((0, 3)), np.zeros(3), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match=r"table must be \(n, d\) of finite numbers"):
            principal_components(table)
