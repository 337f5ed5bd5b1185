"""RemoteChat against a real server on the loopback interface."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch

from vidcausal.errors import ConfigError, ModelError, RemoteError, UnknownNameError
from vidcausal.models._remote_http import Retries, _retry_after_seconds
from vidcausal.models.remote import RemoteChat, ScoringRemoteChat, remote_chat
from vidcausal.protocols import Scoring, TextChat, VideoChat
from vidcausal.video.frames import FrameBatch

KEY = "sk-secret-0123456789"


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


@dataclass
class Server:
    """Answers from a list (the last one again and again) or a function; keeps what it was asked."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    answering: Callable[[str, dict[str, Any]], Answer] | None = None
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)

    def next(self, path: str, body: dict[str, Any]) -> Answer:
        if self.answering is not None:
            return self.answering(path, body)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append((self.path, body, dict(self.headers)))
            answer = state.next(self.path, body)
            time.sleep(answer.delay)
            raw = answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
            except OSError:  # the client has given up on a slow answer
                pass

        def log_message(self, *_: object) -> None:
            return

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def said(content: Any, **more: Any) -> Answer:
    return Answer(body={"choices": [{"message": {"role": "assistant", "content": content}, **more}]})


def chat_on(server: Server, **arguments: Any) -> RemoteChat:
    return remote_chat(server.url, "some-vlm", **{"first_wait": 0.01, "timeout_seconds": 5.0, **arguments})


def frames(*seconds: float, size: tuple[int, int] = (24, 32)) -> FrameBatch:
    data = torch.zeros(len(seconds), 3, *size, dtype=torch.uint8)
    for i in range(len(seconds)):
        data[i, i % 3] = 255
    return FrameBatch(data, torch.tensor(seconds, dtype=torch.float64))


def test_text_and_frames_go_out_in_the_common_form(server: Server) -> None:
    from PIL import Image

    server.answers = [said("  Correct order: 2, 1\n")]
    chat = chat_on(server, max_side=16, extra={"seed": 7})
    assert isinstance(chat, TextChat)
    assert isinstance(chat, VideoChat)
    assert not isinstance(chat, Scoring)
    assert chat.name == "some-vlm"
    assert chat.chat("Which order?", frames(0.0, 3.25), max_new_tokens=9) == "Correct order: 2, 1"
    path, body, _ = server.asked[0]
    assert path == "/v1/chat/completions"
    assert {k: v for k, v in body.items() if k != "messages"} == {
        "model": "some-vlm",
        "max_tokens": 9,
        "temperature": 0.0,
        "seed": 7,
    }
    (message,) = body["messages"]
    parts = message["content"]
    assert [p["type"] for p in parts] == ["text", "image_url", "text", "image_url", "text"]
    assert [p["text"] for p in parts if p["type"] == "text"] == [
        "Frame at 0.0 s:",
        "Frame at 3.2 s:",
        "Which order?",
    ]
    for part, color in zip((parts[1], parts[3]), ((255, 0, 0), (0, 255, 0)), strict=True):
        kind, _, data = part["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.size == (16, 12)
        assert all(abs(a - b) < 12 for a, b in zip(picture.getpixel((8, 6)), color, strict=True))
    assert chat.chat("No frames") == "Correct order: 2, 1"
    assert server.asked[1][1]["messages"] == [{"role": "user", "content": "No frames"}]


def test_busy_and_failing_servers_are_tried_again(server: Server) -> None:
    server.answers = [
        Answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.02"}),
        Answer(503, "<html>gateway</html>"),
        said("done"),
    ]
    assert chat_on(server).chat("?") == "done"
    assert len(server.asked) == 3


def test_waits_double_up_to_a_cap_and_retry_after_goes_first() -> None:
    retries = Retries(max_attempts=9, first_wait=1.0, longest_wait=5.0)
    assert [retries.wait(k, None) for k in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]
    assert retries.wait(1, "3") == 3.0
    assert retries.wait(1, "3600") == 5.0
    assert retries.wait(2, "nonsense") == 2.0
    assert _retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert _retry_after_seconds("Wed, 21 Oct 2115 07:28:00 GMT") > 1e9


def test_a_failing_server_ends_in_one_clear_error(server: Server) -> None:
    server.answers = [Answer(500, "<html><body>Traceback: secret internals</body></html>")]
    with pytest.raises(RemoteError, match=r"answered 500: .*; gave up after 3 attempts") as error:
        chat_on(server, max_attempts=3).chat("?")
    assert "html" not in str(error.value)
    assert "internals" not in str(error.value)
    assert len(server.asked) == 3


def test_a_refusal_is_not_tried_again(server: Server) -> None:
    server.answers = [Answer(400, {"error": {"message": "this model's <b>maximum</b> context\nis 4096 tokens"}})]
    with pytest.raises(RemoteError, match=r"answered 400 \(this model's maximum context is 4096 tokens\)"):
        chat_on(server).chat("?")
    assert len(server.asked) == 1
    server.answers = [Answer(302, "", {"Location": "http://127.0.0.1:1/elsewhere"})]
    with pytest.raises(RemoteError, match="answered 302"):
        chat_on(server).chat("?")


def test_a_silent_server_times_out(server: Server) -> None:
    server.answers = [Answer(200, {}, delay=0.5)]
    with pytest.raises(RemoteError, match=r"did not answer within 0\.1 s; gave up after 2 attempts"):
        chat_on(server, timeout_seconds=0.1, max_attempts=2).chat("?")


def test_no_server_at_all(server: Server) -> None:
    chat = remote_chat("http://127.0.0.1:9/v1", "m", max_attempts=2, first_wait=0.01)
    with pytest.raises(RemoteError, match=r"could not be reached \(ConnectError\); gave up after 2 attempts"):
        chat.chat("?")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, "<html>hello</html>"), "not JSON"),
        (Answer(200, ["x"]), "JSON list, not an object"),
        (Answer(200, {"result": "x"}), r"no choices\[0\].message.content \(got the keys result\)"),
        (Answer(200, {"choices": []}), r"no choices\[0\]"),
        (said(None, finish_reason="length"), "sent no text .finish_reason 'length'.*raise max_new_tokens"),
    ],
)
def test_unknown_forms_of_answer(server: Server, answer: Answer, message: str) -> None:
    server.answers = [answer]
    with pytest.raises(RemoteError, match=message):
        chat_on(server).chat("?")
    assert len(server.asked) == 1


def test_parts_and_thoughts_in_the_reply(server: Server) -> None:
    server.answers = [said([{"type": "text", "text": "<think>1, 2</think>"}, {"type": "text", "text": " 2, 1"}])]
    assert chat_on(server).chat("?") == "2, 1"


def test_the_key_comes_from_the_environment_and_is_never_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    chat = chat_on(server, api_key_env="MY_KEY", max_attempts=2)
    server.answers = [Answer(503, {"error": {"message": f"bad key {KEY}"}}), Answer(401, {"error": f"bad key {KEY}"})]
    with pytest.raises(RemoteError, match=r"answered 401 \(bad key \*\*\*\): set the environment variable") as error:
        chat.chat("?", frames(0.0))
    assert server.asked[0][2]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(error.value)
    assert KEY not in caplog.text
    assert KEY not in repr(vars(chat))
    monkeypatch.setenv("MY_KEY", KEY + "\nx")
    with pytest.raises(ConfigError, match="MY_KEY") as bad:
        chat.chat("?")
    assert KEY not in str(bad.value)
    monkeypatch.delenv("MY_KEY")
    server.answers = [said("ok")]
    chat.chat("?")
    assert "Authorization" not in server.asked[-1][2]


def test_caps_on_pictures(server: Server) -> None:
    with pytest.raises(ModelError, match="may be sent 2 frames a request and got 3"):
        chat_on(server, max_images=2).chat("?", frames(0, 1, 2))
    with pytest.raises(ModelError, match="more than max_request_bytes=100"):
        chat_on(server, max_request_bytes=100).chat("?", frames(0))
    with pytest.raises(ModelError, match="empty FrameBatch"):
        chat_on(server).chat("?", frames())
    assert server.asked == []


def test_bad_arguments() -> None:
    for url in ("ftp://host/v1", "localhost:8000", "file:///etc/passwd", "https://"):
        with pytest.raises(ConfigError, match="base_url must be"):
            remote_chat(url, "m")
    with pytest.raises(ConfigError, match="user name or password"):
        remote_chat("https://me:pw@host/v1", "m")
    with pytest.raises(ConfigError, match="max_attempts >= 1"):
        remote_chat("http://host/v1", "m", max_attempts=0)
    with pytest.raises(UnknownNameError, match="Did you mean 'vllm'"):
        remote_chat("http://host/v1", "m", scoring="vlm")  # type: ignore[arg-type]


def test_fingerprint_follows_server_model_and_settings() -> None:
    base = remote_chat("http://host/v1/", "m").fingerprint
    assert remote_chat("http://host/v1", "m").fingerprint == base
    others = [
        remote_chat("http://other/v1", "m"),
        remote_chat("http://host/v1", "n"),
        remote_chat("http://host/v1", "m", max_side=256),
        remote_chat("http://host/v1", "m", extra={"top_p": 0.5}),
    ]
    assert len({base, *(chat.fingerprint for chat in others)}) == 5


def vllm(path: str, body: dict[str, Any]) -> Answer:
    """Prompt log-probabilities as vLLM sends them: four template tokens, then one token a word of the reply."""
    assert path == "/v1/chat/completions"
    assert body["prompt_logprobs"] == 0
    user, *reply = body["messages"]
    assert body["add_generation_prompt"] is not bool(reply)
    assert body["continue_final_message"] is bool(reply)
    assert user["content"][0]["text"] == "Frame at 0.0 s:"
    rows: list[Any] = [None] + [{"9": {"logprob": -9.0, "rank": 1, "decoded_token": "x"}}] * 3
    for word in reply[0]["content"].split() if reply else ():
        rows.append({str(len(word)): {"logprob": -0.5 * len(word), "rank": 3, "decoded_token": word}})
    return Answer(body={"choices": [{"message": {"content": "x"}}], "prompt_logprobs": rows})


def test_options_are_scored_where_the_server_can(server: Server) -> None:
    server.answering = vllm
    chat = chat_on(server, scoring="vllm")
    assert isinstance(chat, ScoringRemoteChat)
    assert isinstance(chat, Scoring)
    scores = chat.score_options("Which?", ["a", "four cups"], frames(0.0))
    assert [(s.log_likelihood, s.num_tokens) for s in scores] == [(-0.5, 1), (-4.0, 2)]
    assert len(server.asked) == 3
    assert chat.score_options("Which?", []) == []
    server.answering, server.answers = None, [said("x")]
    with pytest.raises(RemoteError, match="sent no prompt_logprobs"):
        chat.score_options("Which?", ["a"], frames(0.0))


def echo(path: str, body: dict[str, Any]) -> Answer:
    """A completion server that echoes; its tokens are words with the space or line break before them."""
    assert path == "/v1/completions"
    assert body["echo"] is True
    starts = [0] + [i for i, letter in enumerate(body["prompt"]) if letter in " \n"]
    values = [None] + [-float(i) for i in range(1, len(starts))]
    return Answer(body={"choices": [{"text": "", "logprobs": {"text_offset": starts, "token_logprobs": values}}]})


def test_options_are_scored_by_echo(server: Server) -> None:
    server.answering = echo
    chat = chat_on(server, scoring="completions")
    assert isinstance(chat, Scoring)
    (score,) = chat.score_options("one two", ["three four"])  # tokens: one, _two, _three (with the break), _four
    assert (score.log_likelihood, score.num_tokens) == (-5.0, 2)
    with pytest.raises(ModelError, match="reads no frames"):
        chat.score_options("?", ["a"], frames(0.0))
    server.answering, server.answers = None, [Answer(200, {"choices": [{"text": "x", "logprobs": None}]})]
    with pytest.raises(RemoteError, match="no log-probabilities of the prompt"):
        chat.score_options("?", ["a"])
