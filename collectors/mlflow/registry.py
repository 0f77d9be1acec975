"""The model registry of one MLflow server over time: new versions and aliases that moved, as things that changed."""

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Event, Fact, ReadingsBuilder
from collectors.mlflow.parser import ModelRow
from collectors.runtime.base import Source

DAY_S = 86_400.0
GONE = "none"
"""What an alias that was taken away names from then on."""


class Registry:
    """Takes the registered models of each answer, gives facts, events and readings."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._models: list[ModelRow] | None = None
        self._told: dict[str, str] = {}
        self._aliases: dict[tuple[str, str], str] = {}

    def observe(self, models: list[ModelRow], now: float) -> tuple[list[Event], list[Fact]]:
        """Take the registry as it is now; return what changed.

        A version carries the time it was registered, so that those of the last day are told at first sight too. An
        alias has none: that it moved is known when it was seen elsewhere before, as the difference of two facts.
        """
        self._models = models
        events, facts = [], []
        aliases = {(model.name, alias): version for model in models for alias, version in model.aliases}
        for model in models:
            newest = model.newest
            if newest is None:
                continue
            facts.append(Fact(self._of(model.name), "version", newest.number, watched=False))
            if self._told.get(model.name) != newest.number and now - newest.at < DAY_S:
                events.append(self._registered(model.name, newest.number, newest.status, newest.at, now))
            self._told[model.name] = newest.number
        for name, alias in {**self._aliases, **aliases}:
            facts.append(Fact(self._of(name), f"alias {alias}", aliases.get((name, alias), GONE)))
        self._aliases = aliases
        return events, facts

    def read(self, readings: ReadingsBuilder, now: float) -> None:
        """Add what is known of the registry at a time; nothing while it could not be read."""
        if self._models is None:
            return
        readings.add("pipelines.models", Entity.of(source=self._source.name), float(len(self._models)))
        for model in self._models:
            if model.newest is not None:
                readings.add("pipelines.model.age", self._of(model.name), max(now - model.newest.at, 0.0))

    def _registered(self, name: str, number: str, status: str, at: float, now: float) -> Event:
        state = "" if status in ("", "READY") else f", {status.lower().replace('_', ' ')}"
        text = f"model {name}: version {number} registered{state}"
        detail = (("key", "version"), ("after", number))
        source = self._source
        return Event(at, now, source.layer, "changed", "info", self._of(name), text, source.name, detail)

    def _of(self, model: str) -> Entity:
        return Entity.of(source=self._source.name, model=model)
