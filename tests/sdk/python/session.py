"""What every script needs: a client for the gateway, a key that may use little, and a bound on time."""

import os

import openai

# The gateway's own retries are under test, so the SDK must not hide a failure behind its own.
client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0, timeout=60)
narrow = client.with_options(api_key=os.environ["NARROW_KEY"])
HELLO = "Hello from aimock, through tollgate: grüße 🦀"


def ask(text, **more):
    return client.chat.completions.create(model="chat", messages=[{"role": "user", "content": text}], **more)
