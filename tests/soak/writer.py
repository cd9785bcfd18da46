"""One writing process: many tasks that append, conflict, repeat themselves and roll back. Prints the id of every event
that the log acknowledged, and is killed whenever it suits the test: `python writer.py URL TASKS SEED`"""

import asyncio
import random
import sys
from uuid import UUID

import asyncpg

from events.database import open_pool
from events.envelope import Event, new_event
from events.errors import Unavailable
from events.log.append import Appender
from events.log.batch import Appended, AppendRequest, Duplicate, append_arguments

STREAMS = 50


def event(stream: str) -> Event:
    return new_event(type="soak.happened", stream=stream, tenant="soak", source="/soak", data=b'{"n":1}')


async def write(appender: Appender, dice: random.Random) -> None:
    while True:
        stream = f"soak:{dice.randrange(STREAMS)}"
        events = tuple(event(stream) for _ in range(dice.randint(1, 8)))
        # Mostly any version; now and then one that cannot be right.
        expected = dice.choice((-1, -1, -1, -2, 0, 7))
        request = AppendRequest("soak", stream, events, expected)
        try:
            for _ in range(dice.choice((1, 1, 1, 2))):  # a repetition must change nothing
                outcome = await appender.append(request)
        except Unavailable:
            continue
        if isinstance(outcome, Appended | Duplicate):
            acknowledge(*(e.id for e in events))


def acknowledge(*ids: UUID) -> None:
    sys.stdout.write("".join(f"{id_}\n" for id_ in ids))
    sys.stdout.flush()


async def roll_back(url: str, dice: random.Random) -> None:
    """Somebody who appends within a transaction and thinks better of it: positions must be given back."""
    while True:
        try:
            connection = await asyncpg.connect(url)
            try:
                while True:
                    stream = f"soak:{dice.randrange(STREAMS)}"
                    transaction = connection.transaction()
                    await transaction.start()
                    await append_one(connection, event(stream))
                    await transaction.rollback()
                    await asyncio.sleep(dice.uniform(0, 0.05))
            finally:
                connection.terminate()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(0.05)


async def append_one(connection: "asyncpg.Connection[asyncpg.Record]", one: Event) -> None:
    arguments = append_arguments([AppendRequest("soak", one.subject, (one,))])
    places = ", ".join(f"${place}" for place in range(1, len(arguments) + 1))
    await connection.fetch(f"SELECT * FROM events.append({places})", *arguments)


async def main(url: str, tasks: int, seed: int) -> None:
    async with open_pool(url, name="soak", size=4) as pool, Appender(pool) as appender:
        writers = [write(appender, random.Random(seed + n)) for n in range(tasks)]
        await asyncio.gather(*writers, roll_back(url, random.Random(seed)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
