"""An engine in a process of its own, behind the interface of any other.

ONNX Runtime GenAI lets no other thread of its process run while it computes, so that the page would stand still. A fault
of that library also ends only this process, and the next request starts another.
"""

import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from queue import Empty, SimpleQueue
from typing import IO, Any

from phi2demo.engine.engine import MARK, Engine, GenerationOptions, ModelInfo, Output, Prompt, Score, Snapshot, Tokens
from phi2demo.engine.planning import ModelPlan
from phi2demo.errors import ModelError, Phi2DemoError

logger = logging.getLogger(__name__)

HEARTBEAT_S = 0.2
"""Seconds after which a stream without news yields a snapshot, so that its reader can close it."""

Message = tuple[int, str, Any]
"""Number of a call, kind of the message, and what belongs to it."""


class ProcessEngine:
    """Passes every call to an engine in another process."""

    def __init__(self, plan: ModelPlan) -> None:
        """Start the process and wait until it has loaded the plan. Raises ModelError."""
        self._plan = plan
        self._lock = threading.Lock()
        self._worker = self._start()
        self._info: ModelInfo = self._call("info")

    @property
    def info(self) -> ModelInfo:
        """See `Engine.info`."""
        return self._info

    def count_tokens(self, text: str) -> int:
        """See `Engine.count_tokens`."""
        return int(self._call("count_tokens", text))

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """See `Engine.tokens`."""
        tokens: Tokens = self._call("tokens", text)
        return tokens

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: threading.Event | None = None
    ) -> Iterator[Snapshot]:
        """See `Engine.stream`."""
        worker = self._living()
        number, replies = worker.send("stream", (list(prompts), options))
        newest = Snapshot(texts=("",) * len(prompts), new_tokens=0, seconds=0.0)
        try:
            while newest.completions is None:
                reply = worker.next_reply(number, replies, cancel)
                newest = replace(newest, seconds=newest.seconds + HEARTBEAT_S) if reply is None else reply
                yield newest
        finally:
            worker.finish(number, is_done=newest.completions is not None)

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: threading.Event | None = None,
    ) -> list[Score]:
        """See `Engine.score`."""
        scores: list[Score] = self._call("score", list(prompts), list(outputs), adapter_strength, cancel=cancel)
        return scores

    def forget(self) -> None:
        """See `Engine.forget`."""
        self._call("forget")

    def close(self) -> None:
        """End the process."""
        self._worker.close()

    def _call(self, method: str, *arguments: Any, cancel: threading.Event | None = None) -> Any:
        worker = self._living()
        number, replies = worker.send(method, arguments)
        is_done = False
        try:
            while (reply := worker.next_reply(number, replies, cancel)) is None:
                pass
            is_done = True
            return reply[0]
        finally:
            worker.finish(number, is_done=is_done)

    def _living(self) -> "_Worker":
        """Return the process, or another where it has ended. Raises ModelError where that cannot load the plan."""
        with self._lock:
            if not self._worker.is_alive:
                logger.warning("starting the engine's process again")
                self._worker.close()
                self._worker = self._start()
            return self._worker

    def _start(self) -> "_Worker":
        """Start a process that ends with this engine, or with the app."""
        worker = _Worker(self._plan)
        weakref.finalize(self, worker.close)
        return worker


def load_engine(plan: ModelPlan) -> Engine:
    """Load the model of a plan in this process, or for ONNX Runtime in one of its own. Raises ModelError."""
    if plan.engine == "onnx":
        return ProcessEngine(plan)
    from phi2demo.engine.pair import load_here

    return load_here(plan)


class _Worker:
    """A process with an engine, and the calls that wait for its replies."""

    def __init__(self, plan: ModelPlan) -> None:
        command = [sys.executable, "-m", "phi2demo.engine.process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._waiting: dict[int, SimpleQueue[Message]] = {}
        threading.Thread(target=self._receive, name="engine's process", daemon=True).start()
        number, replies = self.send("load", (MARK, plan))
        try:
            while self.next_reply(number, replies, None) is None:
                pass
        except BaseException:
            self.close()
            raise
        self.finish(number, is_done=True)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, method: str, arguments: Any) -> tuple[int, "SimpleQueue[Message]"]:
        """Send a call; return its number, and the queue of its replies."""
        replies: SimpleQueue[Message] = SimpleQueue()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = replies
        self._write((number, method, arguments))
        return number, replies

    def next_reply(self, number: int, replies: "SimpleQueue[Message]", cancel: threading.Event | None) -> Any:
        """Return the next reply, or None after a while without one. Raises what the engine raised, or ModelError."""
        if cancel is not None and cancel.is_set():
            self._write((number, "cancel", None))
        try:
            _, kind, value = replies.get(timeout=HEARTBEAT_S)
        except Empty:
            if not self.is_alive:
                raise _ended(self._process.returncode) from None
            return None
        if kind == "error":
            raise value
        return value

    def finish(self, number: int, *, is_done: bool) -> None:
        """Forget a call; stop it where it is not done."""
        if not is_done:
            self._write((number, "cancel", None))
        with self._lock:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """End the process, which ends by itself when nobody can write to it any more."""
        assert self._process.stdin is not None
        with self._lock, suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self, message: Message) -> None:
        assert self._process.stdin is not None
        with self._lock:
            try:
                pickle.dump(message, self._process.stdin)
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError):  # it has ended, which whoever waits for the reply is told
                pass

    def _receive(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            while True:
                try:
                    message: Message = pickle.load(stdout)
                except (EOFError, pickle.UnpicklingError):
                    return
                with self._lock:
                    replies = self._waiting.get(message[0])
                if replies is not None:
                    replies.put(message)


def _ended(code: int | None) -> ModelError:
    return ModelError(
        f"The process of the engine ended unexpectedly (exit code {code}), perhaps because memory ran out. "
        "Try again: another one is started."
    )


class _Server:
    """The other side: answers the calls of one app, each in a thread of its own."""

    def __init__(self, calls: IO[bytes], replies: IO[bytes]) -> None:
        self._calls, self._replies = calls, replies
        self._lock = threading.Lock()
        self._cancels: dict[int, threading.Event] = {}
        self._engine: Engine | None = None
        self._mark = MARK

    def run(self) -> None:
        """Answer calls until the app ends."""
        while True:
            try:
                number, method, arguments = pickle.load(self._calls)
            except EOFError:
                return
            if method == "cancel":
                self._cancels.get(number, threading.Event()).set()
                continue
            self._cancels[number] = threading.Event()
            threading.Thread(target=self._answer, args=(number, method, arguments), daemon=True).start()

    def _answer(self, number: int, method: str, arguments: Any) -> None:
        cancel = self._cancels[number]
        try:
            for value in self._values(method, arguments, cancel):
                self._send((number, "value", value))
        except Phi2DemoError as error:
            self._send((number, "error", error))
        except Exception as error:  # the app has no other way to learn of it
            logger.exception("%s failed", method)
            self._send(
                (number, "error", ModelError(f"The engine failed ({type(error).__name__}: {error}). See the log."))
            )
        finally:
            del self._cancels[number]

    def _values(self, method: str, arguments: Any, cancel: threading.Event) -> Iterator[Any]:
        """Yield the snapshots of a stream, or the one value of any other call in a tuple, since it may be None."""
        if method == "load":
            self._load(*arguments)
            yield (None,)
            return
        engine = self._engine
        assert engine is not None
        if method == "stream":
            prompts, options = arguments
            yield from engine.stream(self._marked(prompts), options, cancel=cancel)
        elif method == "score":
            prompts, outputs, strength = arguments
            yield (engine.score(self._marked(prompts), outputs, adapter_strength=strength, cancel=cancel),)
        elif method == "info":
            yield (self._info(engine.info),)
        else:
            yield (getattr(engine, method)(*arguments),)

    def _load(self, mark: str, plan: ModelPlan) -> None:
        from phi2demo.engine.pair import load_here

        self._mark, self._engine = mark, load_here(plan)

    def _marked(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """Mark the special tokens of prompts as this process does."""
        return [
            replace(
                prompt, text=prompt.text.replace(self._mark, MARK), without=prompt.without.replace(self._mark, MARK)
            )
            for prompt in prompts
        ]

    def _info(self, info: ModelInfo) -> ModelInfo:
        """Mark the special tokens of the chat template as the app does."""
        if info.chat is None:
            return info
        texts = (text.replace(MARK, self._mark) for text in (info.chat.text, info.chat.text_with_system))
        return replace(info, chat=type(info.chat)(*texts))

    def _send(self, message: Message) -> None:
        with self._lock:
            pickle.dump(message, self._replies)
            self._replies.flush()


def main() -> None:
    """Serve the app that has started this process; it ends when the app does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the app, which ends what it has started
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    replies, sys.stdout = sys.stdout.buffer, sys.stderr  # what a library prints is no reply
    _Server(sys.stdin.buffer, replies).run()
    os._exit(0)  # a thread that computes cannot be ended, and nothing is left to be written


if __name__ == "__main__":
    main()
