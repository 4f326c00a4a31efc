"""Equations of the site: from TeX to MathML, and where a long one may be broken."""

from docs.equation import mathml, pieces


def test_lines_of_an_equation_are_aligned() -> None:
    drawn = mathml(r"a &= b \\ &= c", display=True)
    assert drawn.count("<mtr>") == 2
    assert drawn.count("<mtd") == 4


def test_a_long_equation_can_be_broken() -> None:
    assert pieces("y = x + 1") == [["y = x + 1"]]
    chains = pieces(r"a[l] = \sum_{k=0}^{K} b[k] = c \quad\text{if } d, \qquad e[l] = f[l] + g[l] + h[l]")
    assert chains == [["a[l]", r"= \sum_{k=0}^{K} b[k]", "= c", r"\text{if } d,"], ["e[l]", "= f[l] + g[l] + h[l]"]]
    assert len(pieces(r"a + b + c + d + e + f + g + h &= b \\ &= c + d + e")) == 1
    [chain] = pieces(r"y_k = \frac{e^{x_k}}{S} \cdot e^{x_c} = y_k \cdot ([k = c] - y_c)")
    assert chain[-1] == r"= y_k \cdot ([k = c] - y_c)", "broken inside brackets"
    [chain] = pieces(r"x \to \text{ELU} \to a \to F \text{ and many words that no phone has room for}")
    assert chain == [
        "x",
        r"\to \text{ELU}",
        r"\to a",
        r"\to F",
        r"\text{ and many words that no}",
        r"\text{phone has room for}",
    ]


def test_the_index_l_does_not_read_as_a_one() -> None:
    assert "<mi>ℓ</mi>" in mathml("x[l]", display=False)
    assert "ℓ" not in mathml(r"L + 1 + \log x", display=False)


def test_a_prime_is_not_raised_twice() -> None:
    assert "<msup>" not in mathml("w[k', c']", display=False)
    assert mathml("k'^2 + x^2", display=False).count("<msup>") == 2
