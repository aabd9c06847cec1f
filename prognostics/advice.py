"""From figures to a word for the engineer: health zone and recommendation (ISO 13374-1, block 6: advisory generation).

Zones follow ISO 20816 in style: limits on broad-band vibration velocity (RMS, mm/s). The exact limits depend on the
machine group, so they are a setting. A short remaining life worsens the zone that vibration alone would give.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinloom.twin.assessments import Health

_ZONES = (Health.A, Health.B, Health.C, Health.D)


@dataclass(frozen=True, slots=True)
class ZoneLimits:
    """Upper ends of zones A, B, C in mm/s RMS, and the remaining lives [days] below which a part is in D, C, B."""

    vibration: tuple[float, float, float] = (1.4, 2.8, 4.5)
    rul_days: tuple[float, float, float] = (14.0, 30.0, 60.0)


LIMITS = ZoneLimits()


def zone_of_vibration(rms_mm_s: float, limits: ZoneLimits = LIMITS) -> Health:
    """The zone of a vibration level; unknown for NaN.

    >>> zone_of_vibration(3.0).value
    'C'
    """
    if rms_mm_s != rms_mm_s:
        return Health.UNKNOWN
    return _ZONES[sum(rms_mm_s > limit for limit in limits.vibration)]


def zone(rms_mm_s: float, rul_days: float, limits: ZoneLimits = LIMITS) -> Health:
    """The worse of the zones by vibration and by remaining life."""
    by_life = 3 - sum(rul_days >= limit for limit in limits.rul_days)
    by_vibration = zone_of_vibration(rms_mm_s, limits)
    return _ZONES[max(by_life, _ZONES.index(by_vibration))] if by_vibration in _ZONES else _ZONES[by_life]


def recommendation(health: Health, rul_days: float, low_days: float, *, trusted: bool = True) -> str:
    """One sentence that says what to do and by when. `trusted` False: an estimate by rule, to be confirmed first."""
    if health is Health.D:
        by = max(int(low_days), 0)
        when = f"within {by} days" if by > 1 else "now"
        left = f"about {rul_days:.0f} days of life left" if rul_days >= 1.5 else "its life is at its end"
        text = f"Replace {when}: {left}."
    elif health is Health.C:
        when = f"within {int(low_days)} days" if low_days >= 2 else "at the next stop"
        text = f"Plan the replacement {when}; order the part."
    elif health is Health.B:
        text = f"Keep running; look again within {max(int(low_days), 7)} days."
    elif health is Health.A:
        text = "No action."
    else:
        text = "Check the sensors: the condition is not known."
    return text if trusted or health in (Health.A, Health.UNKNOWN) else f"{text} Rule of thumb only: inspect first."
