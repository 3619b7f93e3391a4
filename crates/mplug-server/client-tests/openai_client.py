"""The official OpenAI client against a server: plain, several, streamed, cancelled, refused.

    python openai_client.py PATH_OF_MPLUG

Needs `pip install openai`.
"""

import asyncio
import base64
import json
import subprocess
import tempfile
import threading
import time

import openai

from support import EXAMPLES, Server, binary, check, example, finish, in_threads, note, png, wait_until


def client(server, **options):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=options.pop("api_key", "none"), **options)


def message(picture, text="描述这张图片", kind="jpeg"):
    url = f"data:image/{kind};base64," + base64.b64encode(picture).decode()
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": content}]


# Sampled texts, of which there may be more than beams.
SLOW = {"n": 64, "max_tokens": 40, "temperature": 1.5}


def plain():
    with Server() as server:
        api = client(server)
        models = [model.id for model in api.models.list()]
        check("models.list names the three demo models", len(models) == 3, models)
        reply = api.chat.completions.create(model="mplug", messages=message(example()))
        text = reply.choices[0].message.content
        check("plain: one choice with a caption", len(reply.choices) == 1 and "猫" in text, text)
        check("plain: finish_reason is stop", reply.choices[0].finish_reason == "stop")
        usage = reply.usage
        check("plain: usage adds up", usage.prompt_tokens + usage.completion_tokens == usage.total_tokens, usage.total_tokens)
        check("plain: x-request-id is _request_id", bool(reply._request_id) and reply._request_id in reply.id, reply._request_id)
        by_id = api.chat.completions.create(model="mplug", messages=message(example()), extra_headers={"x-request-id": "my-own.1"})
        check("plain: the client's own request id is kept", by_id._request_id == "my-own.1", by_id._request_id)
        three = api.chat.completions.create(model="mplug", messages=message(example()), n=3)
        texts = [choice.message.content for choice in three.choices]
        check("n=3: three different choices", len(set(texts)) == 3 and [c.index for c in three.choices] == [0, 1, 2], texts)
        check("n=3: the first is the plain one", texts[0] == text)
        english = api.chat.completions.create(model="mplug", messages=message(example(), "Describe the picture."))
        check("a text in English: a caption in English", english.choices[0].message.content.isascii(), english.choices[0].message.content)
        asked = api.chat.completions.create(model="mplug", messages=message(example(), "图里有几只猫？"))
        check("a question: the answering model", asked.model == "demo-ask", asked.choices[0].message.content)
        cut = api.chat.completions.create(model="mplug", messages=message(example()), max_tokens=3)
        check("max_tokens=3: finish_reason is length", cut.choices[0].finish_reason == "length", cut.choices[0].message.content)

        for count in (1, 3):
            chunks = list(api.chat.completions.create(
                model="mplug", messages=message(example()), n=count, stream=True, stream_options={"include_usage": True}))
            streamed = [""] * count
            for chunk in chunks:
                for choice in chunk.choices:
                    streamed[choice.index] += choice.delta.content or ""
            check(f"stream, n={count}: the concatenation equals plain", streamed == texts[:count], streamed)
            check(f"stream, n={count}: the last chunk has the usage", chunks[-1].usage is not None and not chunks[-1].choices)
        with api.chat.completions.stream(model="mplug", messages=message(example())) as stream:
            final = stream.get_final_completion()
        check("the client's stream helper gives the same", final.choices[0].message.content == text)
        raw = api.chat.completions.with_raw_response.create(model="mplug", messages=message(example()))
        check("with_raw_response parses", raw.parse().choices[0].message.content == text)


def refused():
    with Server() as server:
        api = client(server, max_retries=0)

        def error(**fields):
            try:
                api.chat.completions.create(**{"model": "mplug", "messages": message(example()), **fields})
            except openai.APIStatusError as error:
                return error
            return None

        found = error(n=1000)
        check("n=1000: UnprocessableEntityError with param n",
              isinstance(found, openai.UnprocessableEntityError) and found.param == "n", found)
        check("422 has code, type and request id", found.code == "invalid_value" and found.type == "invalid_request_error" and bool(found.request_id))
        found = error(messages=message(b"no picture"))
        check("no picture: UnprocessableEntityError with param messages",
              isinstance(found, openai.UnprocessableEntityError) and found.param == "messages", found)
        found = error(model="gpt-4o")
        check("another model: NotFoundError with param model", isinstance(found, openai.NotFoundError) and found.param == "model", found)
        found = error(stop=["。"])
        check("stop: BadRequestError with param stop", isinstance(found, openai.BadRequestError) and found.param == "stop", found)
        found = error(messages=[{"role": "user", "content": "hello"}])
        check("no image_url: UnprocessableEntityError", isinstance(found, openai.UnprocessableEntityError), found)
        two = message(example())
        two[0]["content"].append(two[0]["content"][1])
        found = error(messages=two)
        check("two pictures: BadRequestError too_many_images", isinstance(found, openai.BadRequestError) and found.code == "too_many_images", found)
        found = error(temperature=-1.0)
        check("temperature=-1: param temperature", found is not None and found.param == "temperature", found)


def keys():
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("good-key-1\ngood-key-2\n")
        file.flush()
        with Server("--api-key-file", file.name) as server:
            for key in ("good-key-1", "good-key-2"):
                reply = client(server, api_key=key).chat.completions.create(model="mplug", messages=message(example()))
                check(f"{key} is let in", bool(reply.choices[0].message.content))
            for key in ("bad", "good-key-", "good-key-1\tgood-key-2"):
                try:
                    client(server, api_key=key).models.list()
                    check("a wrong key: AuthenticationError", False, "let in")
                except openai.AuthenticationError as error:
                    check("a wrong key: AuthenticationError", error.code == "invalid_api_key" and bool(error.request_id), error.code)
                except openai.APIConnectionError:
                    check("a wrong key: AuthenticationError", False, "no connection")


class Holding:
    """Clients that keep the model busy with explanations, each of which takes longer than a caption."""

    def __init__(self, server, clients):
        self.server, self.going = server, True
        self.threads = [threading.Thread(target=self.hold, args=(number,)) for number in range(clients)]

    def hold(self, number):
        while self.going:
            self.server.request("POST", "/v1/explain?method=ablation", png(number), {"Content-Type": "image/png"})

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        time.sleep(0.5)

    def __exit__(self, *_):
        self.going = False
        for thread in self.threads:
            thread.join()


def full():
    """Eight clients share one place; the ninth is the official client."""
    with Server("--queue", "1", "--max-images", "1") as server:
        def ask(**options):
            return client(server, **options).chat.completions.create(model="mplug", messages=message(example()))

        with Holding(server, 8):
            refusal = None
            for _ in range(100):
                try:
                    ask(max_retries=0)
                except openai.RateLimitError as error:
                    refusal = error
                    break
            check("a full queue: RateLimitError", refusal is not None and refusal.code == "overloaded", refusal)
            wait = refusal.response.headers.get("retry-after") if refusal else None
            check("429 has retry-after of 1 to 120 s", wait is not None and 1 <= int(wait) <= 120, wait)
            served, in_vain = 0, []
            while not in_vain and served < 20:
                begun = time.monotonic()
                try:
                    ask()
                    served += 1
                except openai.RateLimitError:
                    in_vain.append(time.monotonic() - begun)
            check("three tries in vain, each after retry-after: RateLimitError",
                  bool(in_vain) and in_vain[0] >= 2 * int(wait or 1) * 0.95, f"{in_vain} s; served before: {served}")
            try:
                ask(max_retries=30)
                check("a patient client is served in the end", True)
            except openai.RateLimitError:
                check("a patient client is served in the end", False)
        check("afterwards the queue is free", wait_until("a free queue", lambda: server.metric("mplug_queue_pictures") == 0))
        check("afterwards a client is served at once", bool(ask(max_retries=0).choices[0].message.content))


async def cancelled(server):
    api = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)

    async def ask(number):
        return await api.chat.completions.create(model="demo-caption", messages=message(png(number), kind="png"), **SLOW)

    begun = time.monotonic()
    await ask(0)
    note("one slow request", f"{time.monotonic() - begun:.2f} s")
    before = server.metric("mplug_given_up_total")
    holding = Holding(server, 3)
    await asyncio.to_thread(holding.__enter__)
    tasks = [asyncio.create_task(ask(1 + number)) for number in range(24)]
    highest = 0
    for _ in range(100):
        await asyncio.sleep(0.02)
        highest = max(highest, await asyncio.to_thread(server.metric, "mplug_queue_pictures"))
        if highest >= 12:
            break
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    begun = time.monotonic()
    # Of the places only those of the holding clients are left.
    is_freed = await asyncio.to_thread(wait_until, "few places", lambda: server.metric("mplug_queue_pictures") <= 3, 10)
    check("cancelled: the places are free while others go on", is_freed, f"{time.monotonic() - begun:.2f} s")
    await asyncio.to_thread(holding.__exit__)
    is_free = await asyncio.to_thread(wait_until, "a free queue", lambda: server.metric("mplug_queue_pictures") == 0, 10)
    note("places taken before, and seconds until all were free", f"{highest:.0f}, {time.monotonic() - begun:.2f} s")
    given_up = server.metric("mplug_given_up_total") - before
    count = sum(isinstance(result, asyncio.CancelledError) for result in results)
    check("cancelled: several places were taken", highest >= 2, highest)
    check("cancelled: mplug_queue_pictures goes to 0", is_free)
    check("cancelled: mplug_given_up_total rises", given_up > 0, f"{given_up:.0f} of {count}")
    check("cancelled: no text is left", server.metric("mplug_texts_in_progress") == 0)
    reply = await api.chat.completions.create(model="mplug", messages=message(example()))
    check("cancelled: the next is served", bool(reply.choices[0].message.content))
    await api.close()


def parity():
    """The same picture gives the same caption by command, by HTTP, by chat and in a crowd of 16."""
    names = sorted(path.stem for path in EXAMPLES.glob("*.jpg"))
    paths = [str(EXAMPLES / f"{name}.jpg") for name in names]
    found = subprocess.run([binary(), "caption", *paths, "--format", "json"], capture_output=True, check=True)
    by_command = {name: (entry["caption"], round(entry["score"], 6)) for name, entry in zip(names, json.loads(found.stdout))}
    with Server("--queue", "256") as server:
        api = client(server)

        def http(name, query=""):
            reply = server.request("POST", "/v1/caption" + query, example(name), {"Content-Type": "image/jpeg"})
            result = json.loads(reply[2])["results"][0]
            return result["caption"], round(result["score"], 6)

        def chat(name):
            return api.chat.completions.create(model="demo-caption", messages=message(example(name))).choices[0].message.content

        for name in names:
            check(f"{name}: by HTTP as by command", http(name) == by_command[name], by_command[name])
            check(f"{name}: by chat as by command", chat(name) == by_command[name][0])

        def in_crowd(number):
            name = names[number % len(names)]
            wrong = 0
            for _ in range(8):
                if number % 3 == 0:
                    wrong += chat(name) != by_command[name][0]
                elif number % 3 == 1:
                    wrong += http(name) != by_command[name]
                else:
                    # Others, of other options, languages and tasks, share the decoder's steps.
                    server.request("POST", f"/v1/caption?beams={2 + number}&language=zh,en&check=1", png(number), {"Content-Type": "image/png"})
                    wrong += http(name, "?captions=3") != by_command[name]
            return wrong

        wrong = sum(in_threads(16, in_crowd))
        check("in a crowd of 16, 128 answers: each as by command", wrong == 0, f"{wrong} differ")


def large_body():
    """A refusal that comes while a large body is still being sent reaches the client."""
    with Server("--max-body-bytes", "1000000") as server:
        api = client(server, max_retries=0)
        statuses = []
        for _ in range(10):
            try:
                api.chat.completions.create(model="mplug", messages=message(bytes(12_000_000)))
            except openai.APIStatusError as error:
                statuses.append(error.status_code)
            except openai.APIConnectionError as error:
                statuses.append(type(error.__cause__).__name__)
        check("a body of 16 MB where 1 MB is allowed: 413 each time", statuses == [413] * 10, statuses)


if __name__ == "__main__":
    plain()
    refused()
    keys()
    full()
    with Server("--texts-at-once", "2") as server:
        asyncio.run(cancelled(server))
    parity()
    large_body()
    finish()
