"""What has been collected of a source: rows, the cursor that goes with them, and what is still to be moved.

`data/SOURCE/date=…/LOAD-N.parquet` are the rows, `quarantine/SOURCE/date=…/LOAD.jsonl` those that broke the
contract, `collect/SOURCE.json` the checkpoint. A load's files wait under `collect/pending/SOURCE/LOAD/` until
one conditional write of the checkpoint takes them in, together with dlt's state.
"""

from datetime import UTC, date, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from releases.problem import Refused

DATA = "data/"
QUARANTINE = "quarantine/"
CHECKPOINTS = "collect/"
PENDING = "collect/pending/"
KEPT_RUNS = 200
KEPT_REJECTED = 5000


class Piece(BaseModel):
    """One file of a load: where it waits and where it belongs."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    pending: str
    key: str
    rows: int


class Load(BaseModel):
    """What one run, or one day of a backfill, adds. Decided before it is moved, so it can be moved again."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    pieces: tuple[Piece, ...] = ()
    instead_of: tuple[str, ...] = Field((), description="Keys that go: these rows were collected anew.")
    rows: dict[str, int] = Field(default_factory=dict, description="Date → rows.")
    quarantined: int = 0
    newest: str = Field("", description="The highest value of the cursor, for people and checks.")


class Run(BaseModel):
    """What a load came to, for the table and the plot."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at: datetime
    load: str
    rows: int
    quarantined: int
    newest: str


class Checkpoint(BaseModel):
    """A source's. A load stands in `open` until all its pieces are where they belong."""

    model_config = ConfigDict(extra="ignore")

    format: int = 1
    run: str = Field("", description="Who collects now; a run that finds another one here has been replaced.")
    state: dict[str, str] = Field(default_factory=dict, description="dlt's own files: cursor and schema.")
    newest: str = ""
    rejected: list[str] = Field(default_factory=list, description="Hashes of rows that went to quarantine.")
    open: list[Load] = Field(default_factory=list)
    rows: dict[str, int] = Field(default_factory=dict, description="Date → rows collected.")
    runs: list[Run] = Field(default_factory=list, description="The last ones, oldest first.")

    def take_in(
        self, load: Load, state: dict[str, str] | None, rejected: tuple[str, ...], at: datetime
    ) -> None:
        """The rows and the cursor together. `state` None: a backfill, which leaves the cursor alone."""
        if state is not None:
            self.state = state
            self.rejected = [*self.rejected, *rejected][-KEPT_REJECTED:]
            self.newest = load.newest or self.newest
        for day, rows in load.rows.items():
            before = 0 if self._replaced(load, day) else self.rows.get(day, 0)
            self.rows[day] = before + rows
        self.open.append(load)
        run = Run(
            at=at,
            load=load.name,
            rows=sum(load.rows.values()),
            quarantined=load.quarantined,
            newest=load.newest,
        )
        self.runs = [*self.runs, run][-KEPT_RUNS:]

    @staticmethod
    def _replaced(load: Load, day: str) -> bool:
        return any(f"/date={day}/" in key for key in load.instead_of)


def folder(source: str, day: str) -> str:
    """Where a day's rows are."""
    return f"{DATA}{source}/date={day}/"


def days(first: date, last: date) -> list[date]:
    """Every day from the first to the last one, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def check_backfill(first: date, last: date, position: str) -> None:
    """Days on and after the cursor's own are the scheduled run's: both would take them. Raises Refused."""
    if last < first:
        raise Refused("the backfill ends before it begins", got=f"from {first} to {last}")
    if not position:
        raise Refused(
            "nothing was collected yet, so there is nothing to fill up",
            expected="a first run, which begins at `cursor.initial`",
            next_step="model-deploy collect SOURCE",
        )
    if last >= (reached := date.fromisoformat(position[:10])):
        raise Refused(
            "the scheduled run collects these days itself",
            expected=f"--to before {reached}, which is how far it has come",
            got=f"--to {last}",
        )


def age_hours(newest: str, now: datetime) -> float:
    """Hours since the cursor's highest value; without a zone it is in UTC."""
    moment = datetime.fromisoformat(newest)
    return (now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))).total_seconds() / 3600
