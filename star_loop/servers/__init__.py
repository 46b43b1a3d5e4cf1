"""OpenAI-compatible servers: how they are asked, paced and paid. Not here: what they are asked for (generators)."""

from star_loop.servers.client import Client as Client
from star_loop.servers.replies import Reply as Reply
from star_loop.servers.server import TERMS as TERMS
from star_loop.servers.server import Server as Server
