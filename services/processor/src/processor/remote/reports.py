"""What remote workers say: a sign of life, and told to the job if it is more than that.

Their words come in any order, twice, late, and from workers that were given up. One statement decides whether a word
still counts, by what the log says that the step waits for, and by who has taken the task.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from events.database import Pool, load_queries
from events.envelope import Event, category_of, encode_json
from events.errors import InvalidInput
from events.steps import (
    LARGEST_BYTES,
    SAID,
    SaidOfTask,
    StepCompleted,
    StepFailed,
    StepProgressed,
    StepReleased,
    StopTask,
)
from events.telemetry import Telemetry
from processor.remote.last_words import LastWord, LastWords
from processor.remote.tasks import RemoteTasks
from processor.workflows.commands import Command, Completed, Failed, Progress

# Between two mails to a job about the progress of one task.
SECONDS_BETWEEN = 0.5
_LONGEST_MESSAGE = 500
_LONGEST_DETAIL = 2000


class RemoteReports:
    def __init__(
        self, pool: Pool, tasks: RemoteTasks, telemetry: Telemetry, *, announce_mail: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._tasks = tasks
        self._last_words = LastWords(pool)
        self._announce_mail = announce_mail
        self._queries = load_queries("processor", "remote/queries.sql")
        self._words = telemetry.counter(
            "millrace_remote_words_total",
            "What remote workers said, and whether it counted.",
            {"type": [*SAID], "counted": ["yes", "no"]},
        )

    async def hear(self, event: Event, said: SaidOfTask) -> None:
        name = (said.task_id, event.tenant, _job_of(event), said.worker)
        counted = await self._counted(event, said, name)
        self._words.labels(event.type, "yes" if counted else "no").inc()
        if counted:
            self._announce_mail()
        elif not isinstance(said, StepCompleted | StepFailed | StepReleased):
            await self._tasks.tell_to_stop(StopTask(task_id=said.task_id, worker=said.worker))

    async def _counted(self, event: Event, said: SaidOfTask, name: tuple[UUID, str, UUID, str]) -> bool:
        match said:
            case StepCompleted() | StepFailed():
                return await self._last_words.take(LastWord(*name, _last_word(event, said), event.id))
            case StepProgressed():
                message = None if said.message is None else _text(said.message, _LONGEST_MESSAGE)
                row = await self._pool.fetchrow(
                    self._queries["progressed"], *name, event.id, said.done, message, SECONDS_BETWEEN
                )
            case StepReleased():
                row = await self._pool.fetchrow(self._queries["released"], *name)
            case _:
                row = await self._pool.fetchrow(self._queries["beat"], *name)
        return row is not None


def command_of(mail: dict[str, Any]) -> Command:
    """What a job's mail says of its task."""
    key, attempt, said = (mail["step"], mail["item"]), mail["attempt"], mail["said"]
    if "output" in said:
        return Completed(key, attempt, said["output"])
    if "done" in said:
        return Progress(key, said["done"], said["message"], attempt)
    if "lost" in said:
        detail = f"The worker was silent for {said['lost']:g} seconds in attempt {attempt}."
        return Failed(key, attempt, "worker_lost", detail, crashed=True)
    return Failed(key, attempt, said["code"], said["detail"], crashed=said["crashed"])


def _job_of(event: Event) -> UUID:
    try:
        if category_of(event.subject) == "job" and "\0" not in event.tenant:
            return UUID(event.subject.removeprefix("job:"))
    except ValueError:
        pass
    raise InvalidInput(f"The event {event.id} is of no job: {event.subject}.")


def _last_word(event: Event, said: StepCompleted | StepFailed) -> str:
    if isinstance(said, StepFailed):
        failed = {"code": said.code, "detail": _text(said.detail, _LONGEST_DETAIL), "crashed": said.crashed}
        return encode_json(failed).decode()
    if len(event.data) > LARGEST_BYTES:
        detail = f"The step's output has {len(event.data)} bytes; {LARGEST_BYTES} are allowed. Use a blob."
        return encode_json({"code": "output_too_large", "detail": detail, "crashed": False}).decode()
    try:
        # As it will be read again: what the log cannot hold must not get that far.
        output = msgspec.json.decode(event.data)["output"] if said.output is not None else None
        return encode_json({"output": output}).decode()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as wrong:
        raise InvalidInput(f"The event {event.id} has an output that cannot be kept: {wrong}.") from None


def _text(said: str, longest: int) -> str:
    """What PostgreSQL takes as text."""
    return said.replace("\0", "\ufffd")[:longest]
