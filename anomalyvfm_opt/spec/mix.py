"""The mix of synthetic anomalies: three shares that sum to 1, or two uniform numbers that break into them.

Breaking a stick in this way is uniform on the simplex (the density of Dirichlet(1, 1, 1)).
"""

import math

from anomalyvfm_opt.spec.space import Shares


def break_stick(u1: float, u2: float) -> tuple[float, float, float]:
    """Return the shares (texture, structural, contextual) that two numbers in 0-1 break into."""
    texture = 1 - math.sqrt(1 - u1)
    structural = u2 * (1 - texture)
    return texture, structural, max(0.0, 1 - texture - structural)


def join_stick(texture: float, structural: float) -> tuple[float, float]:
    """Return the two numbers in 0-1 that break into these shares; the third share is the rest."""
    rest = 1 - texture
    return 1 - rest * rest, min(1.0, structural / rest) if rest > 0 else 0.0


def bound_mix(mix: Shares | str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (least, greatest) of each of the two numbers.

    Args:
        mix: as in `Space.synthesis_mix`; fixed shares are to the last digit what a reference has.
    """
    if mix == "simplex":
        return (0.0, 1.0), (0.0, 1.0)
    texture, structural, _ = mix.exact() if isinstance(mix, Shares) else (1 / 3, 1 / 3, 1 / 3)
    u1, u2 = join_stick(texture, structural)
    return (u1, u1), (u2, u2)
