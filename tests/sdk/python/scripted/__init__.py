"""Providers of every dialect that play one scenario, each in its true wire form."""

from scripted.anthropic import Anthropic
from scripted.bedrock import Bedrock
from scripted.cohere import Cohere
from scripted.google import Gemini, Vertex
from scripted.openai import Azure, OpenAi

# By the gateway's name of the provider, which is also its model alias: the dialect, and what speaks it.
PROVIDERS = {
    "openai": ("openai", OpenAi()),
    "azure": ("azure", Azure()),
    "azure-v1": ("azure", Azure()),
    "anthropic": ("anthropic", Anthropic()),
    "gemini": ("gemini", Gemini()),
    "vertex": ("vertex", Vertex()),
    "bedrock": ("bedrock", Bedrock()),
    "cohere": ("cohere", Cohere()),
}
