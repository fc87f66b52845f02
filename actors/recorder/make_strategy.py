"""The strategy that a robot's settings mean."""

from __future__ import annotations

from .dagger import CorrectionStrategy
from .episodic import EpisodicStrategy
from .highlight import HighlightStrategy
from .sentry import SentryStrategy
from .strategy import BaseStrategy, Strategy
from .strategy_settings import (
    BaseSettings,
    DaggerSettings,
    EpisodicSettings,
    HighlightSettings,
    SentrySettings,
    StrategySettings,
    TeleopSettings,
)


def make(settings: StrategySettings, home: dict[str, float]) -> Strategy:
    """The strategy, at its beginning. `home` is the pose that the robot began in, by joints."""
    match settings:
        case BaseSettings():
            return BaseStrategy()
        case TeleopSettings():
            episode_ns, reset_ns = _ns(settings.episode_time_s), _ns(settings.reset_time_s)
            return EpisodicStrategy(settings.episodes, "person", episode_ns, reset_ns)
        case DaggerSettings(record_autonomous=False):
            return CorrectionStrategy(settings.episodes)
        case EpisodicSettings() | DaggerSettings():
            return EpisodicStrategy(
                settings.episodes,
                "policy",
                _ns(settings.episode_time_s),
                _ns(settings.reset_time_s),
                home if settings.home else None,
            )
        case SentrySettings():
            return SentryStrategy(round(settings.rotate_s * 1e9), round(settings.rotate_mb * 1e6))
        case HighlightSettings():
            return HighlightStrategy(round(settings.after_s * 1e9))


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)
