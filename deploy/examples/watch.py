"""Watch a job from its first event to its end: `python deploy/examples/watch.py JOB_ID [KEY_FILE]`"""

import asyncio
import os
import sys
from pathlib import Path

import aiohttp

URL = os.environ.get("MILLRACE_URL", "http://127.0.0.1:8080")


async def watch(job_id: str, key: str) -> None:
    async with aiohttp.ClientSession(URL, headers={"Authorization": f"Bearer {key}"}) as session:
        async with session.get(f"/api/v1/jobs/{job_id}") as answer:
            if answer.status != 200:
                sys.exit((await answer.json())["detail"])
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
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(1)


if __name__ == "__main__":
    key_file = sys.argv[2] if len(sys.argv) > 2 else ".millrace/admin-key"
    asyncio.run(watch(sys.argv[1], Path(key_file).read_text().strip()))
