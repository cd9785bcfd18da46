"""What one writes first: a FastAPI app that forwards by httpx. `python fastapi_proxy.py UPSTREAM`, its port in
MILLRACE_PORT."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask


def proxy(upstream: str) -> FastAPI:
    client = httpx.AsyncClient(base_url=upstream)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def forward(request: Request, path: str) -> StreamingResponse:
        headers = [(name, value) for name, value in request.headers.items() if name != "host"]
        passed = client.build_request(request.method, f"/{path}", headers=headers, content=request.stream())
        answer = await client.send(passed, stream=True)
        return StreamingResponse(
            answer.aiter_raw(),
            status_code=answer.status_code,
            headers=dict(answer.headers),
            background=BackgroundTask(answer.aclose),
        )

    return app


if __name__ == "__main__":
    uvicorn.run(
        proxy(sys.argv[1]), port=int(os.environ["MILLRACE_PORT"]), log_level="warning", access_log=False, loop="uvloop"
    )
