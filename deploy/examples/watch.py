"""Watch a job from its first event to its end: `python deploy/examples/watch.py JOB_ID [KEY_FILE]`"""

import asyncio
import os
import sys
from pathlib import Path

import aiohttp


async def watch(job_id: str, key: str) -> None:
    url = os.environ.get("MILLRACE_URL", "http://127.0.0.1:8080")
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.ws_connect(f"{url}/ws/{job_id}?after=0") as socket,
    ):
        async for message in socket:
            frame = message.json()
            percent, said = f"{frame['progress_percent']}%", frame["step_message"] or ""
            print(frame["version"], frame["type"], frame["status"], percent, said)
            if frame["status"] in ("COMPLETED", "FAILED", "CANCELLED"):
                break


if __name__ == "__main__":
    key_file = sys.argv[2] if len(sys.argv) > 2 else ".millrace/admin-key"
    asyncio.run(watch(sys.argv[1], Path(key_file).read_text().strip()))
