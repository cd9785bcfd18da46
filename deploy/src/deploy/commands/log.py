"""`millrace log`: read it, watch it, verify it."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from deploy.exits import Exit
from deploy.options import POSITION, as_json, on_a_loop
from deploy.printing import note, print_facts, print_json, print_table, progress
from deploy.target import find_target, open_owner_pool
from deploy.verification import verify as verify_log
from events.envelope import RecordedEvent, encode_json
from events.log.doorbell import Doorbell
from events.log.follow import Follower
from events.log.log import EventLog

_PAGE = 500
_LOOK_BACK = 10_000  # events that `tail` looks through for the last ones that are wanted

_tenant = click.option("--tenant", help="Only events of this tenant.")
_stream = click.option("--stream", help="Only events of this stream, as job:<id>.")
_type = click.option("--type", "type_", help="Only events of this type, as job.failed, or of a category, as job.")


@click.group()
def log() -> None:
    """Read the event log, watch it, verify it."""


@log.command()
@click.option("--after", type=POSITION, default=0, show_default=True, help="The position to go on after.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@_tenant
@_stream
@_type
@as_json
@on_a_loop
async def read(
    after: int, limit: int, tenant: str | None, stream: str | None, type_: str | None, as_json: bool
) -> None:
    """Print events from a position on; with --json whole, one a line."""
    wanted = _Wanted(tenant, stream, type_)
    async with open_owner_pool(find_target(), size=1) as pool:
        found, reader = 0, EventLog(pool)
        while found < limit and (page := await reader.read(after, _PAGE, tenant=tenant)):
            after = page[-1].position
            fitting = [event for event in page if wanted.has(event)][: limit - found]
            _print(fitting, as_json=as_json, header=found == 0)
            found += len(fitting)
    if not found:
        note("No event fits.")


@log.command()
@click.option("-n", "--lines", type=click.IntRange(0, _LOOK_BACK), default=10, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Then print each as it comes, until Ctrl-C.")
@_tenant
@_stream
@_type
@as_json
@on_a_loop
async def tail(
    lines: int, follow: bool, tenant: str | None, stream: str | None, type_: str | None, as_json: bool
) -> None:
    """Print the last events, and those that come."""
    wanted = _Wanted(tenant, stream, type_)
    async with open_owner_pool(find_target(), size=3) as pool:
        reader = EventLog(pool)
        head = await reader.head()
        last: list[RecordedEvent] = []
        end = head.position
        while lines and end > 0 and len(last) < lines and head.position - end < _LOOK_BACK:
            begin = max(end - _PAGE, 0)
            page = await reader.read(begin, end - begin)
            last = [event for event in page if wanted.has(event)] + last
            end = begin
        _print(last[-lines:] if lines else [], as_json=as_json)
        if not follow:
            return
        async with Doorbell(pool) as doorbell:
            async for batch in Follower(reader, after=head.position, epoch=head.epoch, doorbell=doorbell):
                _print([event for event in batch if wanted.has(event)], as_json=as_json, header=False)


@log.command()
@click.option("--projections/--no-projections", default=True, help="Make them a second time, and compare.")
@as_json
@on_a_loop
async def verify(projections: bool, as_json: bool) -> None:
    """Verify every position, version and id, and that the projections are what the log says.

    It stops nobody. Projections are compared in one snapshot, for which PostgreSQL keeps old rows. Exit code 1 if
    something does not hold.
    """
    async with open_owner_pool(find_target(), size=1) as pool:
        with progress("Verifying") as advance:
            report = await verify_log(pool, advance, projections=projections)
    if as_json:
        print_json(
            {
                "epoch": report.epoch,
                "events": report.events,
                "clean": report.clean,
                "verdicts": [{"holds": one.holds, "wrong": one.wrong} for one in report.verdicts],
            }
        )
    else:
        print_facts({"epoch": report.epoch, "events": report.events})
        print_table(
            [
                {"state": "wrong" if one.wrong else "ok", "what": one.holds, "not for": ", ".join(one.wrong)}
                for one in report.verdicts
            ],
            ("state", "what", "not for"),
        )
    if not report.clean:
        note("A rebuild mends projections (`millrace rebuild`). What is wrong in the log itself, only a backup has.")
        raise click.exceptions.Exit(Exit.WRONG)


@log.command()
@as_json
@on_a_loop
async def epochs(as_json: bool) -> None:
    """Print which logs this one has been, and since when."""
    async with open_owner_pool(find_target(), size=1) as pool:
        rows = await pool.fetch("SELECT began_at, after_position, epoch, because FROM events.epochs ORDER BY number")
    found = [dict(row) for row in rows]
    if as_json:
        print_json(found)
    else:
        print_table(found, ("began_at", "after_position", "epoch", "because"))


@log.command("new-epoch")
@click.argument("why")
@click.confirmation_option(prompt="Every client's cursor will be refused, and each starts over. Go on?")
@as_json
@on_a_loop
async def new_epoch(why: str, as_json: bool) -> None:
    """Make it another log, for what nobody can notice: a copy of the files, a backup of somebody else's."""
    async with open_owner_pool(find_target(), size=1) as pool:
        epoch = await pool.fetchval("SELECT events.renew_epoch($1)", why)
    if as_json:
        print_json({"epoch": epoch})
    else:
        click.echo(epoch)


class _Wanted:
    def __init__(self, tenant: str | None, stream: str | None, type_: str | None) -> None:
        self._tenant, self._stream, self._type = tenant, stream, type_

    def has(self, event: RecordedEvent) -> bool:
        return (
            self._tenant in (None, event.tenant)
            and self._stream in (None, event.subject)
            and (self._type is None or event.type == self._type or event.type.startswith(f"{self._type}."))
        )


def _print(events: Sequence[RecordedEvent], *, as_json: bool, header: bool = True) -> None:
    if as_json:
        for event in events:
            click.echo(encode_json(event))
    elif events:
        columns = ("position", "time", "tenant", "stream", "version", "type", "says")
        print_table([_row(event) for event in events], columns, header=header)


def _row(event: RecordedEvent) -> dict[str, Any]:
    data = msgspec.json.decode(event.data)
    says = data.get("step_message") or data.get("error") or data.get("status") or "" if isinstance(data, dict) else ""
    return {
        "position": event.position,
        "time": f"{event.time:%Y-%m-%d %H:%M:%S}",
        "tenant": event.tenant,
        "stream": event.subject,
        "version": event.version,
        "type": event.type,
        "says": says if isinstance(says, str) else msgspec.json.encode(says).decode(),
    }
