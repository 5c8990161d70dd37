"""The price table: a dated TOML file that names its source and its pricing models."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tools.errors import CommandError
from tools.toml_file import read_toml

SHIPPED = Path(__file__).parent.parent.parent / "artifacts" / "prices.toml"


class Pricing(StrEnum):
    """How instances are paid."""

    ON_DEMAND = "on-demand"
    RESERVED = "reserved"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Instance(_Strict):
    """[[instance]]: one kind of machine and its price."""

    name: str = Field(min_length=1)
    backend: Literal["neuron", "cuda", "cpu"]
    """What a worker runs on there."""
    accelerator: str
    vcpus: int = Field(ge=1)
    workers: int = Field(ge=1)
    """Worker processes of one instance: one per NeuronCore, per GPU, or one that takes all vCPUs."""
    on_demand_usd_per_hour: float = Field(gt=0)
    reserved_usd_per_hour: float | None = Field(default=None, gt=0)
    reserved_source: str | None = None

    @model_validator(mode="after")
    def _names_its_source(self) -> Self:
        if self.reserved_usd_per_hour is not None and not self.reserved_source:
            msg = f"{self.name} has a reserved price without a source: add reserved_source"
            raise ValueError(msg)
        return self

    def usd_per_hour(self, pricing: Pricing) -> float | None:
        """Price of an hour; None if the table does not say."""
        return self.on_demand_usd_per_hour if pricing is Pricing.ON_DEMAND else self.reserved_usd_per_hour


class PublishedSaving(_Strict):
    """[published_saving]: a saving that somebody published, whose throughput ratio `plan` works out."""

    share: float = Field(gt=0, lt=1)
    """Of the bill of GPU instances on demand."""
    instance: str
    """On what it was saved."""
    source: str = Field(min_length=1)
    says: str
    """What the source states and leaves open."""


class Prices(_Strict):
    """The table."""

    date: date
    currency: Literal["USD"]
    region: str = Field(min_length=1)
    source: str = Field(min_length=1)
    """Of the prices on demand."""
    instance: tuple[Instance, ...] = Field(min_length=1)
    published_saving: PublishedSaving | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [each.name for each in self.instance]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"two instances are named {twice[0]!r}: remove one"
            raise ValueError(msg)
        if self.published_saving is not None and self.published_saving.instance not in names:
            msg = f"published_saving speaks of {self.published_saving.instance!r}, which is no [[instance]]: add it"
            raise ValueError(msg)
        return self

    @property
    def names(self) -> str:
        """Of all instances, for a sentence."""
        return ", ".join(each.name for each in self.instance)

    def find(self, name: str) -> Instance | None:
        """Give an instance by its name."""
        return next((each for each in self.instance if each.name == name), None)


def load_prices(path: Path) -> Prices:
    """Read a price table.

    Raises:
        CommandError: naming the file, the line where there is one, and what would be right.
    """
    try:
        return Prices.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        line = line_of(path.read_text(encoding="utf-8"), first["loc"])
        msg = f"{path}{'' if line is None else f', line {line}'}: {_complaint(first)}"
        raise CommandError(msg) from error


def line_of(text: str, place: tuple[int | str, ...]) -> int | None:
    """Find the line of a key in a TOML text, or else of its table; None if neither is there.

    Args:
        text: the file's content.
        place: as pydantic names it: key; table, key; or array, number from 0, key.
    """
    lines = [line.strip() for line in text.splitlines()]
    start = 0
    if len(place) > 1:
        name = place[0]
        headers = [number for number, line in enumerate(lines) if line.startswith((f"[{name}]", f"[[{name}]]"))]
        nth = next((part for part in place if isinstance(part, int)), 0)
        if nth >= len(headers):
            return None
        start = headers[nth] + 1
    for number in range(start, len(lines)):
        if lines[number].startswith("["):
            break
        if lines[number].partition("=")[0].strip() == str(place[-1] if place else ""):
            return number + 1
    return start or None


def _complaint(first: Any) -> str:
    """Say what is wrong with which key, and the remedy."""
    place = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in first["loc"])
    if first["type"] == "missing" and place == "date":
        return "there is no date: add the day on which the prices were read as its first line, such as date = 2026-11-26"
    if first["type"] == "missing":
        return f"{place} is missing: add it"
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}: remove it, or see artifacts/prices.toml for the known ones"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{place}: {first['msg']} (given: {first['input']!r}): correct it"
