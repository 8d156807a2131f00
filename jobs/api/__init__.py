"""The HTTP API: `/v1/…` behind a bearer token, health beside it, every error as `application/problem+json`."""

from jobs.api.app import create_app
from jobs.api.keys import Token

__all__ = ["Token", "create_app"]
