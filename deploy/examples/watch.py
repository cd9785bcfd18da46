"""Watch a job from its first event to its end: `python deploy/examples/watch.py JOB_ID [KEY_FILE]`"""

import asyncio
import os
import sys
from pathlib import Path

import aiohttp

URL = os.environ.get("MILLRACE_URL", "http://127.0.0.1:8080")


async def watch(job_id: str, key: str) -> None:
    async with aiohttp.ClientSession(URL, headers={"Authorization": f"Bearer {key}"}) as session:
        await look(session, job_id)
        seen = 0
        while True:  # a connection may end at any time: the next one goes on where it was
            try:
                async with session.ws_connect(f"/ws/{job_id}?after={seen}") as socket:
                    async for message in socket:
                        frame = message.json()
                        seen = frame["version"]
                        percent, said = f"{frame['progress_percent']}%", frame["step_message"] or ""
                        print(seen, frame["type"], frame["status"], percent, said)
                        if frame["status"] in ("COMPLETED", "FAILED", "CANCELLED"):
                            return
            except aiohttp.WSServerHandshakeError as refused:
                if refused.status < 500 and refused.status != 429:  # revoked meanwhile, or the log is another one
                    await look(session, job_id)
                    sys.exit(f"{URL} lets us watch no longer: {refused.status} {refused.message}")
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(1)


async def look(session: aiohttp.ClientSession, job_id: str) -> None:
    """Whether there is such a job, and we may see it: a socket could only be refused."""
    try:
        async with session.get(f"/api/v1/jobs/{job_id}") as answer:
            if answer.status != 200:
                problem = await answer.json(content_type=None)
                sys.exit(f"{URL} says: {problem['detail']}")
    except (aiohttp.ClientError, TimeoutError) as gone:
        sys.exit(f"Nobody answers at {URL} (MILLRACE_URL): {gone}")
    except (ValueError, KeyError, TypeError):
        sys.exit(f"What answers at {URL} (MILLRACE_URL) is no Millrace.")


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("Say which job: watch.py JOB_ID [KEY_FILE]")
    key_file = Path(sys.argv[2] if len(sys.argv) == 3 else ".millrace/admin-key")
    try:
        key = key_file.read_text().strip()
    except OSError as refused:
        sys.exit(f"There is no key to be read in {key_file} ({refused.strerror}).")
    try:
        asyncio.run(watch(sys.argv[1], key))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
