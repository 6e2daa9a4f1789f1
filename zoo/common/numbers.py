"""Numbers as people read them."""


def duration(seconds: float) -> str:
    """About so long: `0.012 s`, `41 s`, `12 min`, `3.5 h`, `12 days`."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def quantity(count: float) -> str:
    """61,706 as it is, 27,711,000 as 27.71 M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:,.0f}"


def figure(value: float) -> str:
    """A score with three decimals, a small error with four digits."""
    return f"{value:.3f}" if abs(value) >= 0.1 or not value else f"{value:.4g}"
