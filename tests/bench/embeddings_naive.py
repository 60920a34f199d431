"""A server that calls sentence-transformers' `encode` for each request, in a thread, as most examples do: spark_embed is held to it.

python embeddings_naive.py MODEL PORT
"""

import asyncio
import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module


def main(name: str, port: int) -> None:
    model = import_module("sentence_transformers").SentenceTransformer(name, device="cpu")
    threads = ThreadPoolExecutor(40)  # as FastAPI has for handlers that are no coroutines

    def answer(body: bytes) -> bytes:
        vectors = model.encode(json.loads(body)["input"], show_progress_bar=False)
        data = [{"embedding": base64.b64encode(vector.tobytes()).decode()} for vector in vectors]
        return json.dumps({"data": data}).encode()

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        found = await asyncio.get_running_loop().run_in_executor(threads, answer, body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(found)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": found})

    import_module("uvicorn").run(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
